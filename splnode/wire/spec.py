"""The specification's own framing: buffers and a terminator, and replies in the order of the requests.

```
(i32 length, bytes)* 00000000
```

Over HTTP it is one message, and what follows its terminator is ignored. (Avro 1.12 specification, "Message Framing")
"""

from collections.abc import Callable
from struct import Struct
from typing import Final

from splnode.errors import RemoteWireError
from splnode.limits import Limits
from splnode.wire.framing import Body, Reader

_LENGTH: Final = Struct(">I")


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

    @property
    def idle(self) -> bool:
        """True where the stream may end without cutting a message."""
        return not self.held and not self._parts and self._expect < 0

    def _parse(self, out: list[tuple[int, Body]], most: int) -> None:
        parts = self._parts
        self._need = 4
        while len(out) < most:
            if self._expect < 0:
                if not self._word():
                    return
                if not self._expect:
                    self._expect = -1
                    if parts:
                        self._complete(out)
                    continue
                if len(parts) >= self.buffers:
                    raise RemoteWireError(f"a message of more buffers than message_buffers = {self.buffers}")
            if not self._buffer():
                return
            if self.early is not None and len(parts) <= self._TRIES and self.early(b"".join(parts)):
                self._complete(out)

    def _complete(self, out: list[tuple[int, Body]]) -> None:
        out.append((self._serial, self._joined()))
        self._serial += 1
        self._need = 4


def spec_frame(*buffers: bytes) -> bytes:
    """One message of these buffers, without the empty ones, and its terminator."""
    pack = _LENGTH.pack
    parts: list[bytes] = []
    for each in buffers:
        if each:
            parts += (pack(len(each)), each)
    parts.append(b"\0\0\0\0")
    return b"".join(parts)
