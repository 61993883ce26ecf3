"""`splnode call` of several nodes at a time, and without a node here."""

import pytest

from splnode.cli import meshed
from tests.cli.conftest import Shell
from tests.cli.meshes import Mesh


def test_all_of_them_a_line_each(shell: Shell, mesh: Mesh) -> None:
    done = shell("call", "Shop.ask", "--all", to=mesh.two)
    found = {row.pop("node"): row for row in done.results}
    assert found["two"] == {"result": 1}
    assert found["one"]["error"]["code"] == "FAILED_PRECONDITION"
    assert done.code == 4
    done = shell("call", "Till.open", "--all", to=mesh.two)
    assert done.results == [{"node": "one", "error": {"code": "UNKNOWN", "name": "test.Empty", "fields": {"since": 7}}}]
    assert done.code == 66


def test_the_first_of_all(shell: Shell, mesh: Mesh) -> None:
    assert shell("call", "Till.who", "--first", to=mesh.two).results == [{}]
    done = shell("call", "Shop.ask", "--first", to=mesh.two)
    assert (done.code, done.results) == (0, [1])  # the other's version does not fit
    done = shell("call", "Shop.ask", "--first", "--pin", "0" * 8, to=mesh.two)
    assert (done.code, done.out) == (3, "")
    assert "none of the 2 nodes of test.Shop has answered" in done.err
    assert "\n  one: " in done.err and "\n  two: " in done.err
    done = shell("call", "Till.hang", "--all", "--max-time", "2", to=mesh.two)
    assert (done.code, done.results[0]["error"]["code"]) == (64 + 4, "DEADLINE_EXCEEDED")
    done = shell("call", "Till.count", "--first", "-d", '{"coins": []}', to=mesh.two)
    assert (done.code, done.out) == (2, "")
    assert "idempotent" in done.err


def test_without_a_node_here_others_are_looked_for(shell: Shell, mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meshed, "MDNS", "off")
    monkeypatch.setenv("SPLNODE_PEERS", mesh.one)
    done = shell("call", "Till.count", "-d", '{"coins": [1, 2]}')
    assert (done.code, done.out) == (0, "3\n")
    assert done.err == "splnode: no node runs here: looking for others from this command\n"
    done = shell("call", "Till.count", "-d", '{"coins": [1, 2]}', "--all")
    assert done.results == [{"node": "one", "result": 3}]
