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
