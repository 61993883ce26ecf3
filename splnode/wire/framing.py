"""Messages out of bytes: what both framings share. `netty` and `spec` have one each, and how messages are written.

A reader is fed whatever arrived and gives whole messages. It copies a byte a fixed number of times however
it arrives, and believes no length word: memory grows with what arrived. What is still to come of a large buffer is
best received into its `space`, where it stays.
"""

from collections.abc import Callable
from struct import Struct
from typing import Final

from splnode.errors import RemoteWireError
from splnode.limits import Limits
from splnode.wire.room import GROWTH, LEAST, Room, room

_WORD: Final = Struct(">I")
_SMALL: Final = 4096
"""Smaller chunks are gathered in one bytearray, so that a slow trickle costs no object a byte."""


LARGE: Final = 16_384
"""From so many bytes on a message is written in two pieces rather than copied behind its head."""

ENOUGH: Final = LEAST // GROWTH
"""Bytes of a buffer of LEAST and more that are gathered before it gets room of its own."""


class Apart:
    """A message whose one large value was received by itself: `part`, which belongs at `at` of the `rest`."""

    __slots__ = ("at", "part", "rest")

    def __init__(self, rest: bytes, at: int, part: bytes) -> None:
        self.rest = rest
        self.at = at
        self.part = part

    def __len__(self) -> int:
        return len(self.rest) + len(self.part)

    def whole(self) -> bytes:
        """The message in one piece."""
        return b"".join((self.rest[: self.at], self.part, self.rest[self.at :]))


Body = bytes | Apart
Locate = Callable[[int, bytes], tuple[int, int] | None]
"""Is told the serial and the beginning of a message, and says where in it the value begins that is cut off, and how
long it is (`codec.Decoder.locate`); None: in no such value."""


class Reader:
    """What both framings share: the bytes that arrived and were not yet understood.

    `feed`, then `take` until it gives nothing. `held` is the number of bytes not taken. While `large` a large buffer
    has begun that `make_room` is good for; then what comes may go to its `space` instead of `feed`.
    """

    __slots__ = (
        "_broken",
        "_chunks",
        "_data",
        "_expect",
        "_need",
        "_parts",
        "_pos",
        "_room",
        "_total",
        "buffers",
        "held",
        "large",
        "largest",
    )

    def __init__(self, limits: Limits) -> None:
        self.largest = limits.message_bytes
        self.buffers = limits.message_buffers
        self.held = 0
        self._data = b""
        self._pos = 0
        self._chunks: list[bytes | bytearray] = []
        self._need = 1
        self._parts: list[bytes] = []
        self._total = 0
        self._expect = -1  # bytes of the buffer that has begun, or -1 before its length
        self._room: Room | None = None  # where the rest of it goes
        self.large = False
        self._broken: RemoteWireError | None = None

    def feed(self, data: bytes) -> None:
        """Adds what arrived."""
        if type(data) is not bytes:
            data = bytes(data)  # a view of a buffer that its owner uses again
        self.held += len(data)
        if self._room is not None:
            data = data[self._room.put(data) :]
            if not data:
                return
        if not self._data:
            self._data = data
            self._pos = 0
        elif len(data) >= _SMALL:
            self._chunks.append(data)
        elif self._chunks and isinstance(self._chunks[-1], bytearray):
            self._chunks[-1] += data
        else:
            self._chunks.append(bytearray(data))

    def make_room(self, locate: Locate | None = None) -> None:
        """For a `large` buffer, which is to stay where it is received. With `locate` its message may come Apart."""
        if not self.large:
            return
        self.large = False
        self._join()
        length = self._set_apart(locate) if locate is not None else self._expect
        made = self._room = room(length)
        self._pos += made.put(memoryview(self._data)[self._pos :])
        self._trim()

    @property
    def space(self) -> memoryview | None:
        """Where the next bytes are best received, some of the room for them; None: nowhere, `feed` them."""
        return self._room.space() if self._room is not None and self._room.missing else None

    def received(self, count: int) -> None:
        """So many bytes were received into the `space`."""
        assert self._room is not None  # whose space it was
        self._room.add(count)
        self.held += count

    def take(self, most: int) -> list[tuple[int, Body]]:
        """At most `most` whole messages, each with its serial; none: there is no more.

        RemoteWireError: the framing is broken, raised once all messages before the fault were taken.
        """
        if self._broken is not None:
            raise self._broken
        if self.held < self._need if self._room is None else self._room.missing:
            return []
        self._join()
        out: list[tuple[int, Body]] = []
        try:
            self._parse(out, most)
        except RemoteWireError as error:
            self._broken = error
            if not out:
                raise
        self._trim()
        return out

    @property
    def total(self) -> int:
        """Bytes of the buffers that are here of a message that is not whole."""
        return self._total if self._parts else 0

    @property
    def between(self) -> bool:
        """False where a part of a message was taken."""
        return True

    @property
    def idle(self) -> bool:
        """True where the stream may end without cutting a message."""
        raise NotImplementedError

    def rest(self) -> bytes:
        """Takes all bytes as they are."""
        data = b"".join((self._data[self._pos :], *self._chunks))
        self._chunks.clear()
        self._data = b""
        self._room = None
        self._pos = self.held = 0
        return data

    def drop(self) -> None:
        """Lets go of the memory of all that is here. Nothing is to be fed or taken after that."""
        self._chunks.clear()
        self._parts.clear()
        self._data = b""
        self._room = None

    def _join(self) -> None:
        if self._chunks:
            self._data = b"".join((self._data[self._pos :], *self._chunks))
            self._pos = 0
            self._chunks.clear()

    def _trim(self) -> None:
        self.held = left = len(self._data) - self._pos
        if not left:
            self._data = b""
            self._pos = 0
        elif self._pos > _SMALL and self._pos > left:  # a short rest must not keep a long chunk alive
            self._data = self._data[self._pos :]
            self._pos = 0
        if self._room is not None:
            self.held += self._room.filled

    def _parse(self, out: list[tuple[int, Body]], most: int) -> None:
        """Moves `_pos` over all that is whole and sets `_need` to what the next step wants."""
        raise NotImplementedError

    def _word(self) -> bool:
        """Reads a length into `_expect`; False where it is not whole yet."""
        pos = self._pos
        if len(self._data) - pos < 4:
            self._need = 4
            return False
        (length,) = _WORD.unpack_from(self._data, pos)
        if self._total + length > self.largest:
            at_least = self._total + length
            raise RemoteWireError(f"a message of at least {at_least} bytes (limit message_bytes = {self.largest})")
        self._pos = pos + 4
        self._expect = length
        return True

    def _buffer(self) -> bool:
        """Moves a buffer of `_expect` bytes to the parts; False where it is not whole yet."""
        if self._room is not None:
            return self._room_is_full(self._room)
        data, pos, length = self._data, self._pos, self._expect
        size = len(data)
        if size - pos < length:
            self._wait_for(length, size - pos)
            return False
        if length:
            # A long buffer comes alone, joined out of its chunks: it is not copied once more.
            self._parts.append(data if length == size else data[pos : pos + length])
            self._total += length
        self._pos = pos + length
        self._expect = -1
        return True

    def _wait_for(self, length: int, here: int) -> None:
        """A buffer has begun of which not all is here."""
        self._need = length if length < LEAST or here >= ENOUGH else ENOUGH
        self.large = self._need == length >= LEAST

    def _set_apart(self, _locate: Locate) -> int:
        """Takes what stands before a value that is to be received by itself; how long the value is, or the buffer."""
        return self._expect

    def _room_is_full(self, full: Room) -> bool:
        if full.missing:
            return False
        part = full.take()
        self._room = None
        self._parts.append(part)
        self._total += len(part)
        self._expect = -1
        return True

    def _joined(self) -> Body:
        parts = self._parts
        message = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._total = 0
        return message
