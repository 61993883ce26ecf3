"""What a session has to send, gathered: one write for each turn of the loop, or sooner where it grows large."""

import asyncio
import typing
from collections.abc import Sequence
from typing import Final

from splnode.net.mouth import make_outlet

HIGH_WATER: Final = 256 * 1024
"""Bytes that may wait for a peer to read them before no more of its calls are begun, or of ours encoded."""


class Source(typing.Protocol):
    """A session."""

    def data_to_send(self) -> Sequence[bytes]:
        """What is to be written now; each byte is given once."""
        ...


class Outbox:
    """Between a session and its transport. `open` gives it the transport, `close` takes it away.

    What goes to the `outlet` is sent at once, before what is gathered: for bytes whose order among the others is free.
    From `hold` on all is kept here, until `release`, and is gone at once with `close`: what a transport has it keeps
    until the end of the loop's turn, in which many may be closed.
    """

    __slots__ = (
        "_ending", "_flushing", "_gathers", "_held", "_kept", "_loop", "_parts", "_size", "_source", "_transport",
        "outlet",
    )  # fmt: skip

    def __init__(self, source: Source) -> None:
        self._source = source
        self._transport: asyncio.WriteTransport | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._flushing = False
        self._held = self._ending = False
        self._kept = 0  # bytes of `_size` that the outlet has counted
        self._gathers = False  # the transport writes several parts at once, and pauses its protocol after that
        self._loop = asyncio.get_running_loop()  # asked once: on Python 3.11 each time is a system call
        self.outlet = make_outlet()

    def open(self, transport: asyncio.WriteTransport) -> None:
        """From now on bytes go to `transport`, which tells its protocol when the peer reads too slowly."""
        self._transport = transport
        self._gathers = type(transport).__module__.startswith(("uvloop", "splnode"))
        self.outlet.write = transport.write
        transport.set_write_buffer_limits(high=HIGH_WATER)

    @property
    def written(self) -> int:
        """Bytes that the transport was given."""
        return self.outlet.written - self._kept

    @property
    def waiting(self) -> int:
        """Bytes that the transport has still to write, or will be given."""
        return self._size + (self._transport.get_write_buffer_size() if self._transport is not None else 0)

    def close(self) -> None:
        """What comes now is dropped, and what is kept."""
        self._transport = self.outlet.write = None
        self.outlet.written -= self._kept
        self._parts, self._size, self._kept = [], 0, 0

    def hold(self) -> None:
        """The peer does not read: from now on all is kept here."""
        if self._transport is not None and not self._ending:
            self._held = True
            self.outlet.write = self._keep

    def release(self) -> None:
        """It reads again: sends what was kept, after which it may be held again already."""
        if self._held:
            self._held = False
            if self._transport is not None:
                self.outlet.write = self._transport.write
            self._write()

    def finish(self) -> None:
        """Sends all there is, since the transport is about to be closed; nothing is kept any more."""
        self._ending = True
        self.release()
        self.flush()

    def collect(self) -> None:
        """Takes what the session has; it goes out with the rest of this turn of the loop, or now if it is much."""
        parts = self._source.data_to_send()
        if not parts or self._transport is None:
            return
        self._parts += parts
        for part in parts:
            self._size += len(part)
        if self._size >= HIGH_WATER:
            self._write()
        else:
            self.soon()

    def soon(self) -> None:
        """Sends all there is at the end of this turn of the loop."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._turn_ended)

    def flush(self) -> None:
        """Sends all there is, now."""
        parts = self._source.data_to_send()
        if self._transport is None:
            return
        if len(parts) == 1 and not self._parts:  # nearly always
            self.outlet(parts[0])
        elif parts or self._parts:
            self._parts += parts
            self._size += sum(map(len, parts))
            self._write()

    def write_parts(self, parts: list[bytes]) -> None:
        """Sends these bytes at once, behind what is gathered."""
        if self._transport is not None:
            self._parts += parts
            self._size += sum(map(len, parts))
            self._write()

    def _turn_ended(self) -> None:
        self._flushing = False
        self.flush()

    def _keep(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        self._kept += len(data)

    def _write(self) -> None:
        if self._parts and self._transport is not None and not self._held:
            parts, self._parts = self._parts, []
            self.outlet.written += self._size - self._kept
            self._size = self._kept = 0
            if self._gathers:
                self._transport.writelines(parts)
                return
            # asyncio's `writelines` joins them on 3.11, which is dear for large ones; on 3.12 and 3.13 it never pauses
            # its protocol. `write` of the last part does, and that one is the large one as a rule.
            last = parts.pop()
            if parts:
                self._transport.writelines(parts)
            self._transport.write(last)
