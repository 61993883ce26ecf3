"""A node as `splnode serve` starts it, and stock clients of each of its services, all on the one port."""

import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.peer import Peer, Remote, RemoteFailure
from tests.interop.service import Served
from tests.interop.test_peers_call_us import WAYS, Way

SHIPPED = Path(__file__).parents[2] / "protocols"
SERVE = "import sys; from splnode.cli.main import main; sys.exit(main())"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The node: its addresses."""
    home = tmp_path_factory.mktemp("node")
    path, log = str(home / "s"), home / "log"
    arguments = ["serve", "--listen", "tcp://127.0.0.1:0", "--listen", f"unix://{path}", "--data", str(home / "data")]
    with log.open("w") as stderr:
        node = subprocess.Popen(
            [sys.executable, "-P", "-c", SERVE, *arguments],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={"HOME": str(home), "XDG_RUNTIME_DIR": str(home)},
            cwd=home,
        )
    assert node.stdout is not None
    try:
        line = node.stdout.readline()
        assert line, log.read_text()
        port = int(json.loads(line)["listen"][0].rpartition(":")[2])
        yield Served(None, port, path)
    finally:
        node.kill()
        node.wait()
        node.stdout.close()


@pytest.fixture(params=WAYS, ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    assert isinstance(request.param, Way)
    return request.param


async def opened(way: Way, peer_named: Callable[[str], Peer], running: Served, service: str) -> Remote:
    peer, protocol = peer_named(way.peer), str(SHIPPED / f"{service}.avpr")
    answer = await peer.ask("open", protocol=protocol, **running.where(way.transport))
    return Remote(peer, answer["ok"])


async def test_records_are_written_and_read(way: Way, peer_named: Callable[[str], Peer], running: Served) -> None:
    client = await opened(way, peer_named, running, "SPLDataService")
    topic = f"from-{way}-{uuid.uuid4()}"  # the node stays, and the test comes again on another loop
    for data in ("text", b"\0\xff", None):
        params: dict[str, Any] = {"topic": topic, "primaryKey": "k", "data": data, "schema": None}
        await client.call("write", params)
    read = {"topic": topic, "primaryKey": "k", "limit": None, "offset": None, "history": True}
    found = await client.call("read", read)
    assert [(each["version"], each["data"]) for each in found["records"]] == [(1, "text"), (2, b"\0\xff"), (3, None)]
    assert found["totalCount"] == 3
    with pytest.raises(RemoteFailure) as caught:
        await client.call("read", {**read, "topic": f"never-{way}"})
    assert caught.value.declared is not None
    assert caught.value.declared["name"] == "DataReadError"
    assert caught.value.declared["fields"]["code"] == "TOPIC_NOT_FOUND"
    await client.ask("close")


async def test_modules_are_executed(way: Way, peer_named: Callable[[str], Peer], running: Served) -> None:
    client = await opened(way, peer_named, running, "SPLExecuteService")
    assert "spl/data/read" in await client.call("listAvailableModules", {})
    headers = {"topic": f"executed-{way}", "primaryKey": "k"}
    request = {"module": "spl/data/write", "headers": headers, "value": "text", "schema": None}
    answer = await client.call("execute", {"request": request})
    assert answer["status"] == "completed"
    with pytest.raises(RemoteFailure) as caught:
        await client.call("execute", {"request": {**request, "module": "no/such/module"}})
    assert caught.value.declared is not None
    assert caught.value.declared["name"] == "ExecutionError"
    await client.ask("close")


async def test_health_and_reflection(way: Way, peer_named: Callable[[str], Peer], running: Served) -> None:
    health = await opened(way, peer_named, running, "splnode.Health")
    assert (await health.call("check", {"service": "SPLDataService"}))["status"] == "SERVING"
    await health.ask("close")
    reflection = await opened(way, peer_named, running, "splnode.Reflection")
    text = await reflection.call("getProtocol", {"name": "SPLDataService"})
    assert text == (SHIPPED / "SPLDataService.avpr").read_text(encoding="utf-8")
    await reflection.ask("close")
