import json
import re
import subprocess
import sys

import pytest

from splnode.avro.fingerprint import wire_fingerprint
from splnode.cli import channels, output
from tests.cli.conftest import Shell
from tests.cli.meshes import TILL, Mesh

ROW = {
    "service": "x.Shop", "nodeId": "", "endpoint": "tcp://h:1", "state": "READY", "inFlight": 1, "picks": 2,
    "weight": 2.0, "reported": None, "load": None, "leftOut": [], "ejectedUntil": 0, "lastError": "",
}  # fmt: skip


def test_a_line_for_each_way(shell: Shell, mesh: Mesh) -> None:
    assert shell("call", "Till.who", to=mesh.two).code == 0
    done = shell("channels", "Till", to=mesh.two)
    assert done.code == 0, done.err
    wire = wire_fingerprint(TILL).hex()  # other tests may have called it in other versions
    rows = {row["endpoint"]: row for row in done.results if row["wire"] == wire}
    good, bad = rows[mesh.one], rows["tcp://127.0.0.1:1"]
    assert (good["service"], good["nodeId"], good["state"], good["leftOut"]) == ("test.Till", "one", "READY", [])
    assert good["picks"] >= 1
    assert bad["leftOut"] and bad["nodeId"] == ""
    assert shell("channels", "Nothing", to=mesh.two).out == ""


def test_a_table_on_a_terminal(shell: Shell, mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    shell("call", "Till.who", to=mesh.two)
    monkeypatch.setattr(output, "wants_text", lambda _: True)
    monkeypatch.setenv("NO_COLOR", "1")
    lines = shell("channels", "test.Till", to=mesh.two).out.splitlines()
    head, *rows = [re.split(r"\s{2,}", line) for line in lines]
    assert head == list(channels.HEAD)
    ways = {row[2]: row for row in rows if int(row[5])}
    one = ways[mesh.one]
    assert one[:5] == ["test.Till", "one", mesh.one, "ready", "0"] and one[6] == "1" and one[8] == "-"
    nobody = next(row for row in rows if row[2] == "tcp://127.0.0.1:1")
    assert nobody[:3] == ["test.Till", "?", "tcp://127.0.0.1:1"] and "refused" in nobody[8]


def test_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels.time, "time", lambda: 1000.0)
    line = channels.line(ROW)
    assert line == ("x.Shop", "?", "tcp://h:1", "ready", "1", "2", "2", "-", "-", "")
    ejected = {"ejectedUntil": 1_060_000, "leftOut": ["its weight is 0"], "load": 0.25}
    line = channels.line({**ROW, **ejected, "reported": 1234.5, "lastError": "a\nb"})
    assert line[6:8] == ("2 x 1.23e+03/s", "25%")
    assert line[8] == "its weight is 0; for 60.0 s more"
    assert line[9] == "a b"


def test_watching(mesh: Mesh) -> None:
    words = [sys.executable, "-m", "splnode", "channels", "--watch", "Till", "--to", mesh.two]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as watching:
        assert watching.stdout is not None
        json.loads(watching.stdout.readline())
        call = [sys.executable, "-m", "splnode", "call", "Till.who", "--to", mesh.two]
        assert subprocess.run(call, check=True, capture_output=True).stdout == b"{}\n"
        rows = json.loads(watching.stdout.readline())
        assert any(row["picks"] for row in rows)
        watching.kill()
