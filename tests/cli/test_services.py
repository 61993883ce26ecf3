import re
import sys

import pytest

from splnode.cli.main import main
from tests.cli.conftest import Shell
from tests.cli.meshes import Mesh
from tests.cli.test_nodes import Terminal, watching


def test_who_serves_what_and_why_it_does_not_fit(shell: Shell, mesh: Mesh) -> None:
    rows = shell("services", to=mesh.two).results
    assert {row["service"] for row in rows} >= {"SPLDataService", "test.Shop"}
    shop = {row["nodeId"]: row for row in shell("services", "Shop", to=mesh.two).results}
    assert {node: (row["fit"], row["version"]) for node, row in shop.items()} == {
        "two": ("SAME", "long"), "one": ("MISFIT", "string"),
    }  # fmt: skip
    assert shop["one"]["reasons"] == ["ask: response: the writer's string cannot be read as the reader's long"]
    assert shell("services", "Nothing", to=mesh.two).results == []


def test_text_on_a_terminal(home: object, mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert main(["services", "test.Shop", "--to", mesh.two]) == 0
    head, *rows = [re.split(r"\s{2,}", line) for line in sys.stdout.getvalue().splitlines()]
    assert head == ["SERVICE", "NODE", "ENDPOINT", "VERSION", "FIT", "STATE", "WEIGHT", "LOAD", "SOURCE"]
    by_node = {row[1]: row for row in rows}
    assert by_node["two"][:7] == ["test.Shop", "two", mesh.two, "long", "same", "up", "1"]
    assert by_node["two"][8] == "this node"
    reason = "ask: response: the writer's string cannot be read as the reader's long"
    *told, _, source, why = by_node["one"]  # its load is known once it was asked again
    assert told == ["test.Shop", "one", mesh.one, "string", "misfit", "up", "1"]
    assert (source, why) == ("static", reason)


def test_watching(home: object, mesh: Mesh) -> None:
    with watching("services", "Shop", "--watch", "--to", mesh.two) as lines:
        assert {row["nodeId"] for row in next(lines)} == {"one", "two"}
