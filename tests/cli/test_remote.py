"""`splnode call` through a node that does not serve the message itself."""

import pytest

from tests.cli.conftest import Shell
from tests.cli.meshes import TILL, Mesh


def test_a_node_passes_on_what_it_does_not_serve(shell: Shell, mesh: Mesh) -> None:
    done = shell("call", "Till.count", "-d", '{"coins": [1, 2]} {"coins": []}', to=mesh.two)
    assert (done.code, done.out, done.err) == (0, "3\n0\n", "")


def test_it_is_said_who_answers_and_what_takes_its_time(shell: Shell, mesh: Mesh) -> None:
    done = shell("call", "Till.who", "-H", "who: me", "-vv", to=mesh.two)
    assert done.results == [{"who": "me"}]
    for word in ("does not serve Till", "discover", "dial", "call", "> who: me", "answered by one"):
        assert word in done.err


def test_an_error_of_the_protocol(shell: Shell, mesh: Mesh) -> None:
    done = shell("call", "test.Till.open", to=mesh.two)
    assert (done.code, done.out, done.err) == (66, "", 'splnode: test.Empty {"since": 7}\n')


def test_what_nobody_serves(shell: Shell, mesh: Mesh) -> None:
    done = shell("call", "test.Tell.count", to=mesh.two)
    assert (done.code, done.out) == (3, "")
    assert "other nodes serves test.Tell; did you mean test.Till?" in done.err
    assert "tcp://127.0.0.1:1:" in done.err  # who could not be asked
    assert shell("call", "Till.cuont", to=mesh.two).code == 64 + 12


def test_a_deadline_is_that_of_the_call(shell: Shell, mesh: Mesh) -> None:
    done = shell("call", "Till.hang", "--max-time", "0.3", to=mesh.two)
    assert done.code == 64 + 4
    assert "test.Till.hang: no answer" in done.err


def test_a_node_by_its_name(shell: Shell, mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLNODE_TO", mesh.two)
    assert shell("call", "Shop.ask", "--to", "two").results == [1]
    assert shell("call", "Shop.ask", "--to", "tw").results == [1]
    done = shell("call", "Shop.ask", "--to", "one")
    assert (done.code, done.out) == (4, "")  # its version does not fit that of the node that was asked
    assert "does not fit" in done.err
    done = shell("call", "Shop.ask", "--to", "three")
    assert done.code == 3
    assert "one: unix://" in done.err and "not what was asked for" in done.err


def test_a_contract_by_its_fingerprint(shell: Shell, mesh: Mesh) -> None:
    rows = {row["nodeId"]: row for row in shell("nodes", to=mesh.two).results}
    wire = {name: {each["name"]: each["wire"] for each in row["services"] or ()} for name, row in rows.items()}
    own, other = wire["two"]["test.Shop"], wire["one"]["test.Shop"]
    assert shell("call", "Shop.ask", "--pin", own[:8], to=mesh.two).results == [1]
    done = shell("call", "Shop.ask", "--pin", other, to=mesh.two)
    assert done.code == 4
    done = shell("call", "Till.count", "-d", '{"coins": [5]}', "--pin", wire["one"]["test.Till"], to=mesh.two)
    assert done.results == [5]
    assert shell("call", "Shop.ask", "--pin", "abc", to=mesh.two).code == 64 + 3


def test_ones_own_version_of_the_protocol(shell: Shell, mesh: Mesh, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("own") / "till.avpr"
    file.write_text(TILL.text.replace('"items": "long"', '"items": "int"'))
    words = ("call", "Till.count", "--protocol", str(file), "--balance", "round_robin", "-d", '{"coins": [4]}')
    assert shell(*words, to=mesh.two).results == [4]
    file.write_text(TILL.text.replace('"items": "long"', '"items": "string"'))
    done = shell(*(word.replace("[4]", '["4"]') for word in words), to=mesh.two)
    assert done.code == 4
    assert "one: " in done.err and "count" in done.err


def test_what_other_nodes_serve_is_described_too(shell: Shell, mesh: Mesh) -> None:
    assert "count" in shell("describe", "test.Till", to=mesh.two).out
    assert "coins" in shell("describe", "Till.count", to=mesh.two).out
    assert next(row["message"] for row in shell("ls", "Till", to=mesh.two).results) == "test.Till.count"
    assert "coins" in shell("call", "Till.count", "--help", to=mesh.two).out
    done = shell("describe", "Tell.count", to=mesh.two)
    assert done.code == 3
    assert "does not serve" in done.err and "none of the 2 other nodes serves" in done.err
