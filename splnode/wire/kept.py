"""What stands in a client's table of calls besides those that its pipeline carries."""

from typing import Final

from splnode.wire.message import RequestWriter

EMPTY: Final = b"\0"
"""No metadata, or no name: a ping."""


class Kept:
    """A call that waits for the handshake, or over HTTP for its answer, since it may have to be sent again.

    `writer` is None for a ping. `attempt` counts the handshakes it was sent with.
    """

    __slots__ = ("attempt", "metadata", "payload", "writer")

    def __init__(self, writer: RequestWriter | None, metadata: bytes, payload: bytes) -> None:
        self.writer = writer
        self.metadata = metadata
        self.payload = payload
        self.attempt = 1

    @property
    def one_way(self) -> bool:
        """Whether nobody waits for an answer."""
        return self.writer is not None and self.writer.one_way

    def parts(self) -> list[bytes]:
        """Metadata, name and parameters, as far as they are not empty."""
        if self.writer is None:
            return [self.metadata, EMPTY]
        return [self.metadata, self.writer.name, *self.writer.split(self.payload)]


class Marker:
    """Stands in the table for what is no call."""


SILENT: Final = Marker()
"""Answered, but nobody waits for it."""
PING: Final = Marker()
"""A ping, whose answer is an event."""
