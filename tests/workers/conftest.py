import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from splnode.avro.protocol import Protocol
from splnode.endpoint import Endpoint
from splnode.limits import Limits
from splnode.net.listener import Listener
from splnode.rpc.client import Client
from splnode.rpc.router import Router
from splnode.rpc.server import Server
from splnode.wire.directory import Directory
from splnode.workers.link import linked, within

Link = Callable[[Protocol, object], Awaitable[Client]]


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    """`await link(protocol, implementation)`: a client of it over a link, as a worker has one of its supervisor."""
    closing: list[Callable[[], Awaitable[None]]] = []

    async def connect(protocol: Protocol, implementation: object) -> Client:
        server = Server(protocol, implementation)
        listener = Listener(Router({protocol.name: server}), Directory([server.contract]))
        ours, theirs = socket.socketpair()
        await listener.adopt(Endpoint("unix", path="/worker/1"), ours)
        connection, contract = await linked(theirs, protocol, "supervisor", within(Limits()), lambda reason: None)
        closing.extend((connection.close, listener.close, server.close))
        return Client(connection, contract)

    yield connect
    for close in closing:
        await close()
