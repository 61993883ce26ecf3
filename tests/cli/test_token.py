from pathlib import Path

import pytest

from splnode.access.tokens import TokenFile, Tokens
from tests.cli.conftest import Shell


@pytest.fixture
def file(home: Path) -> TokenFile:
    (home / "node.toml").write_text('[node]\ndirectory = "state"\n')
    return TokenFile(home / "state" / "tokens.json")


def test_a_token_is_shown_once(shell: Shell, home: Path, file: TokenFile) -> None:
    node = ("--config", str(home / "node.toml"))
    done = shell("token", "create", "ci", "--allow", "Shop.buy", "--allow", "Data", "--group", "bots", *node)
    assert done.code == 0
    (made,) = done.results
    (token,) = file.read()
    assert Tokens([token]).find(made["token"], token.created) == token
    assert token.expires == token.created + 90 * 86_400
    assert (made["name"], made["expires"] is not None) == ("ci", True)
    done = shell("token", "list", *node)
    assert made["token"] not in done.out
    assert token.digest not in done.out
    (listed,) = done.results
    assert (listed["name"], listed["allow"], listed["groups"]) == ("ci", ["Shop.buy", "Data"], ["bots"])
    assert listed["live"] is True
    done = shell("token", "revoke", "ci", *node)
    assert (done.code, done.out) == (0, "")
    assert "token ci is revoked" in done.err
    assert file.read() == []


def test_the_default_place_is_the_nodes(shell: Shell, home: Path) -> None:
    shell("token", "create", "ci", "--allow", "*", "--expires", "never")
    assert len(TokenFile(home / ".local/share/splnode/tokens.json").read()) == 1
    assert shell("token", "list").results[0]["expires"] is None


def test_into_a_file_that_nobody_else_reads(shell: Shell, home: Path, file: TokenFile) -> None:
    node, out = ("--config", str(home / "node.toml")), home / "ci.token"
    done = shell("token", "create", "ci", "--allow", "*", "--out", str(out), *node)
    assert (done.code, done.out) == (0, "")
    assert out.stat().st_mode & 0o777 == 0o600
    assert Tokens(file.read()).find(out.read_text().strip(), 0.0) is not None
    done = shell("token", "create", "other", "--allow", "*", "--out", str(out), *node)
    assert done.code == 2
    assert "File exists" in done.err
    done = shell("token", "create", "ci", "--allow", "*", "--out", str(home / "again"), *node)
    assert "there is a token ci already" in done.err
    assert not (home / "again").exists()
    assert [token.name for token in file.read()] == ["ci"]


def test_a_table_for_a_person(shell: Shell, home: Path, file: TokenFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splnode.cli.output.on_terminal", lambda *_: True)
    node = ("--config", str(home / "node.toml"))
    done = shell("token", "create", "a", "--allow", "Shop", "--expires", "never", *node)
    assert done.out.startswith("spl_")
    assert "not shown again" in done.err
    file.create("old", ["*"], ["g"], 0.0, 60.0)
    assert shell("token", "list", *node).out.splitlines() == [
        "NAME  ALLOW  GROUPS  EXPIRES",
        "a     Shop           never",
        "old   *      g       1970-01-01T00:01:00+00:00 (over)",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["create"], "say which"),
        (["revoke"], "say which"),
        (["revoke", "x"], "there is no token 'x'"),
        (["create", "x"], "say what it may call"),
        (["create", "x", "--allow", "*", "--expires", "soon"], "30d, 12h, 15m, 90s or never"),
        (["create", "x", "--allow", "*", "--expires", "0d"], "30d, 12h"),
        (["create", "x y", "--allow", "*"], "names no token"),
        (["create", "x", "--allow", "*", "--group", "own"], "no group that a token can have"),
        (["create", "x", "--allow", "*", "--out", "/none/x"], "cannot be made"),
    ],
)
def test_what_cannot_be_done(shell: Shell, home: Path, words: list[str], said: str) -> None:
    done = shell("token", *words)
    assert done.code == 2
    assert said in done.err


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("12h", 43_200), ("30d", 2_592_000)])
def test_how_long(shell: Shell, home: Path, text: str, seconds: int) -> None:
    shell("token", "create", "t", "--allow", "*", "--expires", text)
    (token,) = TokenFile(home / ".local/share/splnode/tokens.json").read()
    assert token.expires == token.created + seconds
