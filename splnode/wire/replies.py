"""Replies, in bytes and on their way out: Netty's as they come, others in the order of the requests."""

from collections.abc import Mapping
from struct import Struct
from typing import Final

from splnode.errors import CallError, DeclaredError, LimitExceeded
from splnode.limits import DEFAULT_LIMITS, Limits
from splnode.wire.events import Request
from splnode.wire.failure import failure_metadata
from splnode.wire.framing import LARGE
from splnode.wire.metadata import metadata_codec
from splnode.wire.netty import netty_frame
from splnode.wire.primitive import NO_METADATA, write_string
from splnode.wire.spec import spec_frame

_SUCCESS: Final = Struct(">III2x")
"""Serial, one buffer, its length; then no metadata and the flag of a success."""
LONGEST_TEXT: Final = 16_384
"""Characters of a system error; the rest is cut off, since an error must get through."""


class Replies:
    """`out` is what is to be written. Where there are no serials a reply waits in `ready` for all before it."""

    __slots__ = ("_due", "_largest", "_longest", "_metadata", "netty", "out", "ready")

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self.netty = False
        self.out: list[bytes] = []
        self.ready: dict[int, bytes] = {}
        self._due = 0  # the serial that is to be answered next
        self._largest = limits.message_bytes
        self._longest = min(LONGEST_TEXT, limits.message_bytes // 8)
        self._metadata = metadata_codec(limits)

    def value(self, request: Request, value: object, metadata: Mapping[str, bytes]) -> None:
        """Queues a response. DataError (it does not fit, or is too large): nothing was queued."""
        payload = request.call.encode_parts(value)
        if metadata or request.prefix or not self.netty:
            joined = payload if isinstance(payload, bytes) else b"".join(payload)
            self._reply(request, b"\0", joined, metadata)
            return
        length = 2 + (len(payload) if isinstance(payload, bytes) else sum(map(len, payload)))
        if length > self._largest:
            raise self._too_large(length)
        head = _SUCCESS.pack(request.serial, 1, length)
        if not isinstance(payload, bytes):
            self.out += (head + payload[0], *payload[1:])
        elif length < LARGE:
            self.out.append(head + payload)
        else:
            self.out += (head, payload)

    def error(self, request: Request, error: CallError | DeclaredError, metadata: Mapping[str, bytes]) -> None:
        """Queues an error. DataError (not declared, fields that do not fit): nothing was queued."""
        if isinstance(error, DeclaredError):
            body = request.call.contract.error_writer(request.call.message).encode(error)
            self._reply(request, b"\x01", body, metadata)
        else:
            self._reply(request, b"\x01", self._system_error(error), {**metadata, **failure_metadata(error)})

    def refuse(self, serial: int, prefix: bytes, error: CallError) -> None:
        """Queues the answer to a call that was never a Request."""
        self.send(serial, prefix, self._metadata.write(failure_metadata(error)), b"\x01", self._system_error(error))

    def pong(self, serial: int, prefix: bytes, metadata: Mapping[str, bytes] = NO_METADATA) -> None:
        """Queues the answer to a ping, or to a handshake without a call."""
        self.send(serial, prefix, self._metadata.write(metadata), b"\0", b"")

    def send(self, serial: int, prefix: bytes, metadata: bytes, flag: bytes, body: bytes) -> None:
        """Queues the reply to the request `serial`; `prefix` is its handshake, or empty."""
        if self.netty:
            self.out.append(netty_frame(serial, prefix, metadata, flag, body))
        else:
            self._in_order(serial, spec_frame(prefix, metadata, flag, body))

    def skip(self, serial: int) -> None:
        """The request `serial` gets no reply: those behind it do not wait for one."""
        if not self.netty:
            self._in_order(serial, b"")

    def take(self) -> list[bytes]:
        """What is to be written now; each byte is given once."""
        out = self.out
        if out:
            self.out = []
        return out

    def _reply(self, request: Request, flag: bytes, body: bytes, metadata: Mapping[str, bytes]) -> None:
        written = self._metadata.write(metadata)
        length = len(request.prefix) + len(written) + 1 + len(body)
        if length > self._largest:
            raise self._too_large(length)
        self.send(request.serial, request.prefix, written, flag, body)

    def _in_order(self, serial: int, frame: bytes) -> None:
        if serial != self._due:
            self.ready[serial] = frame
            return
        waiting: bytes | None = frame
        while waiting is not None:
            if waiting:
                self.out.append(waiting)
            self._due += 1
            waiting = self.ready.pop(self._due, None)

    def _system_error(self, error: CallError) -> bytes:
        return b"\0" + write_string(error.message[: self._longest])

    def _too_large(self, length: int) -> LimitExceeded:
        return LimitExceeded("message_bytes", self._largest, f"a response of {length} bytes")
