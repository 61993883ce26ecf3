"""The server's face of a session on one accepted connection.

What a peer speaks is found by the session from its first bytes; HTTP is handed over.
"""

import asyncio
import sys
import time
import typing
from collections.abc import Callable
from typing import Final

from splnode.endpoint import Endpoint
from splnode.errors import RemoteWireError
from splnode.net.host import Host
from splnode.net.http_server import HttpServerConnection
from splnode.net.ledger import SMALL
from splnode.net.mouth import make_mouth
from splnode.net.outbox import Outbox
from splnode.net.peer import acknowledge
from splnode.net.receiving import GLANCE, LOOK, shared_buffer
from splnode.net.turns import FEW, PIECE, QUICK
from splnode.net.watched import WatchedConnection
from splnode.rpc.call import Peer
from splnode.rpc.guard import Guard
from splnode.wire.events import Cancel, Errand, Event, Handover, Request
from splnode.wire.intake import SLICE, TURN, Intake
from splnode.wire.room import Room
from splnode.wire.server import ServerSession

FLOWING: Final = 16_384
"""Who sends so many bytes at a time does not wait until they are acknowledged."""


class ServerConnection(WatchedConnection, asyncio.BufferedProtocol):
    """One accepted connection: its session, and the calls it has running."""

    __slots__ = (
        "_direct", "_eof", "_flowing", "_full", "_greeted", "_guard", "_held", "_intake", "_mouth", "_outbox",
        "_parcel", "_piece", "_ripe", "_session", "_taking", "_turns", "buffer_updated", "get_buffer", "known",
    )  # fmt: skip

    # The mouth's own: for what is ordinary no Python stands between it and the loop.
    get_buffer: Callable[[int], memoryview]  # type: ignore[assignment]  # a loop calls it by position
    buffer_updated: Callable[[int], None]  # type: ignore[assignment]  # so it calls this

    def __init__(self, host: Host, endpoint: Endpoint) -> None:
        super().__init__(host, endpoint)
        self._session = ServerSession(
            host.directory,
            host.clients,
            framing=endpoint.framing,
            service=endpoint.service,
            limits=host.limits,
            cooperative=True,
            reached=host.reached.count,
        )
        self._outbox = Outbox(self._session)
        self.known: Peer | None = None  # who it is, where that shows by more than the connection
        self._guard: Guard | None = getattr(host.channel, "guard", None)
        if self._guard is not None:
            self._session.log_in_by(self._log_in)
        self._greeted = False
        self._full = False  # the session takes no more now: nothing is read
        self._held = False  # it has more than a little of what is no message yet
        self._eof = False
        self._mouth = make_mouth(shared_buffer(), self._space, self._came, self._left)
        self.get_buffer, self.buffer_updated = self._mouth.get_buffer, self._mouth.buffer_updated
        self._direct = False  # the session has a place for what comes next
        self._flowing = False  # much came at a time
        self._turns = self._mouth.turns = host.turns
        self._piece = sys.maxsize  # bytes of a large value that are read at a time
        self._parcel: Room | None = None  # what is here of a large request that the intake will run
        self._ripe = False  # all of it is here, and it waits for its turn
        self._taking = False  # what came is being given to handlers; some of it may be answered at once
        self._intake: Intake | None = None

    # --- asyncio.BufferedProtocol -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer has come; it has `handshake_seconds` for its first whole message."""
        super().connection_made(transport)
        self._outbox.open(typing.cast("asyncio.Transport", transport))  # uvloop's own is no subclass

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes received from the peer, and given to be sent to it."""
        return self._mouth.received, self._outbox.written

    def _space(self, _sizehint: int) -> memoryview:
        """Where the next bytes go that the session is to see."""
        if self._parcel is not None:
            return self._parcel.space()[: self._piece]
        space = self._session.space
        self._direct = space is not None
        return self._mouth.buffer if space is None else space[: self._piece]

    def _came(self, nbytes: int) -> None:
        """Bytes of the peer, in that space; or more than the intake may have while others send a little."""
        if self._mouth.feed is not None:
            self._feed_few(nbytes)
            return
        if nbytes >= GLANCE:
            if self._turns.polite(self._mouth):
                self._piece = PIECE
                self._session.turn = 0  # it was a turn to read, and others are to run what came
                self._breathe()
            else:
                self._piece = sys.maxsize
                self._session.turn, self._session.slice = TURN, SLICE
        if self._parcel is not None:
            self._parcel.add(nbytes)
            self._more(self._parcel)
            return
        self._flowing = nbytes >= FLOWING
        if not self._direct:
            self.data_received(self._mouth.buffer[:nbytes].tobytes())
            return
        self._session.received(nbytes)
        if self._greeted:
            self._mouth.buffer = shared_buffer(GLANCE)
        self.data_received(b"")

    def _feed_few(self, nbytes: int) -> None:
        """As the mouth does it, but for a polite turn; the rest waits for the next one, and so does what comes."""
        mouth, intake = self._mouth, self._intake
        assert mouth.feed is not None  # it was asked
        assert intake is not None  # whose feed it is
        self._taking = True
        intake.turn, intake.slice = FEW, QUICK
        try:
            taken = mouth.feed(mouth.buffer, nbytes) if nbytes < GLANCE and not self._turns.over() else 0
        finally:
            intake.turn, intake.slice, self._taking = TURN, SLICE, False
        if taken < nbytes:
            self._session.turn = 0
            self._left(taken, nbytes)
        else:
            self._outbox.collect()
        self._breathe()

    def _left(self, taken: int, nbytes: int) -> None:
        """The intake has taken some of what came, and answered that; the rest is not ordinary, or for the next turn."""
        buffer = self._mouth.buffer
        self._parcel = self._intake.begin_large(buffer, taken, nbytes) if self._intake is not None else None
        if self._parcel is not None:
            self._mouth.feed = None
            self._mouth.buffer = shared_buffer(GLANCE)
            return
        self._flowing = nbytes >= FLOWING
        self.data_received(buffer[taken:nbytes].tobytes())
        if nbytes == GLANCE and self._session.unread < GLANCE // 2 and not self._turns.polite(self._mouth):
            self._mouth.buffer = shared_buffer(LOOK)  # many small ones, and there may be more

    def _more(self, parcel: Room) -> None:
        """A large request has grown: it is run if it is whole."""
        if parcel.missing:
            if parcel.filled > SMALL:
                self._held = True
                self._host.unread.hold(self, parcel.filled)
            return
        if self._piece == PIECE and not self._ripe:  # it was a turn to receive it, and is one to answer it
            self._ripe = True
            self._breathe()
            return
        self._ripe = False
        self._parcel = None
        self._taking = True
        try:
            done = self._intake is not None and self._intake.run_large(parcel)
        finally:
            self._taking = False
        if not done:
            self._give_up(parcel)
            return
        if isinstance(done, list):
            self._outbox.write_parts(done)
        self._took([])

    def _give_up(self, parcel: Room) -> None:
        """The session has it instead, as far as it has come."""
        self._parcel = None
        self.data_received(parcel.frame())

    def data_received(self, data: bytes) -> None:
        """Bytes of the peer, and what the session has of them already."""
        self._taking = True
        try:
            events = self._session.receive_data(data)
        except RemoteWireError as error:
            self._taking = False
            self._refuse(str(error))
            return
        self._took(events)

    def _took(self, events: list[Event]) -> None:
        session = self._session
        self._taking = True
        for event in events:
            if self._closing:
                break  # nobody waits for what is behind
            self._take(event)
        self._taking = False
        if session.failed is not None:
            self._refuse(str(session.failed))
            return
        if not self._greeted and session.established:
            self._greeted = True
            self._mouth.buffer = shared_buffer(LOOK)
            self._host.greeted(self)
        self._outbox.collect()
        if not events and session.unread and not self._flowing and self._transport is not None:
            acknowledge(self._transport)
        if session.full or session.pending:
            if limit := session.brims:
                self._host.reached.counts[limit] += 1
            self._wait()
        if session.unread > SMALL or self._held:
            self._held = session.unread > SMALL
            self._host.unread.hold(self, session.unread)
        clear = session.clear and not (self._full or self._stalled or self._closing or self._parcel is not None)
        self._mouth.feed = self._intake.feed if clear and self._intake is not None else None

    def _wait(self) -> None:
        """The session takes no more now: until it is given its next turn, or an answer, or an errand is done."""
        self._full = True
        if self._transport is not None:
            self._transport.pause_reading()
        if self._session.pending and self._next is None and not self._stalled:
            polite, self._mouth.light = self._turns.polite(self._mouth), 0
            self._session.turn, self._session.slice = (FEW, QUICK) if polite else (TURN, SLICE)
            self._next = self._turns.soon(self._go_on)

    def _breathe(self) -> None:
        """Reads on when it is its turn, since others send a little."""
        if self._next is None and self._transport is not None and not self._closing:
            self._transport.pause_reading()
            self._next = self._turns.soon(self._breathed)

    def _breathed(self) -> None:
        if self._full:  # meanwhile there is more to take of what is inside
            self._go_on()
            return
        self._next = None
        if self._ripe and self._parcel is not None:
            self._breathe()
            self._more(self._parcel)
        else:
            self._mouth.buffer = shared_buffer(GLANCE)
            self._read_on()

    def eof_received(self) -> bool:
        """The peer will send no more, but may still read: what runs is answered first. A splnode has gone."""
        if self._session.cancels:
            asyncio.get_running_loop().call_soon(self.close)  # what came a moment before begins first
            return True
        self._eof = True
        if self._parcel is not None:
            self._give_up(self._parcel)
        try:
            events = self._session.receive_eof()
        except RemoteWireError as error:
            self._host.tell("connection cut short", self._peer(), str(error))
            self._outbox.collect()
        else:
            self._took(events)
        self._close_if_done()
        return True

    def _close_if_done(self) -> None:
        """After the last answer to a peer that will ask no more."""
        if self._eof and not self._full and (self._serving is None or not self._serving.running):
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer is gone: what runs for it is cancelled."""
        self._mouth.close()
        super().connection_lost(exc)
        self._let_go()

    def pause_writing(self) -> None:
        """The peer reads too slowly: its calls wait, and its bytes stay in the socket."""
        self._mouth.feed = None
        self._outbox.hold()
        super().pause_writing()
        if self._serving is not None:
            self._serving.hold()

    def resume_writing(self) -> None:
        """It reads again."""
        self._stalled = False
        self._outbox.release()
        if self._stalled:
            return  # what was kept is too much for it again
        self._host.unsent.release(self)
        if self._closing:
            return
        if self._greeted:
            self._host.patience.discard(self)
        else:
            self._host.patience.add(self, time.monotonic() + self._host.limits.handshake_seconds)
        if self._serving is not None:
            self._serving.brims = False
            self._serving.release()
        if self._session.pending:
            self._go_on()
        else:
            self._read_on()

    # --- the rest -----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Cancels what runs, sends what is written, closes."""
        self._mouth.feed = None
        self._drop()
        self._outbox.finish()
        super().close()

    def _peer(self) -> Peer:
        return self.known or super()._peer()

    def _let_go(self) -> None:
        self._closing = True  # what has come is not looked at any more
        self._parcel = None
        self._mouth.feed = None
        self._session.drop()
        self._outbox.close()

    def _log_in(self, name: str, token: str) -> None:
        assert self._guard is not None  # else nobody logs in
        self.known = self._guard.login(super()._peer(), name, token)

    def _written(self) -> int:
        return self._outbox.written

    def _unsent(self) -> int:
        return self._outbox.waiting

    def _take(self, event: Event) -> None:
        if type(event) is Request:
            if self._serving is None:
                self._serving = self._host.serving(self._session, self._peer(), self._answered, self.address)
                if self._stalled:
                    self._serving.hold()
                if self._session.framing == "netty":
                    self._intake = self._serving.intake(self._host.limits, self._host.stages)
                if self._intake is not None:
                    self._intake.outlet = self._outbox.outlet
                    self._session.run_by(self._intake)
            self._serving.start(event)
        elif type(event) is Cancel:
            if self._serving is not None:
                self._serving.cancel(event.serial)
        elif type(event) is Errand:
            self._errand = self._host.errands.run(event, self._errand_done)
        elif type(event) is Handover:
            self._hand_over(event)

    def _hand_over(self, event: Handover) -> None:
        if event.framing != "http" or self._transport is None:
            self._refuse("it speaks TLS, and this port does not: give the node a certificate, or call it by tcp://")
            return
        self._mouth.received = 0  # its successor counts them, and is the same peer
        self._host.accepted -= 1
        self._host.leaves(self)
        self._outbox.close()
        successor = self._successor()
        transport, self._transport = self._transport, None
        transport.pause_reading()
        transport.set_protocol(successor)
        transport.resume_reading()  # as it is done for the successor, which has no buffers
        successor.connection_made(transport)
        successor.data_received(event.data)

    def _successor(self) -> HttpServerConnection:
        return HttpServerConnection(self._host, self._endpoint)

    def _answered(self) -> None:
        """An answer lies in the session, and there may be room for what waits inside of it."""
        if self._taking:
            return  # there may be more calls to take; what comes behind them does the rest
        if self._mouth.busy:
            self._outbox.collect()
        elif self._full and self._next is None and not self._session.pending:  # what is pending has its own turn
            self._go_on()
        else:
            self._outbox.collect()
            self._close_if_done()
        if self._stalled and self._serving is not None:
            waiting = self._outbox.waiting
            self._serving.brims = waiting > self._host.limits.connection_bytes
            self._host.unsent.hold(self, waiting)

    def _errand_done(self, well: bool) -> None:
        self._errand = None
        if well:
            self._go_on()
        else:
            self._refuse("what it sent could not be read")

    def _go_on(self) -> None:
        """The session may take more of what is inside of it."""
        self._next = None
        if self._closing or self._transport is None:
            return
        self._full = False
        if not self._session.turn:
            self._session.turn, self._session.slice = FEW, QUICK
        self.data_received(b"")
        if not self._full and not self._stalled and not self._closing:
            if self._session.turn == FEW and self._turns.polite(self._mouth):
                self._breathe()
            else:
                self._read_on()
        self._close_if_done()

    def _read_on(self) -> None:
        if self._transport is not None and not (self._full or self._stalled or self._waits or self._closing):
            self._transport.resume_reading()

    def _refuse(self, reason: str) -> None:
        self._host.tell("connection refused", self._peer(), reason)
        self._host.reached.named(reason)
        self.close()
