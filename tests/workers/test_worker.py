"""A worker in this process; as a process it is tested in test_supervisor.py."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

import splnode
from splnode.avro.protocol import find_protocol
from splnode.config import parse
from splnode.endpoint import Endpoint
from splnode.net.listener import Listener
from splnode.rpc.router import Router
from splnode.rpc.server import Server
from splnode.services.data import DataService
from splnode.services.health import HealthService
from splnode.services.store import Store
from splnode.wire.directory import Directory
from splnode.workers.worker import WorkerNode


class WritesAlone(DataService):
    """The supervisor's, which is not to be asked for what a worker can read itself."""

    async def read(self, *_: Any, **__: Any) -> dict[str, Any]:
        raise AssertionError("the worker reads here")


async def test_reads_here_and_asks_its_supervisor_for_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = parse(f'[node]\nid = "n"\ndirectory = "{tmp_path}"\ndrain_seconds = 0.0\n')
    health = HealthService()
    health.set("", "SERVING")
    services = {
        "SPLDataService": WritesAlone(Store.open(config.data_directory)), "splnode.Health": health,
    }  # fmt: skip
    servers = [Server(find_protocol(name), service) for name, service in services.items()]
    owner = Listener(Router({s.protocol.name: s for s in servers}), Directory(s.contract for s in servers))
    links = []
    for server in servers:
        ours, theirs = socket.socketpair()
        await owner.adopt(Endpoint("unix", path="/worker/1", service=server.protocol.name), ours)
        links.append((server.protocol, theirs.detach()))
    sock = socket.create_server(("127.0.0.1", 0))
    endpoint = Endpoint("tcp", "127.0.0.1", sock.getsockname()[1])
    hand, handed = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening = [(endpoint, [sock]), (Endpoint("unix", path="/s"), list[socket.socket]())]
    async with WorkerNode(config, listening, handed, links) as worker:
        assert (worker.id, worker.services, worker.endpoints) == ("n", tuple(services), [endpoint])
        with hand, socket.create_connection((endpoint.host, endpoint.port)) as other, socket.socket() as gone:
            socket.send_fds(hand, [b"\1"], [gone.fileno()])  # one that is not connected is no harm
            ours, theirs = socket.socketpair()
            with theirs:
                socket.send_fds(hand, [b"\1"], [theirs.fileno()])
            reader, writer = await asyncio.open_unix_connection(sock=ours)
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await asyncio.wait_for(reader.readline(), 10)).startswith(b"HTTP/1.1 503")  # no such service here
            writer.close()
            other.close()
        async with splnode.connect(endpoint, "SPLDataService") as data:
            assert (await data.write(topic="t", primaryKey="k", data="x"))["version"] == 1
            assert (await data.read(topic="t"))["records"][0]["data"] == "x"
        async with splnode.connect(endpoint, "splnode.Health") as asked:
            assert await asked.list() == health.list()
    await owner.close()
    for server in servers:
        await server.close()
    assert "serving" not in capsys.readouterr().out  # that is its supervisor's to say
