import sys

import pytest

from splnode.cli.main import main
from tests.cli.conftest import Shell
from tests.cli.meshes import Mesh
from tests.cli.test_nodes import Terminal


def test_what_is_wrong_and_the_exit_code(shell: Shell, mesh: Mesh) -> None:
    done = shell("doctor", to=mesh.two)
    assert done.code == 1  # one of its peers cannot be reached
    graded = {(row["check"], row["grade"]) for row in done.results}
    assert {("peers", "BAD"), ("peers", "GOOD"), ("clock", "GOOD"), ("multicast", "NOTE"), ("port", "GOOD")} <= graded
    (bad,) = (row for row in done.results if row["grade"] == "BAD")
    assert "refused" in bad["text"] and "start the node there" in bad["fix"]
    assert shell("doctor", to=mesh.one).code == 0


def test_text_on_a_terminal(home: object, mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert main(["doctor", "--to", mesh.two]) == 1
    assert any(line.startswith("BAD   peers") and " -> " in line for line in sys.stdout.getvalue().splitlines())
