from pathlib import Path

import pytest

from splnode.cli import profile
from splnode.cli.failure import UsageError


def write(home: Path, text: str) -> None:
    file = home / ".config" / "splnode" / "shell.toml"
    file.parent.mkdir(parents=True)
    file.write_text(text)


def test_none_asked_for_reads_nothing(home: Path) -> None:
    found = profile.load(None)
    assert (found.to, found.max_time, found.headers) == (None, None, {})


def test_a_profile(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home, '[profile.kitchen]\nto = "tcp://k:1"\nmax-time = 5\nheaders = { a = "b" }\n[profile.empty]\n')
    found = profile.load("kitchen")
    assert (found.to, found.max_time, found.headers) == ("tcp://k:1", 5, {"a": "b"})
    assert profile.load("empty").to is None
    monkeypatch.setenv("SPLNODE_PROFILE", "kitchen")
    assert profile.load(None).to == "tcp://k:1"
    assert profile.load("empty").to is None


def test_xdg_says_where(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/etc/xdg")
    assert profile.path() == "/etc/xdg/splnode/shell.toml"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert profile.path() == f"{home}/.config/splnode/shell.toml"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read"),
        ("[profile", "is not TOML"),
        ("", "there is no \\[profile.x\\].*there are: none"),
        ("[profile.y]", "there are: y"),
        ("[profile.x]\ntimeout = 3", "unknown key timeout; there are to, headers, max-time"),
        ("[profile.x]\nto = 3", "to is an endpoint"),
        ("[profile.x]\nmax-time = true", "max-time is a number"),
        ("[profile.x]\nmax-time = 0", "max-time is a number"),
        ("[profile.x]\nheaders = { a = 1 }", "headers are texts"),
    ],
)
def test_mistakes_are_named(home: Path, text: str | None, said: str) -> None:
    if text is not None:
        write(home, text)
    with pytest.raises(UsageError, match=said):
        profile.load("x")
