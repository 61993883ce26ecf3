"""Where the bytes of a peer come in, and where those for it go out: what a connection does for each chunk.

Plain Python beside `native/mouth.c`, which does the same and costs a chunk of ordinary calls no Python.
"""

import sys
import time
import typing
from collections.abc import Callable
from typing import Any, Final

from splnode.net.engine import native_net

LIGHT: Final = 256
"""Bytes that are a little: a few small calls at a time."""
STEADY: Final = 4
"""How often in a row somebody has sent a little before others are polite to him: floods too end in small pieces."""


class Turns(typing.Protocol):
    """Whose turn it is, of all connections of a loop."""

    light: Any

    def polite(self, who: object) -> bool:
        """Whether `who` has much, and should take little of it at a time."""
        ...


class Mouth:
    """The receiving half of an `asyncio.BufferedProtocol`.

    While it has a `feed`, what comes is received into `buffer` and given to that: `feed(buffer, count)` says how many
    bytes it has taken, and `left(taken, count)` is told where others remain. Without one the connection finds the
    space, `space(hint)`, and is told that something came there, `came(count)`.

    What comes at a time is a little, up to LIGHT bytes, or much. Where there are `turns`, their `light` is set to the
    mouth that has got a little more often than STEADY times in a row (its own `light` counts them); and before much is
    fed, `polite(mouth)` is asked: if that is True, the connection is told instead, as it were without an engine.

    `received` counts the bytes, `heard` is the moment (of time.monotonic()) of the last ones, and `busy` is True while
    something is fed. The connection `close`s it at the end.
    """

    __slots__ = ("_came", "_left", "_space", "buffer", "busy", "feed", "heard", "light", "received", "turns")

    def __init__(
        self,
        buffer: memoryview,
        space: Callable[[int], memoryview],
        came: Callable[[int], None],
        left: Callable[[int, int], None],
    ) -> None:
        self._space: Callable[[int], memoryview] | None = space
        self._came: Callable[[int], None] | None = came
        self._left: Callable[[int, int], None] | None = left
        self.buffer = buffer
        self.feed: Callable[[memoryview, int], int] | None = None
        self.turns: Turns | None = None
        self.light = 0
        self.received = 0
        self.heard = time.monotonic()
        self.busy = False

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        if self.feed is not None:
            return self.buffer
        if self._space is None:
            raise RuntimeError("this connection was closed")
        return self._space(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes of the peer, in that buffer."""
        self.heard = time.monotonic()
        self.received += nbytes
        if self._is_much(nbytes) or self.feed is None:
            if self._came is None:
                raise RuntimeError("this connection was closed")
            self._came(nbytes)
            return
        outer, self.busy = self.busy, True
        try:
            taken = self.feed(self.buffer, nbytes)
        finally:
            self.busy = outer
        if taken < nbytes and self._left is not None:
            self._left(taken, nbytes)

    def _is_much(self, nbytes: int) -> bool:
        """Whether it is so much that it must not be fed now."""
        if nbytes > LIGHT:
            self.light = 0
            return self.turns is not None and self.feed is not None and self.turns.polite(self)
        self.light = min(self.light + 1, STEADY + 1)
        if self.light > STEADY and self.turns is not None:
            self.turns.light = self
        return False

    def close(self) -> None:
        """Lets go of the connection."""
        self._space = self._came = self._left = self.feed = self.turns = None


class Outlet:
    """Takes bytes to the `write` of a transport, and counts them; without one it drops them."""

    __slots__ = ("write", "written")

    def __init__(self) -> None:
        self.write: Callable[[bytes], object] | None = None
        self.written = 0

    def __call__(self, data: bytes) -> None:
        """Sends these bytes."""
        if self.write is not None:
            self.written += len(data)
            self.write(data)


def make_mouth(
    buffer: memoryview,
    space: Callable[[int], memoryview],
    came: Callable[[int], None],
    left: Callable[[int, int], None],
) -> Mouth:
    """A Mouth of the engine that is used here."""
    module: Any = native_net() or sys.modules[__name__]
    made: Mouth = module.Mouth(buffer, space, came, left)
    return made


def make_outlet() -> Outlet:
    """An Outlet of that engine."""
    module: Any = native_net() or sys.modules[__name__]
    made: Outlet = module.Outlet()
    return made
