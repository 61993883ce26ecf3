"""The client's face of a session on a socket: calls in, futures completed as the answers come.

One of the two places that translate: bytes, OSError, EOF and silence become CallErrors here. The other is
`rpc/server.py`.
"""

import asyncio
import typing
from collections.abc import Callable

from splnode.config import ChannelsConfig
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code, RemoteWireError
from splnode.net.outbox import Outbox
from splnode.rpc.call import TIMEOUT_KEY, Call
from splnode.rpc.expiry import Expiry
from splnode.wire.client import ClientSession
from splnode.wire.events import Event, Ready, Response


class ClientConnection(asyncio.Protocol):
    """A Channel over one established connection; `channel.EndpointChannel` opens and replaces it.

    `lost` is called once with the reason when the connection has gone. Calls in flight then fail with
    UNAVAILABLE: they may have run.
    """

    def __init__(
        self, session: ClientSession, endpoint: Endpoint, settings: ChannelsConfig, lost: Callable[[str], None]
    ) -> None:
        self._session = session
        self._endpoint = endpoint
        self._settings = settings
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._pending: dict[int, tuple[asyncio.Future[object], Call]] = {}
        self._expiry: Expiry[int] = Expiry(self._expire)
        self._transport: asyncio.Transport | None = None
        self._outbox = Outbox(session)
        self._writable: asyncio.Future[None] | None = None
        self._roomy: asyncio.Future[None] | None = None
        self._failure = ""
        self._heard = 0.0
        self._keepalive: asyncio.TimerHandle | None = None
        self._pinged = False

    @property
    def is_open(self) -> bool:
        """True while calls can be sent."""
        return not self._failure and self._transport is not None

    @property
    def in_flight(self) -> int:
        """Calls that wait for their answer."""
        return len(self._pending)

    async def ready(self) -> None:
        """Returns once the handshake is done; raises the CallError that ended it. The caller sets the deadline."""
        await asyncio.shield(self._ready)

    async def call(self, call: Call) -> object:
        """Sends the call and waits for its answer, until its deadline at the latest. Cancelling is safe."""
        while self._writable is not None or self._session.full:
            await self._room(call)
        if self._failure:
            raise CallError(Code.UNAVAILABLE, f"{self._endpoint}: {self._failure}", started=False)
        left = int(call.remaining * 1000)
        if left <= 0:
            raise call.expired()
        metadata = {**call.metadata, TIMEOUT_KEY: b"%d" % left}
        serial = self._session.call(call.message.name, call.params, metadata)
        self._outbox.collect()
        if not self._session.expects_reply(serial):
            return None
        future = self._loop.create_future()
        self._pending[serial] = (future, call)
        self._expiry.add(serial, call.deadline)
        try:
            return await future
        except asyncio.CancelledError:
            self._forget(serial)
            raise

    async def close(self) -> None:
        """Sends what is queued and closes; calls in flight fail."""
        self._outbox.flush()
        self._end("closed by this end")

    # --- asyncio.Protocol ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open: the handshake begins."""
        self._transport = typing.cast("asyncio.Transport", transport)  # uvloop's own is no subclass
        self._outbox.open(self._transport)
        self._heard = self._loop.time()
        self._session.start()
        self._outbox.flush()
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Bytes of the peer."""
        self._heard = self._loop.time()
        self._pinged = False
        try:
            events = self._session.receive_data(data)
        except RemoteWireError as error:
            self._end(str(error))
            return
        for event in events:
            self._take(event)
        self._outbox.flush()
        if self._session.failed is not None:
            self._end(str(self._session.failed))
        elif self._session.refusal is not None and not self._ready.done():
            self._ready.set_exception(self._session.refusal)
        if self._roomy is not None and not self._session.full:
            self._roomy.set_result(None)
            self._roomy = None

    def eof_received(self) -> bool:
        """The peer will send no more: nothing that is still due can come."""
        try:
            for event in self._session.receive_eof():
                self._take(event)
        except RemoteWireError as error:
            self._end(str(error))
        else:
            self._end("the peer closed the connection")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self._end("connection lost" if exc is None else f"connection lost: {exc}")

    def pause_writing(self) -> None:
        """The peer reads too slowly: new calls wait here, within their deadlines."""
        self._writable = self._writable or self._loop.create_future()

    def resume_writing(self) -> None:
        """It reads again."""
        if self._writable is not None:
            self._writable.set_result(None)
            self._writable = None

    # --- the rest -----------------------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        if type(event) is Response:
            entry = self._pending.pop(event.serial, None)
            if entry is None:
                return
            self._expiry.discard(event.serial)
            future, call = entry
            call.answer_metadata = event.metadata
            if future.done():
                return
            if event.error is None:
                future.set_result(event.value)
            else:
                future.set_exception(event.error)
        elif type(event) is Ready and not self._ready.done():
            self._ready.set_result(None)

    async def _room(self, call: Call) -> None:
        """Waits until the peer reads again or answers an earlier call."""
        if self._writable is None and self._roomy is None:
            self._roomy = self._loop.create_future()
        waits = [future for future in (self._writable, self._roomy) if future is not None]
        done, _ = await asyncio.wait(waits, timeout=max(0.0, call.remaining), return_when=asyncio.FIRST_COMPLETED)
        if not done:
            raise CallError(Code.DEADLINE_EXCEEDED, f"{call.name}: not sent before the deadline", started=False)

    def _expire(self, serial: int) -> None:
        entry = self._pending.get(serial)
        if entry is not None and not entry[0].done():
            entry[0].set_exception(entry[1].expired())
        self._forget(serial)

    def _forget(self, serial: int) -> None:
        """Nobody waits for that answer any more: the server is told, where it understands that."""
        if self._pending.pop(serial, None) is None:
            return
        self._expiry.discard(serial)
        if not self._failure:
            self._session.cancel(serial)
            self._outbox.collect()

    def _watch(self) -> None:
        """Looks after silence: a ping after a while, the end when it is not answered either."""
        silence = self._loop.time() - self._heard
        settings = self._settings
        if self._pinged:
            self._end(f"no answer to a ping within {settings.keepalive_timeout:g} s")
            return
        allowed = settings.keepalive_active if self._pending else settings.keepalive_idle
        wait = min(allowed, settings.keepalive_active) - silence
        if silence >= allowed and self._ready.done():
            self._session.ping()
            self._outbox.flush()
            self._pinged, wait = True, settings.keepalive_timeout
        self._keepalive = self._loop.call_later(max(wait, 0.05), self._watch)

    def _end(self, reason: str) -> None:
        if self._failure:
            return
        self._failure = reason
        if self._keepalive is not None:
            self._keepalive.cancel()
        self._expiry.close()
        self._outbox.close()
        if self._transport is not None:
            self._transport.close()
        text = f"{self._endpoint}: {reason}"
        if not self._ready.done():
            self._ready.set_exception(CallError(Code.UNAVAILABLE, text, started=False))
            self._ready.exception()  # it is nobody's fault if nobody waits for it
        pending, self._pending = self._pending, {}
        for future, _ in pending.values():
            if not future.done():
                future.set_exception(CallError(Code.UNAVAILABLE, f"{text}; the call may have run"))
        self.resume_writing()
        if self._roomy is not None:
            self._roomy.set_result(None)
            self._roomy = None
        self._lost(reason)
