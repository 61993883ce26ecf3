"""The C extension's face: the native call engine. Its sources are in `native/`."""

from collections.abc import Callable, Mapping
from contextvars import Context, ContextVar
from typing import Any, final

from splnode.limits import Limits
from splnode.wire.intake import Handler
from splnode.wire.message import ServerCall

@final
class Intake:
    """The requests of one connection, run as soon as they are read; `splnode.wire.intake.Intake` says how."""

    stopped: bool
    @property
    def served(self) -> int: ...
    @property
    def over(self) -> bool: ...
    def __new__(
        cls,
        limits: Limits,
        *,
        call: type,
        peer: object,
        running: ContextVar[Any],
        context: Context,
        clock: Callable[[], float],
        allowed: Callable[[Mapping[str, bytes]], float],
        handler: Callable[[ServerCall], Handler | None],
        unusual: Callable[..., None],
    ) -> Intake: ...
    def begin(self, client_hash: bytes, calls: Mapping[bytes, ServerCall], /) -> None:
        """A handshake is done."""
    def run(self, data: bytes | bytearray | memoryview, start: int, most: int, seconds: float, /) -> int:
        """Runs the ordinary requests from `start` on; the place behind the last one."""
    def take(self) -> bytes:
        """The answers that were not taken yet."""
    def close(self) -> None:
        """Nothing is run any more, and what runs now is not answered."""

@final
class Room:
    """Memory for bytes that are received where they stay; `splnode.wire.room.Room` says how."""

    @property
    def missing(self) -> int: ...
    @property
    def filled(self) -> int: ...
    def __new__(cls, total: int, /) -> Room: ...
    def space(self) -> memoryview:
        """Where the next bytes go."""
    def add(self, count: int, /) -> None:
        """So many bytes were written to `space()`."""
    def put(self, data: bytes | bytearray | memoryview, /) -> int:
        """Copies what is missing, as far as it is there."""
    def take(self) -> bytes:
        """All of the bytes, once."""
