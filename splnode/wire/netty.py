"""Netty framing: messages with serials, whose replies may come in any order.

```
i32 serial | i32 n | n x (i32 length, bytes)
```

(avro-ipc-netty, NettyTransportCodec)
"""

from struct import Struct
from typing import Final

from splnode.errors import RemoteWireError
from splnode.limits import Limits
from splnode.wire.framing import ENOUGH, Apart, Body, Locate, Reader
from splnode.wire.room import LEAST, Room

_ONE: Final = Struct(">III")
_HEAD: Final = Struct(">II")


class NettyReader(Reader):
    """Netty framing. A serial is the peer's own number: echoed, never understood."""

    __slots__ = ("_at", "_left", "_serial", "_tail")

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._left = 0
        self._serial = 0
        self._at = -1  # where the value belongs that is received by itself
        self._tail = 0  # bytes of its buffer behind it

    @property
    def idle(self) -> bool:
        """True where the stream may end without cutting a message."""
        return not self.held and not self._left

    @property
    def between(self) -> bool:
        """False where a part of a message was taken."""
        return not self._left

    def window(self) -> tuple[bytes, int]:
        """All that is held in one piece, and where it begins there; b"" within a message, or where too little is."""
        if self._left or self.held < self._need:
            return b"", 0
        self._join()
        return self._data, self._pos

    def take(self, most: int) -> list[tuple[int, Body]]:
        """At most `most` whole messages, each with its serial; none: there is no more."""
        room = self._room
        if room is None or self._at < 0 or room.missing or self._tail or self._data or len(self._parts) > 1:
            return super().take(most)
        # Nearly always: a large value ends its message, and nothing has come behind it.
        message = Apart(self._parts.pop(), self._at, room.take())
        self._room = None
        self._left = self._total = self.held = 0
        self._at = self._expect = -1
        self._need = 8
        return [(self._serial, message)]

    def skip(self, count: int) -> None:
        """So many bytes of whole messages were taken out of the `window`."""
        self._pos += count
        self._trim()

    def _parse(self, out: list[tuple[int, Body]], most: int) -> None:
        data, pos = self._data, self._pos
        size = len(data)
        unpack, largest = _ONE.unpack_from, self.largest
        self._need = 8
        while len(out) < most:
            if self._left:
                self._pos = pos
                if not self._more_buffers(out):
                    return
                pos = self._pos
                continue
            if size - pos >= 12:  # nearly always: one buffer, and all of it is here
                serial, count, length = unpack(data, pos)
                end = pos + 12 + length
                if count == 1 and end <= size and length <= largest:
                    out.append((serial, data[pos + 12 : end]))
                    pos = end
                    continue
                if count == 1 and length <= largest:
                    self._serial, self._left, self._total, self._expect = serial, 1, 0, length
                    pos += 12
                    self._wait_for(length, size - pos)
                    break
            if size - pos < 8:
                break
            self._pos = pos
            self._begin(*_HEAD.unpack_from(data, pos))
            pos += 8
        self._pos = pos

    def _begin(self, serial: int, count: int) -> None:
        if not 1 <= count <= self.buffers:
            raise RemoteWireError(f"a Netty frame of {count} buffers (limit message_buffers = {self.buffers})")
        self._serial, self._left, self._total = serial, count, 0

    def _more_buffers(self, out: list[tuple[int, Body]]) -> bool:
        """Reads on in a message; False where the bytes ended before it did."""
        while self._left:
            if self._expect < 0 and not self._word():
                return False
            if not self._buffer():
                return False
            self._left -= 1
        out.append((self._serial, self._joined()))
        self._need = 8
        return True

    def _set_apart(self, locate: Locate) -> int:
        length, start = self._expect, self._pos
        found = (
            locate(self._serial, self._data[start : start + ENOUGH]) if self._left == 1 and not self._parts else None
        )
        if found is None:
            return length
        at, size = found
        tail = length - at - size
        if size < LEAST or not 0 <= tail < size:
            return length
        self._parts.append(self._data[start : start + at])
        self._pos += at
        self._total, self._at, self._tail = at, at, tail
        return size

    def _room_is_full(self, full: Room) -> bool:
        if not super()._room_is_full(full):
            return False
        if self._tail:
            self._expect, self._tail = self._tail, 0
            return self._buffer()
        return True

    def _joined(self) -> Body:
        if self._at < 0:
            return super()._joined()
        head, part, *tail = self._parts
        message = Apart(b"".join((head, *tail)), self._at, part)
        self._parts.clear()
        self._total, self._at = 0, -1
        return message


def netty_frame(serial: int, *message: bytes) -> bytes:
    """One message in one buffer: n = 0 wedges Java's decoder, so an empty message is one empty buffer."""
    return b"".join((_ONE.pack(serial, 1, sum(map(len, message))), *message))
