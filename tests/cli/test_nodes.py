import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from splnode.cli.main import main
from splnode.cli.nodes import line
from tests.cli.conftest import Shell
from tests.cli.meshes import Mesh
from tests.cli.test_serve import SPLNODE


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextmanager
def watching(*words: str) -> Iterator[Iterator[Any]]:
    """A command that goes on until it is stopped, which it is in the end; gives the values that it prints."""
    with subprocess.Popen([*SPLNODE, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield map(json.loads, process.stdout)
        finally:
            process.terminate()


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
    head, *rows = [re.split(r"\s{2,}", line) for line in sys.stdout.getvalue().splitlines()]
    assert head == ["NODE", "ENDPOINT", "STATE", "SERVICES", "LOAD", "SOURCE"]
    two, nobody, one = rows
    assert two[:3] == ["two", mesh.two, "up"] and two[-1] == "this node"
    assert int(two[3]) >= 7 and two[4].endswith("%")
    assert nobody[:6] == ["?", "tcp://127.0.0.1:1", "gone", "?", "-", "static"]
    assert nobody[6].startswith("cannot connect to tcp://127.0.0.1:1: connection refused")
    assert [*one[:3], *one[5:]] == ["one", mesh.one, "up", "static"] and int(one[3]) >= 8
    assert one[4] == "-" or one[4].endswith("%")  # it is known once it was asked again


def test_a_node_that_drains_or_is_in_doubt() -> None:
    node = {
        "nodeId": "n", "endpoint": "tcp://h:1", "endpoints": [{"endpoint": "tcp://h:1", "source": "mdns"}, {
            "endpoint": "unix:///s", "source": "host"}, {"endpoint": "tcp://h:2", "source": "mdns"}],
        "state": "DRAINING", "services": [{}, {}], "load": 0.5, "self": False, "problem": "",
    }  # fmt: skip
    assert line(node) == ("n", "tcp://h:1", "draining", "2", "50%", "mdns, host", "")
    doubt = {"state": "SUSPECT", "problem": "no connection within 1 s"}
    assert line(node | doubt)[2:] == ("suspect", "2", "50%", "mdns, host", "no connection within 1 s")
    assert line(node | {"problem": "it lies"})[2] == "left out"


def test_watching(home: object, mesh: Mesh) -> None:
    with watching("nodes", "--watch", "--to", mesh.two) as lines:
        assert {row["nodeId"] for row in next(lines)} == {"", "one", "two"}
        mesh.change()
        (one,) = (row for row in next(lines) if row["nodeId"] == "one")
        assert "More" in one["capabilities"]


def test_a_node_that_was_named_must_answer(shell: Shell) -> None:
    assert shell("nodes", to="unix:///none").code == 3
