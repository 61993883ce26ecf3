"""Messages out of bytes and bytes out of messages: spec framing and Netty framing.

```
spec    (i32 length, bytes)* 00000000          replies in the order of the requests
Netty   i32 serial | i32 n | n x (i32 length, bytes)
HTTP    one spec-framed message; what follows its terminator is ignored
```

A reader is fed whatever arrived and gives whole messages. It copies a byte a fixed number of times however
it arrives, and believes no length word: memory grows with what arrived. (Avro 1.12 specification, "Message
Framing"; Netty framing: avro-ipc-netty, NettyTransportCodec)
"""

from collections.abc import Callable
from struct import Struct
from typing import Final

from splnode.errors import RemoteWireError
from splnode.limits import Limits

_WORD: Final = Struct(">I")
_NETTY: Final = Struct(">III")
_NETTY_HEAD: Final = Struct(">II")
_SMALL: Final = 4096
"""Smaller chunks are gathered in one bytearray, so that a slow trickle costs no object a byte."""


class Reader:
    """What both framings share: the bytes that arrived and were not yet understood.

    `feed`, then `take` until it gives nothing. `held` is the number of bytes not taken; `idle` is True where
    no message has begun.
    """

    __slots__ = ("_broken", "_chunks", "_data", "_need", "_parts", "_pos", "_total", "buffers", "held", "largest")

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
        self._broken: RemoteWireError | None = None

    @property
    def idle(self) -> bool:
        """True where the stream may end without cutting a message."""
        return not self.held and not self._parts

    def feed(self, data: bytes) -> None:
        """Adds what arrived."""
        if not self.held:
            self._data = data
            self._pos = 0
        elif len(data) >= _SMALL:
            self._chunks.append(data)
        elif self._chunks and isinstance(self._chunks[-1], bytearray):
            self._chunks[-1] += data
        else:
            self._chunks.append(bytearray(data))
        self.held += len(data)

    def take(self, most: int) -> list[tuple[int, bytes]]:
        """At most `most` whole messages, each with its serial; none: there is no more.

        RemoteWireError: the framing is broken, raised once all messages before the fault were taken.
        """
        if self._broken is not None:
            raise self._broken
        if self.held < self._need:
            return []
        if self._chunks:
            self._data = b"".join((self._data[self._pos :], *self._chunks))
            self._pos = 0
            self._chunks.clear()
        out: list[tuple[int, bytes]] = []
        try:
            self._parse(out, most)
        except RemoteWireError as error:
            self._broken = error
            if not out:
                raise
        self.held = len(self._data) - self._pos
        if not self.held:
            self._data = b""
            self._pos = 0
        elif self._pos > _SMALL and self._pos > self.held:  # a short rest must not keep a long chunk alive
            self._data = self._data[self._pos :]
            self._pos = 0
        return out

    def rest(self) -> bytes:
        """Takes all bytes as they are."""
        data = b"".join((self._data[self._pos :], *self._chunks))
        self._chunks.clear()
        self._data = b""
        self._pos = self.held = 0
        return data

    def _parse(self, out: list[tuple[int, bytes]], most: int) -> None:
        """Moves `_pos` over all that is whole and sets `_need` to what the next step wants."""
        raise NotImplementedError

    def _too_large(self, length: int) -> RemoteWireError:
        return RemoteWireError(f"a message of at least {length} bytes (limit message_bytes = {self.largest})")


class NettyReader(Reader):
    """Netty framing. A serial is the peer's own number: echoed, never understood."""

    __slots__ = ("_left", "_serial")

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._left = 0
        self._serial = 0

    def _parse(self, out: list[tuple[int, bytes]], most: int) -> None:
        data, pos = self._data, self._pos
        size = len(data)
        unpack, largest = _NETTY.unpack_from, self.largest
        self._need = 8
        while len(out) < most:
            if self._left:
                self._pos = pos
                if not self._more_buffers(out):
                    return
                pos = self._pos
            elif size - pos < 12:
                if size - pos >= 8:
                    self._check(_NETTY_HEAD.unpack_from(data, pos)[1])
                    self._need = 12
                break
            else:
                serial, count, length = unpack(data, pos)
                if count == 1:
                    if length > largest:
                        self._pos = pos
                        raise self._too_large(length)
                    end = pos + 12 + length
                    if end > size:
                        self._need = 12 + length
                        break
                    out.append((serial, data[pos + 12 : end]))
                    pos = end
                else:
                    self._pos = pos
                    self._begin(serial, count)
                    pos += 8
        self._pos = pos

    def _check(self, count: int) -> None:
        if not 1 <= count <= self.buffers:
            raise RemoteWireError(f"a Netty frame of {count} buffers (limit message_buffers = {self.buffers})")

    def _begin(self, serial: int, count: int) -> None:
        self._check(count)
        self._serial, self._left, self._total = serial, count, 0

    def _more_buffers(self, out: list[tuple[int, bytes]]) -> bool:
        """Reads on in a message of several buffers; False where the bytes ended before it did."""
        data, pos = self._data, self._pos
        size = len(data)
        while self._left:
            self._need = 4
            if size - pos < 4:
                break
            (length,) = _WORD.unpack_from(data, pos)
            if self._total + length > self.largest:
                raise self._too_large(self._total + length)
            end = pos + 4 + length
            if end > size:
                self._need = 4 + length
                break
            if length:
                self._parts.append(data[pos + 4 : end])
                self._total += length
            pos = end
            self._left -= 1
        self._pos = pos
        if self._left:
            return False
        out.append((self._serial, b"".join(self._parts)))
        self._parts.clear()
        self._need = 8
        return True

    @property
    def idle(self) -> bool:
        """True where the stream may end without cutting a message."""
        return not self.held and not self._left


class SpecReader(Reader):
    """Spec framing. Serials count up from 0. Empty messages are skipped: they can hold no request and no response.

    They do occur: Java writes an empty parameter buffer as a terminator of its own, yaqd an empty response.
    `early`, where it is set, is asked after each buffer whether the message is complete as it stands
    (yaqc never terminates its handshake); the terminator, if it comes after all, is an empty message.
    """

    __slots__ = ("_serial", "early")

    _TRIES: Final = 16
    """Buffers after which `early` is asked no more: who sends three has no terminator, who sends 1,024 has."""

    def __init__(self, limits: Limits, early: Callable[[bytes], bool] | None = None) -> None:
        super().__init__(limits)
        self.early = early
        self._serial = 0

    def _parse(self, out: list[tuple[int, bytes]], most: int) -> None:
        data, pos, parts = self._data, self._pos, self._parts
        size = len(data)
        self._need = 4
        while len(out) < most and size - pos >= 4:
            (length,) = _WORD.unpack_from(data, pos)
            if not length:
                pos += 4
                if parts:
                    self._complete(out)
                continue
            self._pos = pos
            if self._total + length > self.largest:
                raise self._too_large(self._total + length)
            if len(parts) >= self.buffers:
                raise RemoteWireError(f"a message of more buffers than message_buffers = {self.buffers}")
            end = pos + 4 + length
            if end > size:
                self._need = 4 + length
                break
            parts.append(data[pos + 4 : end])
            self._total += length
            pos = end
            if self.early is not None and len(parts) <= self._TRIES and self.early(b"".join(parts)):
                self._complete(out)
        self._pos = pos

    def _complete(self, out: list[tuple[int, bytes]]) -> None:
        parts = self._parts
        out.append((self._serial, parts[0] if len(parts) == 1 else b"".join(parts)))
        self._serial += 1
        self._total = 0
        parts.clear()


def netty_frame(serial: int, message: bytes) -> bytes:
    """One message in one buffer: n = 0 wedges Java's decoder, so an empty message is one empty buffer."""
    return _NETTY.pack(serial, 1, len(message)) + message


def spec_frame(*buffers: bytes) -> bytes:
    """One message of these buffers, without the empty ones, and its terminator."""
    pack = _WORD.pack
    parts: list[bytes] = []
    for each in buffers:
        if each:
            parts += (pack(len(each)), each)
    parts.append(b"\0\0\0\0")
    return b"".join(parts)
