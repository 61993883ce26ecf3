import io
import json
import subprocess
import sys

import pytest

from splnode.cli.main import main
from tests.cli.conftest import Shell
from tests.cli.meshes import Mesh
from tests.cli.test_serve import SPLNODE


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nodes_and_what_speaks_against_them(shell: Shell, mesh: Mesh) -> None:
    done = shell("nodes", to=mesh.two)
    assert done.code == 0
    rows = {row["nodeId"] or row["endpoint"]: row for row in done.results}
    assert list(rows) == ["two", "tcp://127.0.0.1:1", "one"]
    assert rows["two"]["self"] and not rows["two"]["problem"]
    assert "refused" in rows["tcp://127.0.0.1:1"]["problem"]
    assert (rows["one"]["endpoint"], rows["one"]["problem"]) == (mesh.one, "")
    assert {each["name"] for each in rows["one"]["services"]} >= {"SPLNodeService", "test.Shop"}


def test_text_on_a_terminal(home: object, mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert main(["nodes", "--to", mesh.two]) == 0
    head, *lines = sys.stdout.getvalue().splitlines()
    assert head.split() == ["NODE", "ENDPOINT", "STATE", "SERVICES", "LOAD", "SOURCE"]
    assert any(line.split()[:3] == ["two", mesh.two, "up"] and line.endswith("this node") for line in lines)
    assert any("left out" in line and "refused" in line for line in lines)


def test_watching(home: object, mesh: Mesh) -> None:
    watching = subprocess.Popen(
        [*SPLNODE, "nodes", "--watch", "--to", mesh.two], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert watching.stdout is not None
    first = json.loads(watching.stdout.readline())
    assert {row["nodeId"] for row in first} == {"", "one", "two"}
    mesh.change()
    second = json.loads(watching.stdout.readline())
    (one,) = (row for row in second if row["nodeId"] == "one")
    assert "More" in one["capabilities"]
    watching.terminate()
    watching.communicate()


def test_a_node_that_was_named_must_answer(shell: Shell) -> None:
    assert shell("nodes", to="unix:///none").code == 3
