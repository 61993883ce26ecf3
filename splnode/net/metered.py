"""Connections of peers whose bytes are counted against the time: they are read no faster than their rate allows.

Who heeds what refused calls are told (`spl-retry-after-ms`) is never held up here.
"""

import asyncio

from splnode.endpoint import Endpoint
from splnode.net.accepted import ServerConnection
from splnode.net.host import Host
from splnode.net.http_server import HttpServerConnection


class MeteredConnection(ServerConnection):
    """As a ServerConnection, and its bytes are paid for."""

    __slots__ = ()

    def __init__(self, host: Host, endpoint: Endpoint) -> None:
        super().__init__(host, endpoint)
        self.buffer_updated = self._metered

    def _metered(self, nbytes: int) -> None:
        """Bytes of the peer, in its buffer."""
        self._mouth.buffer_updated(nbytes)
        seconds = self._pay(nbytes)
        if seconds and self._transport is not None and not self._closing:
            self._mouth.feed = None
            self._full = True
            self._transport.pause_reading()
            if self._next is not None:
                self._next.cancel()
            self._next = asyncio.get_running_loop().call_later(seconds, self._go_on)

    def _successor(self) -> HttpServerConnection:
        return MeteredHttpConnection(self._host, self._endpoint)


class MeteredHttpConnection(HttpServerConnection):
    """As an HttpServerConnection, and its bytes are paid for."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        super().data_received(data)
        seconds = self._pay(len(data))
        if seconds and self._transport is not None and not self._closing:
            self._transport.pause_reading()
            if self._next is not None:
                self._next.cancel()
            self._next = asyncio.get_running_loop().call_later(seconds, self._next_turn)
