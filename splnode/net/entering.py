"""What stands at a transport until it is known who is at the other end."""

import asyncio
import typing
from collections.abc import Callable


class Entering(asyncio.Protocol):
    """Asks `enter` as soon as the transport is there, after the handshake: who serves it from now on, or None.

    None ends the connection before a byte was said. `protocol` is what it gave.
    """

    def __init__(self, enter: Callable[[asyncio.Transport], asyncio.BaseProtocol | None]) -> None:
        self._enter = enter
        self.protocol: asyncio.BaseProtocol | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done."""
        link = typing.cast("asyncio.Transport", transport)  # uvloop's own is no subclass
        self.protocol = self._enter(link)
        if self.protocol is None:
            link.abort()
        else:
            link.set_protocol(self.protocol)
            self.protocol.connection_made(link)
