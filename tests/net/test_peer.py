import asyncio
import os
import socket
from pathlib import Path

import splnode
from splnode.net.peer import acknowledge, unread
from splnode.rpc.call import current_call
from tests.rpc.conftest import PROTOCOL, Inventory


class Who(Inventory):
    async def wait(self, name: str) -> str:
        return f"{current_call().peer.endpoint} {current_call().peer.uid}"


async def test_a_unix_peer_has_a_uid_a_tcp_peer_an_address(tmp_path: Path) -> None:
    async with splnode.listen([f"unix://{tmp_path}/s", "tcp://127.0.0.1:0"], {PROTOCOL: Who()}) as server:
        async with splnode.connect(server.endpoints[0], PROTOCOL) as client:
            assert await client.wait(name="") == f"unix {os.getuid()}"
        async with splnode.connect(server.endpoints[1], PROTOCOL) as client:
            where, uid = (await client.wait(name="")).split()
            assert where.startswith("tcp://127.0.0.1:")
            assert uid == "None"


class FakeSocket:
    def __init__(self, family: int, broken: bool = False) -> None:
        self.family = family
        self.broken = broken
        self.options: list[tuple[int, int, int]] = []

    def setsockopt(self, *option: int) -> None:
        if self.broken:
            raise OSError("gone")
        self.options.append(option)


class FakeTransport(asyncio.BaseTransport):
    def __init__(self, sock: FakeSocket | None) -> None:
        super().__init__({"socket": sock})


def test_what_came_is_acknowledged_at_once() -> None:
    tcp, unix, broken = FakeSocket(socket.AF_INET), FakeSocket(socket.AF_UNIX), FakeSocket(socket.AF_INET6, broken=True)
    for each in (tcp, unix, broken, None):
        acknowledge(FakeTransport(each))
    assert tcp.options == [(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)]
    assert unix.options == []


async def test_unread_is_what_the_peer_has_not_got_wherever_it_waits() -> None:
    ours, theirs = socket.socketpair()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    assert unread(transport) == 0
    transport.write(bytes(10_000_000))
    before = unread(transport)
    assert before >= transport.get_write_buffer_size() > 5_000_000
    theirs.setblocking(True)
    got = 0
    while got < 10_000_000:
        got += len(await asyncio.to_thread(theirs.recv, 1_000_000))
    assert unread(transport) == 0
    transport.close()
    theirs.close()
    await asyncio.sleep(0)
    assert unread(transport) == 0
