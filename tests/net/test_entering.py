"""splnode.net.entering: nobody serves a transport before it is known who is there."""

import asyncio

from splnode.net.entering import Entering


class Link(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.aborted = False
        self.protocol: asyncio.BaseProtocol | None = None

    def abort(self) -> None:
        self.aborted = True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol


class Server(asyncio.Protocol):
    made: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made = transport


def test_who_may_enter_is_served() -> None:
    link, server = Link(), Server()
    entering = Entering(lambda transport: server)
    entering.connection_made(link)
    assert link.protocol is entering.protocol is server
    assert server.made is link
    assert not link.aborted


def test_who_may_not_is_cut_off() -> None:
    link = Link()
    entering = Entering(lambda transport: None)
    entering.connection_made(link)
    assert link.aborted and link.protocol is None and entering.protocol is None
