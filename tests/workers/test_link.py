import asyncio
import socket

import pytest

from splnode.endpoint import Endpoint
from splnode.errors import CallError
from splnode.limits import Limits
from splnode.net.listener import Listener
from splnode.rpc.client import Client
from splnode.rpc.router import Router
from splnode.rpc.server import Server
from splnode.wire.directory import Directory
from splnode.workers.link import linked, within
from tests.rpc.conftest import PROTOCOL, Inventory


def test_what_was_let_in_fits_through() -> None:
    limits = Limits(message_bytes=1000, calls_per_connection=10, depth=7)
    inner = within(limits)
    assert inner.message_bytes > 1000
    assert inner.calls_per_connection > 10_000
    assert inner.depth == 7
    assert within(Limits(message_bytes=2**31 - 1)).message_bytes == 2**31 - 1


async def test_a_pair_of_sockets_is_a_connection() -> None:
    server = Server(PROTOCOL, Inventory())
    listener = Listener(Router({PROTOCOL.name: server}), Directory([server.contract]))
    ours, theirs = socket.socketpair()
    await listener.adopt(Endpoint("unix", path="/worker/1"), ours)
    gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    connection, contract = await linked(theirs, PROTOCOL, "supervisor", within(Limits()), gone.set_result)
    assert await Client(connection, contract).add(1, 2) == 3
    await listener.close()
    assert await gone
    await connection.close()


async def test_nobody_there() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    with pytest.raises(CallError, match="/supervisor"):
        await linked(theirs, PROTOCOL, "supervisor", within(Limits()), lambda reason: None)
