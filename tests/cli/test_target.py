import argparse
from pathlib import Path

import pytest

from splnode.cli import target
from splnode.cli.failure import UsageError
from tests.net.certificates import Mesh


def args(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    target.add_options(parser)
    return parser.parse_args(words)


def where(*words: str) -> list[str]:
    return [str(endpoint) for endpoint in target.from_args(args(*words)).endpoints]


def test_the_local_node_by_default(home: Path) -> None:
    assert where() == [f"unix://{home}/splnode.sock", "tcp://127.0.0.1:9090"]
    found = target.from_args(args())
    assert (found.max_time, found.connect_timeout, found.headers) == (30.0, 5.0, {})


def test_the_local_node_over_tls_where_that_is_known(home: Path) -> None:
    mesh = Mesh(home)
    local = [f"unix://{home}/splnode.sock", "tls://127.0.0.1:9090", "tcp://127.0.0.1:9090"]
    assert where("--ca", str(mesh.ca)) == local


def test_who_says_it_best(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = home / ".config" / "splnode" / "shell.toml"
    file.parent.mkdir(parents=True)
    file.write_text('[profile.p]\nto = "tcp://p:1"\nmax-time = 2\nheaders = { a = "b" }\n')
    monkeypatch.setenv("SPLNODE_TO", "tcp://env:1")
    assert where() == ["tcp://env:1"]
    assert where("--profile", "p") == ["tcp://p:1"]
    assert where("--profile", "p", "--to", "tcp://flag:1") == ["tcp://flag:1"]
    found = target.from_args(args("--profile", "p"))
    assert (found.max_time, found.connect_timeout, found.headers) == (2, 2, {"a": "b"})
    assert target.from_args(args("--profile", "p", "--max-time", "9", "--connect-timeout", "1")).max_time == 9


def test_a_bad_endpoint_says_where_it_stands(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"--to: endpoint 'nope'"):
        where("--to", "nope")
    monkeypatch.setenv("SPLNODE_TO", "tcp://x")
    with pytest.raises(UsageError, match=r"SPLNODE_TO: .*port"):
        where()


def test_numbers() -> None:
    assert target.seconds("0.5") == 0.5
    assert target.positive("12") == 12
    assert target.rate("1e5") == 100_000
    for parse, texts in (
        (target.seconds, ("x", "0", "-1", "nan", "inf", "90000")),
        (target.positive, ("0", "-1", "1.5", "x", "")),
        (target.rate, ("0", "nan", "x", "1e9")),
    ):
        for text in texts:
            with pytest.raises(argparse.ArgumentTypeError):
                parse(text)


@pytest.mark.parametrize("endpoint", ["tcp://h:1", "unix:///s", "h:1", "/run/s", "", None])
def test_what_has_a_colon_or_a_slash_is_no_name_of_a_node(endpoint: str | None) -> None:
    assert target.split_node(endpoint) == (None, endpoint)
    assert target.split_node("n2") == ("n2", None)
