import sys
from pathlib import Path

import pytest

from splnode.cli import meshed
from splnode.cli.main import main
from tests.cli.conftest import Shell
from tests.cli.meshes import Mesh
from tests.cli.test_nodes import Terminal
from tests.net import certificates


def test_what_is_wrong_and_the_exit_code(shell: Shell, mesh: Mesh) -> None:
    done = shell("doctor", to=mesh.two)
    assert done.code == 1  # one of its peers cannot be reached
    graded = {(row["check"], row["grade"]) for row in done.results}
    assert {("peers", "BAD"), ("peers", "GOOD"), ("clock", "GOOD"), ("multicast", "NOTE"), ("port", "GOOD")} <= graded
    (bad,) = (row for row in done.results if row["grade"] == "BAD")
    assert "refused" in bad["text"] and "start the node there" in bad["fix"]
    assert shell("doctor", to=mesh.one).code == 0


def test_certificates_and_who_may_call(
    shell: Shell, mesh: Mesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node's own; without a node, those that the command was given."""
    monkeypatch.setattr(meshed, "MDNS", "off")  # a stranger in this network may not be reachable
    access = [row for row in shell("doctor", to=mesh.one).results if row["check"] == "access"]
    assert [row["grade"] for row in access] == ["GOOD"]
    certified = certificates.Mesh(tmp_path / "mesh")
    good, old = certified.certificate("kitchen"), certified.certificate("old", days=1, begins=-3)
    for path, code, grade, said in ((good, 0, "GOOD", "of the node kitchen"), (old, 1, "BAD", "it has expired")):
        done = shell("doctor", "--scan", "--cert", str(path))
        (row,) = (row for row in done.results if row["check"] == "certificate")
        assert (done.code, row["grade"], said in row["text"]) == (code, grade, True), done


def test_text_on_a_terminal(home: object, mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert main(["doctor", "--to", mesh.two]) == 1
    assert any(line.startswith("BAD   peers") and " -> " in line for line in sys.stdout.getvalue().splitlines())
