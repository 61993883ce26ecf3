"""The client's face of a session on a socket: calls in, answers out.

On an established Netty connection each call goes through the session's pipeline, most of them without any Python
between their caller and the bytes. What stands here is the rest: room, failures, silence, and the framings where
answers come in order.

One of the two places that translate: bytes, OSError, EOF and silence become CallErrors here. The other is
`rpc/server.py`.
"""

import asyncio
import sys
import time
import typing
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextvars import Context
from typing import Any, Final

from splnode.avro.protocol import Protocol
from splnode.config import ChannelsConfig
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code, LocalWireError, RemoteWireError
from splnode.net.keepalive import Keepalive
from splnode.net.line import Line
from splnode.net.mouth import make_mouth
from splnode.net.outbox import HIGH_WATER, Outbox
from splnode.net.pending import Pending
from splnode.net.reasons import said_tls
from splnode.net.receiving import GLANCE, LOOK, shared_buffer
from splnode.net.tls_reasons import REFUSED, is_tls
from splnode.rpc.call import TIMEOUT_KEY, Call, no_answer
from splnode.rpc.expiry import Alarm
from splnode.wire.client import ClientSession
from splnode.wire.events import Event, Ready, Response
from splnode.wire.holder import Holder
from splnode.wire.message import ClientCall, Contract
from splnode.wire.room import Room
from splnode.wire.track import Track, make_track

LINGER: Final = 2.0
"""Seconds for what is written to leave when this end closes; after them the connection is cut."""

_current_task: Callable[[Any], object] = asyncio.current_task
if sys.version_info < (3, 12):  # there it is written in Python, and it is asked for each chunk that comes
    _current_task = asyncio.tasks._current_tasks.get  # type: ignore[attr-defined]  # asyncio's own


class ClientConnection(asyncio.BufferedProtocol):
    """A Channel over one established connection; `channel.EndpointChannel` opens and replaces it.

    `lost` is called once with the reason when the connection has gone. Calls in flight then fail with
    UNAVAILABLE: they may have run. Those that still wait in line for room were not started.
    """

    def __init__(
        self, session: ClientSession, endpoint: Endpoint, settings: ChannelsConfig, lost: Callable[[str], None]
    ) -> None:
        self._session = session
        self._endpoint = endpoint
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._pending = Pending(self._forget)
        self._transport: asyncio.Transport | None = None
        self._outbox = Outbox(session)
        self._pipeline = session.pipeline
        self._alarm = Alarm(self._pipeline.expire, lambda: self._pipeline.armed, lambda: self._pipeline.waiting)
        self._track = make_track()
        self._secure = False
        self._paused = False  # the peer reads too slowly
        self._line = Line(self._room, self._changed)  # calls that wait until there is room
        self._mouth = make_mouth(shared_buffer(LOOK), self._space, self._came, self._left)
        self.get_buffer = self._mouth.get_buffer  # type: ignore[method-assign]  # no Python where all is ordinary
        self.buffer_updated = self._mouth.buffer_updated  # type: ignore[method-assign]  # as above
        self._direct = False  # the session has a place for what comes next
        self._parcel: Room | None = None  # what is here of a large answer that the pipeline will give
        self._gone = asyncio.Event()
        self._failure = ""
        self._keepalive = Keepalive(settings)
        self._looking: asyncio.TimerHandle | None = None
        self.in_order = session.framing != "netty"  # answers come in the order of the calls
        self._pipeline.hold(self._holder())
        self._track.lines = (self._pipeline,)

    @property
    def _refusal(self) -> str:
        """What it means that the peer ends the connection now, where it says so by that alone."""
        return REFUSED if self._secure and not self._ready.done() else ""

    @property
    def is_open(self) -> bool:
        """True while calls can be sent."""
        return not self._failure and self._transport is not None

    @property
    def server(self) -> Protocol | None:
        """The protocol that the server has shown in the handshake; None before that."""
        return self._session.server

    @property
    def in_flight(self) -> int:
        """Calls that wait for their answer."""
        return len(self._pending) + self._pipeline.waiting

    def track(self, contract: Contract) -> Track | None:
        """Where clients of this contract may put their calls."""
        return self._track if contract is self._session.contract else None

    async def ready(self) -> None:
        """Returns once the handshake is done; raises the CallError that ended it. The caller sets the deadline."""
        await asyncio.shield(self._ready)

    def call(self, call: Call) -> Coroutine[Any, Any, object]:
        """Sends the call and waits for its answer, until its deadline at the latest. Cancelling is safe."""
        return self._pipeline.call(call)

    async def ping(self, timeout: float, metadata: Mapping[str, bytes] | None = None) -> Mapping[str, bytes]:
        """Asks the peer whether it is there, and what `metadata` asks for; the metadata of its answer.

        CallError: DEADLINE_EXCEEDED if there is none within `timeout` seconds, UNAVAILABLE if the connection goes.
        Not for framings without serials: behind a long call the answer would say nothing. Cancelling is safe.
        """
        if self.in_order:
            raise LocalWireError(f"{self._session.framing} framing answers in order: a ping there says nothing")
        if self._failure:
            raise CallError(Code.UNAVAILABLE, f"{self._endpoint}: {self._failure}", started=False)
        serial = self._session.ping(metadata)
        answer = self._pending.ping(serial)
        self._outbox.flush()
        try:
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            text = f"{self._endpoint}: no answer to a ping within {timeout:g} s"
            raise CallError(Code.DEADLINE_EXCEEDED, text) from None
        finally:
            self._pending.unping(serial)

    async def close(self) -> None:
        """Sends what is queued and closes; calls in flight fail. The socket is closed on return, LINGER at most."""
        self._outbox.flush()
        if self._transport is not None:
            self._transport.close()
        self._fail("closed by this end")
        try:
            if self._transport is not None:
                async with asyncio.timeout(LINGER):
                    await self._gone.wait()
        except TimeoutError:
            pass
        finally:
            self.abort()

    def abort(self, reason: str = "closed by this end") -> None:
        """Closes now: what is queued is dropped, calls in flight fail with that reason."""
        self._end(reason)

    # --- asyncio.BufferedProtocol -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open: the handshake begins."""
        self._transport = typing.cast("asyncio.Transport", transport)  # uvloop's own is no subclass
        self._secure = transport.get_extra_info("ssl_object") is not None
        self._outbox.open(self._transport)
        self._pipeline.outlet = self._outbox.outlet
        self._mouth.heard = self._loop.time()
        self._session.start()
        self._outbox.flush()
        self._watch()

    def _space(self, _sizehint: int) -> memoryview:
        """Where the next bytes go that the session is to see."""
        if self._parcel is not None:
            return self._parcel.space()
        space = self._session.space
        self._direct = space is not None
        return self._mouth.buffer if space is None else space

    def _came(self, nbytes: int) -> None:
        """Bytes of the peer, in that space."""
        if self._parcel is not None:
            self._parcel.add(nbytes)
            if not self._parcel.missing:
                self._whole(self._parcel)
        elif self._direct:
            self._session.received(nbytes)
            self._mouth.buffer = shared_buffer(GLANCE)
            self.data_received(b"")
        else:
            self._left(0, nbytes)

    def _left(self, taken: int, nbytes: int) -> None:
        """The pipeline has taken some of what came; the rest begins with something else."""
        mouth, session = self._mouth, self._session
        buffer = mouth.buffer
        if session.between and (parcel := self._pipeline.begin_large(buffer, taken, nbytes)) is not None:
            self._parcel = parcel
            mouth.feed, mouth.buffer = None, shared_buffer(GLANCE)
            if taken:
                self._freed()
            return
        self.data_received(buffer[taken:nbytes].tobytes())
        if nbytes == GLANCE and self._parcel is None and session.space is None:
            mouth.buffer = shared_buffer(LOOK)  # many small ones, and there may be more

    def _whole(self, parcel: Room) -> None:
        """All of a large answer is here."""
        self._parcel = None
        if self._pipeline.answer_large(parcel):
            self._mouth.feed = self._pipeline.feed
            self._freed()
        else:
            self.data_received(parcel.frame())

    def _freed(self) -> None:
        """Answers have come: what is to be sent goes out, and there may be room for those in line."""
        self._outbox.flush()
        if self._line.waiting:
            self._line.go_on()

    def data_received(self, data: bytes) -> None:
        """Bytes of the peer, and what the session has of them already."""
        session = self._session
        try:
            events = session.receive_data(data)
        except RemoteWireError as error:
            self._end(str(error))
            return
        if events:
            for event in events:
                self._take(event)
        self._outbox.flush()
        if not session.between:
            self._look_after()
        self._mouth.feed = self._pipeline.feed if session.between and self._parcel is None else None
        if self._line.waiting:
            self._line.go_on()

    def _look_after(self) -> None:
        """What else may have come of the peer's bytes, where those were not only answers."""
        session = self._session
        if session.failed is not None:
            self._end(str(session.failed))
        elif session.refusal is not None and not self._ready.done():
            self._ready.set_exception(session.refusal)
            self._ready.exception()  # it is nobody's fault if nobody waits for it

    def eof_received(self) -> bool:
        """The peer will send no more: nothing that is still due can come."""
        parcel, self._parcel = self._parcel, None
        try:
            if parcel is not None:
                self._session.receive_data(parcel.frame())
            for event in self._session.receive_eof():
                self._take(event)
        except RemoteWireError as error:
            self._end(str(error))
        else:
            self._end(self._refusal or "the peer closed the connection")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self._transport = self._parcel = None
        self._mouth.close()
        self._gone.set()
        reason = "connection lost" if exc is None else f"connection lost: {said_tls(exc)}"
        self._fail(reason if is_tls(exc) else self._refusal or reason)

    def pause_writing(self) -> None:
        """The peer reads too slowly: new calls wait here, within their deadlines."""
        self._paused = True
        self._changed()

    def resume_writing(self) -> None:
        """It reads again."""
        self._paused = False
        self._line.go_on()

    # --- calls --------------------------------------------------------------------------------------------

    def _holder(self) -> Holder:
        """What the pipeline is to know of this connection."""
        done = self._loop.create_future()
        done.set_result(None)
        return Holder(
            loop=self._loop,
            call_soon=self._loop.call_soon,
            clock=time.monotonic,
            current_task=_current_task,
            task=asyncio.Task,
            done=done,
            cancelled=asyncio.CancelledError,
            raised=_raise,
            high_water=HIGH_WATER,
            general=self._general,
            head=self._head,
            arm=self._alarm.at,
            soon=self._outbox.soon,
            flush=self._outbox.flush,
            freed=self._freed,
            session=self._session,
            forget=self._forget,
            expired=self._expired,
            refusal=self._session.too_large,
        )

    async def _general(self, call: Call) -> object:
        """A call that may have to wait for room, or that no pipeline carries."""
        line = self._line
        turn = await self._in_turn(call) if self._paused or line.busy or self._session.full else False
        try:
            if self._failure:
                raise CallError(Code.UNAVAILABLE, f"{self._endpoint}: {self._failure}", started=False)
            left = int(call.remaining * 1000)
            if left <= 0:
                raise call.expired(started=False)
            answer = self._pipeline.put(call) if self._session.pipelined else self._send(call, left)
        finally:
            if turn:
                line.done()
            elif line.waiting:
                line.go_on()
        return await answer

    def _send(self, call: Call, left: int) -> Awaitable[object]:
        """Sends it now, to be answered by an event; what comes back gives the answer."""
        timeout = {TIMEOUT_KEY: b"%d" % left}
        metadata = {**call.metadata, **timeout} if call.metadata else timeout
        serial = self._session.call(call.message.name, call.params, metadata)
        self._outbox.collect()
        # A call of another contract than this connection's may be wrong about what is one-way.
        sure = call.contract is self._session.contract and not call.message.one_way
        if sure or self._session.expects_reply(serial):
            return self._pending.call(serial, call)
        done = self._loop.create_future()
        done.set_result(None)
        return done

    async def _in_turn(self, call: Call) -> bool:
        """Waits until the peer reads again and has answered enough of the earlier calls. True: with a turn in line."""
        turn = False
        while not self._failure and (not turn or self._paused or self._session.full):
            if turn:  # another was quicker
                self._line.called -= 1
            try:
                await self._line.turn(call.remaining, first=not turn)
            except TimeoutError:
                text = f"{call.name}: not sent before the deadline: {self._endpoint} has no room for it"
                raise CallError(Code.DEADLINE_EXCEEDED, text, started=False) from None
            turn = True
        return turn

    def _room(self) -> int:
        return 0 if self._paused else self._session.room

    def _changed(self) -> None:
        """Whether calls may go straight into the pipeline."""
        free = not (self._paused or self._failure or self._line.busy)
        self._pipeline.open = free and self._session.pipelined

    def _head(self, left: int, metadata: Mapping[str, bytes] | None) -> bytes:
        return self._session.head({**(metadata or {}), TIMEOUT_KEY: b"%d" % left})

    def _take(self, event: Event) -> None:
        if type(event) is Response:
            self._pending.take(event)
        elif type(event) is Ready and not self._ready.done():
            self._ready.set_result(None)
            self._changed()

    def _expired(self, call: ClientCall) -> CallError:
        return no_answer(f"{self._session.contract.protocol.name}.{call.message.name}")

    def _forget(self, serial: int) -> None:
        """Nobody waits for that answer any more: the server is told, where it understands that."""
        if not self._failure:
            self._session.cancel(serial)
            self._outbox.collect()

    # --- silence and the end ------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Looks after silence: a ping after a while, the end when it is not answered either."""
        look = self._keepalive.look(
            self._loop.time(),
            self._mouth.heard,
            calls=self.in_flight,
            ordered=self._session.in_flight if self.in_order else 0,
            ready=self._ready.done(),
        )
        if look.reason:
            self._end(look.reason)
            return
        if look.ping:
            self._session.ping()
            self._outbox.flush()
        self._looking = self._loop.call_later(look.wait, self._watch, context=Context())

    def _end(self, reason: str) -> None:
        """The connection is good for nothing any more: it goes now, with what is still to be written."""
        if self._transport is not None:
            self._transport.abort()
        self._fail(reason)

    def _fail(self, reason: str) -> None:
        """Whoever waits for this connection is told, once."""
        if self._failure:
            return
        self._failure = reason
        self._changed()
        if self._looking is not None:
            self._looking.cancel()
        self._alarm.close()
        self._outbox.close()
        text = f"{self._endpoint}: {reason}"
        if not self._ready.done():
            self._ready.set_exception(CallError(Code.UNAVAILABLE, text, started=False))
            self._ready.exception()  # it is nobody's fault if nobody waits for it
        self._pipeline.close(lambda: CallError(Code.UNAVAILABLE, f"{text}; the call may have run"), _closed(text))
        self._pending.fail(text)
        self._line.release()
        self._lost(reason)


def _closed(text: str) -> Callable[[Call], Coroutine[Any, Any, object]]:
    """What becomes of calls that come later. It does not refer to the connection."""

    async def refuse(_call: Call) -> object:
        raise CallError(Code.UNAVAILABLE, text, started=False)

    return refuse


def _raise(error: BaseException) -> None:
    raise error
