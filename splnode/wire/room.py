"""Memory for bytes that were announced, and are received where they stay.

A length word is not believed: the memory is at most LEAST, or GROWTH times as large as what has come, and what is not
written to yet costs nothing but addresses.

This is the plain engine, which copies once more in the end; `native/room.c` gives the very memory that was received
into.
"""

from functools import cache
from typing import Any, Final

from splnode.wire.engine import native_engine

LEAST: Final = 65_536
"""Bytes that there is room for at once. The holder begins when one in GROWTH of them has come."""
STEP: Final = 512 * 1024
"""Bytes by which this one grows at most, and no more than what came: all of them are written to at once."""
GROWTH: Final = 8
"""How many times as large the memory may be as what has come: few steps, since each may copy what is there."""


class Room:
    """Room for `total` bytes. Receive into `space()` and say so with `add`, or `put` what came elsewhere, until
    none is `missing`; then `take` gives them.
    """

    __slots__ = ("_memory", "_total", "filled")

    def __init__(self, total: int, /) -> None:
        if total < 1:
            raise ValueError("Room(total) takes a positive number of bytes")
        self._total = total
        self._memory: bytearray | None = bytearray()
        self.filled = 0

    @property
    def missing(self) -> int:
        """Bytes that are still to come."""
        return self._total - self.filled

    def space(self) -> memoryview:
        """Where the next bytes go: some of what is missing. BufferError while another such view is in use."""
        memory = self._open()
        if self.filled == len(memory):
            self._grow(memory, self.filled)
        return memoryview(memory)[self.filled :]

    def add(self, count: int, /) -> None:
        """So many bytes were written to `space()`."""
        if not 0 <= count <= len(self._open()) - self.filled:
            raise ValueError(f"{count} bytes in a space of {len(self._open()) - self.filled}")
        self.filled += count

    def put(self, data: bytes | bytearray | memoryview, /) -> int:
        """Copies what is missing, as far as it is there; how many bytes of `data` that were."""
        memory = self._open()
        count = min(len(data), self.missing)
        end = self.filled + count
        if end > len(memory):
            self._grow(memory, end)
        memory[self.filled : end] = memoryview(data)[:count]
        self.filled = end
        return count

    def take(self) -> bytes:
        """All of the bytes, once."""
        memory = self._open()
        if self.missing:
            raise ValueError(f"{self.missing} bytes are still to come")
        self._memory = None
        return bytes(memory)

    def frame(self) -> bytes:
        """Where an intake or a pipeline has begun it: its message in Netty framing, as far as it has come."""
        raise NotImplementedError

    def _open(self) -> bytearray:
        if self._memory is None:
            raise ValueError("the bytes were taken")
        return self._memory

    def _grow(self, memory: bytearray, came: int) -> None:
        memory += bytes(min(self._total, max(LEAST, came + min(came, STEP))) - len(memory))


@cache
def _kind() -> Any:
    module = native_engine()
    return Room if module is None else module.Room


def room(total: int) -> Room:
    """A Room of the engine that was used first."""
    made: Room = _kind()(total)
    return made
