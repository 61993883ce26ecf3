"""What is the same for every accepted connection, whatever it speaks: its host looks after it, and ends it.

A peer that does not read is held: nothing more is run or read for it, and it has STALLED seconds to take SLOWEST
bytes. So it is when this end has closed and something is still to be sent. One that is in the midst of a large message
waits where others are, and there is no room for all (`net.ledger`).
"""

import asyncio
import time
import typing
from typing import ClassVar

from splnode.endpoint import Endpoint
from splnode.net.host import SLOWEST, STALLED, Host
from splnode.net.peer import peer_of, unread
from splnode.net.places import whence
from splnode.net.serving import Serving
from splnode.net.turns import Turn
from splnode.rpc.call import Peer


class WatchedConnection(asyncio.BaseProtocol):
    """One accepted connection. Subclasses read, and say what was written and what waits to be."""

    __slots__ = (
        "_closing", "_endpoint", "_errand", "_host", "_next", "_read", "_received", "_serving", "_spared",
        "_stalled", "_transport", "_waits", "address",
    )  # fmt: skip

    OWED: ClassVar[str] = "sent no whole message in time"
    """What is said of a peer that did not do in time what it had to."""

    def __init__(self, host: Host, endpoint: Endpoint) -> None:
        self._host = host
        self._endpoint = endpoint
        self.address = ""  # whence it comes (net/places.py)
        self._transport: asyncio.Transport | None = None
        self._serving: Serving | None = None
        self._errand: asyncio.Future[None] | None = None
        self._next: asyncio.Handle | Turn | None = None  # the next turn
        self._stalled = False  # the peer reads too slowly
        self._waits = False  # for room: others are in the midst of their messages
        self._closing = False
        self._spared = False  # once it had more time, since this end is slow
        self._received = 0  # bytes of the peer; subclasses add what comes
        self._read = 0  # bytes that the peer had read when it was last looked after

    # --- asyncio.Protocol ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer has come; it has `handshake_seconds` for its first whole message."""
        self._transport = typing.cast("asyncio.Transport", transport)  # uvloop's own is no subclass
        self.address = whence(transport)
        self._host.joins(self, self._host.limits.handshake_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer is gone: what runs for it is cancelled."""
        self._transport = None
        self._host.leaves(self)
        self._drop()

    def pause_writing(self) -> None:
        """The peer reads too slowly: its calls wait, and its bytes stay in the socket."""
        self._stalled = True
        self._look_again()
        self._host.unsent.hold(self, self._unsent())
        if self._transport is not None:
            self._transport.pause_reading()

    # --- the rest -----------------------------------------------------------------------------------------

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes received from the peer, and given to be sent to it."""
        return self._received, self._written()

    @property
    def busy(self) -> bool:
        """Whether a call runs for it."""
        return self._errand is not None or (self._serving is not None and self._serving.running > 0)

    def close(self) -> None:
        """Cancels what runs, sends what is written, closes."""
        self._drop()
        if self._transport is not None and not self._closing:
            self._closing = True
            self._look_again()
            self._transport.close()

    def abort(self) -> None:
        """Cancels what runs and closes now."""
        if self._transport is not None:
            self._transport.abort()

    def out_of_patience(self) -> None:
        """It never sent what it had to, or has stopped reading: it goes."""
        before = self._read
        here = self._next is not None or self._waits or self._is_read_aside()  # this end has its bytes, and takes turns
        if here and not (self._stalled or self._closing):
            self._host.patience.add(self, time.monotonic() + STALLED)
            return
        if self._stalled or self._closing:
            self._look_again()
            if self._read - before >= SLOWEST:
                return
        if not self._closing:
            what = "did not read what waits for it" if self._stalled else self.OWED
            if self._host.greets(self):
                what += f" (limit handshake_seconds = {self._host.limits.handshake_seconds:g})"
                self._host.reached.counts["handshake_seconds"] += 1
            self._host.tell("connection dropped", self._peer(), what)
        self.abort()

    def _is_read_aside(self) -> bool:
        """Whether what it has sent is being read, and it was not spared for that before: others may be in front."""
        spared, self._spared = self._spared, self._errand is not None
        return self._spared and not spared

    def too_much(self, what: str) -> None:
        """All peers together hold too much, and this one the longest: it goes."""
        fix = "raise limits.held_bytes, or find out who sends or reads so slowly"
        self._host.tell("connection dropped", self._peer(), f"{what}: all of them are over held_bytes", fix=fix)
        self._host.reached.counts["held_bytes"] += 1
        self.abort()
        self._let_go()

    def wait_for_room(self, waits: bool) -> None:
        """All peers together hold much: no more is read of this one, until this is called again."""
        self._waits = waits
        if waits:
            self._host.reached(
                "held_bytes",
                "peers wait with large messages: others have not ended theirs, or not read their answers",
                fix="raise limits.held_bytes where this is honest and there is memory",
            )
            if self._transport is not None:
                self._transport.pause_reading()
        else:
            self._read_on()

    def _pay(self, nbytes: int) -> float:
        """So many bytes have come. The seconds for which no more are to be read."""
        meter = self._host.rates.of(self._peer(), self.address)
        return meter.came(nbytes) if meter is not None else 0.0

    def _read_on(self) -> None:
        """Reads again, if nothing is against it."""
        raise NotImplementedError

    def _written(self) -> int:
        """Bytes that the transport was given."""
        raise NotImplementedError

    def _unsent(self) -> int:
        """Bytes that wait for the peer to read."""
        raise NotImplementedError

    def _let_go(self) -> None:
        """Gives the memory of what has come back at once: before others are read, not when garbage is collected."""

    def _look_again(self) -> None:
        """Remembers how much the peer has read, and looks again in a while."""
        self._read = self._written() - (unread(self._transport) if self._transport is not None else 0)
        self._host.patience.add(self, time.monotonic() + STALLED)

    def _drop(self) -> None:
        """Nobody waits any more for what runs and for what is being read."""
        if self._serving is not None:
            self._serving.close()
        if self._errand is not None:
            self._errand.cancel()
        if self._next is not None:
            self._next.cancel()

    def _peer(self) -> Peer:
        return peer_of(self._transport) if self._transport is not None else Peer("a peer that has gone")
