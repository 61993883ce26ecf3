from typing import Any

import pytest

from splnode.cli import meshed
from splnode.cli.failure import NoEndpointError
from tests.cli.conftest import Done, Shell
from tests.cli.meshes import Mesh


def test_without_a_node_the_command_looks_itself(shell: Shell, mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLNODE_PEERS", mesh.one)

    def found(*words: str) -> tuple[Done, dict[str, Any]]:
        for seconds in (0.5, 2.0, 10.0):  # a machine that is busy needs longer
            monkeypatch.setattr(meshed, "LOOKING", seconds)
            done = shell(*words)
            for row in done.results:
                if row["nodeId"] == "one" and row.get("fit") != "UNKNOWN":
                    return done, row
        raise AssertionError(done)

    for words in (("nodes",), ("nodes", "--scan")):
        done, one = found(*words)
        assert done.code == 0, done.err
        assert ("no node runs here" in done.err) == (len(words) == 1)
        assert one["endpoint"] == mesh.one and not one["self"]
    assert found("services", "test.Shop", "--scan")[1]["fit"] == "SAME"
    assert any(row["check"] == "source" for row in shell("doctor", "--scan").results)


@pytest.mark.parametrize(("reason", "said"), [
    ("no node can be reached:\n  tcp://127.0.0.1:9090: this port speaks TLS: call", "wants --cert or --mesh-key"),
    ("no node can be reached:\n  tcp://127.0.0.1:9090: connection refused", "no node runs here"),
])  # fmt: skip
def test_why_it_looks_itself(capsys: pytest.CaptureFixture[str], reason: str, said: str) -> None:
    meshed.tell_alone(NoEndpointError(reason))
    assert said in capsys.readouterr().err


def test_columns() -> None:
    row = {"load": None, "problem": "", "state": "DRAINING"}
    assert (meshed.load(row), meshed.state(row)) == ("-", "draining")
    assert (meshed.load({"load": 0.25}), meshed.state(row | {"problem": "x"})) == ("25%", "left out")
    assert meshed.state(row | {"state": "UP"}) == "up"
    for state in ("SUSPECT", "GONE"):
        assert meshed.state(row | {"state": state, "problem": "connection refused"}) == state.lower()
