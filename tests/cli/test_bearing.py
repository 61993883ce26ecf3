"""Which way the shell's token goes; that it is good or not is the node's to say (tests/access)."""

import argparse
import os
from pathlib import Path

import pytest

from splnode.cli import bearing
from splnode.cli.bearing import Bearing, given, is_own
from splnode.cli.failure import UsageError
from splnode.endpoint import Endpoint
from tests.cli.conftest import Shell

TCP = Endpoint.parse("tcp://127.0.0.1:1")
BEARER = {"authorization": b"Bearer spl_x"}


@pytest.fixture
def own(tmp_path: Path) -> Endpoint:
    (tmp_path / "s").touch()
    return Endpoint.parse(f"unix://{tmp_path}/s")


def named(file: Path | str | None) -> argparse.Namespace:
    return argparse.Namespace(token_file=None if file is None else str(file))


def test_where_the_token_goes(own: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing, option, variable = Bearing(), Bearing("spl_x", named=True), Bearing("spl_x")
    for where in (own, TCP):
        assert nothing.direct(where) == {}
        assert nothing.passing(where) == ({}, {})
        assert option.direct(where) == BEARER
    assert (variable.direct(own), variable.direct(TCP)) == ({}, BEARER)
    for each in (option, variable):
        assert each.passing(own) == ({}, BEARER)
        assert each.passing(TCP) == (BEARER, {})
        assert each.alone == BEARER
    monkeypatch.setattr(os, "getuid", lambda: Path(own.path).stat().st_uid + 1)
    assert not is_own(own)
    assert variable.direct(own) == BEARER
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert is_own(own)
    assert not is_own(Endpoint.parse("unix:///none/at/all"))


def test_from_a_file_or_the_environment(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert given(named(None)).alone == {}
    monkeypatch.setenv("SPLNODE_TOKEN", "spl_x")
    assert given(named(None)).alone == BEARER
    (home / "t").write_text("spl_y\n")
    (home / "t").chmod(0o600)
    assert given(named(home / "t")).alone == {"authorization": b"Bearer spl_y"}
    assert capsys.readouterr().err == ""
    (home / "t").chmod(0o644)
    given(named(home / "t"))
    assert "others on this host may read it: chmod 600" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "\n", "two words", "x" * 300, "h\xe9", "a\tb"])
def test_what_is_no_token_is_not_quoted(home: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "t").write_text(text, "latin-1")
    (home / "t").chmod(0o600)
    with pytest.raises(UsageError) as caught:
        given(named(home / "t"))
    assert not text.strip() or text.strip() not in str(caught.value)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        given(named(home / "none"))
    if text.strip():
        monkeypatch.setenv("SPLNODE_TOKEN", text)
        with pytest.raises(UsageError, match="SPLNODE_TOKEN: it is no token"):
            given(named(None))


def test_a_call_brings_it(shell: Shell, node: list[str], home: Path) -> None:
    (home / "t").write_text("spl_y\n")
    (home / "t").chmod(0o600)
    for endpoint in node:
        done = shell("call", "Echo.headers", "--to", endpoint, "--token-file", str(home / "t"), "-vv")
        assert done.code == 0, done.err
        assert "spl_y" not in done.err
        (seen,) = done.results
        assert seen["authorization"] in ("Bearer spl_y", "QmVhcmVyIHNwbF95")


def test_a_token_in_the_words_of_a_command_is_warned_of(
    shell: Shell, node: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    warning = "everybody on this host can read it"
    done = shell("call", "Echo.headers", "--to", node[0], "-H", "Authorization: Bearer spl_x", "-vv")
    assert warning in done.err
    assert "spl_x" not in done.err
    monkeypatch.setenv("T", "spl_x")
    done = shell("call", "Echo.headers", "--to", node[0], "-H", "authorization: Bearer ${T}", "-vv")
    assert done.code == 0
    assert warning not in done.err
    assert "> authorization: ..." in done.err
    assert "spl_x" not in done.err


def test_the_variable_is_named() -> None:
    assert bearing.VARIABLE == "SPLNODE_TOKEN"
