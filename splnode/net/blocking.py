"""A channel that blocks: one call at a time, over a socket of its own, without an event loop or a thread.

The client's end of a session on a socket, as `connection.ClientConnection` is, for programs that do one thing after
another: bytes, OSError, EOF and silence become the same CallErrors here.

| the connection | a call |
|---|---|
| is not there | dials; what that takes counts towards the call's deadline |
| was closed by the server since the last call | dials: nothing of it was sent before |
| breaks before all of the call was written | dials once more and is sent again: no server runs half a call |
| breaks before the answer | fails with UNAVAILABLE, "the call may have run" |
| says nothing for KEEPALIVE_ACTIVE while it waits | goes on if a ping is answered, else fails as above |
| said nothing for KEEPALIVE_IDLE before the call | asks with a ping, and dials where that is not answered |

Whatever else leaves a call in the middle, Ctrl-C too, closes the connection: the next call begins on a new one.
"""

import time
from collections.abc import Callable
from sys import intern
from typing import Any, Final

from splnode.avro.protocol import Message, Protocol
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code, RemoteWireError, SplnodeError
from splnode.net.bearing import check_bearer, check_login
from splnode.net.carrier import Carrier
from splnode.net.engine import native_net
from splnode.net.reasons import lost, said_tls
from splnode.net.securing import Securing
from splnode.net.stream import CONNECT_TIMEOUT, Stream, dial
from splnode.net.tls_reasons import REFUSED
from splnode.rpc.call import LONGEST, TIMEOUT_KEY, Call, _limit, running
from splnode.wire.client import ClientSession
from splnode.wire.events import Event, Response
from splnode.wire.message import ClientCall, Contract
from splnode.wire.metadata import metadata_codec

KEEPALIVE_ACTIVE: Final = 30.0
KEEPALIVE_IDLE: Final = 60.0
KEEPALIVE_TIMEOUT: Final = 10.0
"""Seconds: the defaults of `[channels]` in the config."""


FIELDS: Final = 8
"""Parameters of a message that the native engine calls."""
LEAST: Final = 0.2
"""Seconds: shorter timeouts are measured by `poll` from the start."""


def channel_to(
    endpoint: Endpoint,
    contract: Contract,
    connect_timeout: float = CONNECT_TIMEOUT,
    tls: Securing | None = None,
    login: tuple[str, str] | None = None,
) -> Carrier:
    """A channel to the endpoint, in its framing, not connected yet. `tls`: see `stream.dial`.

    `login`: see `splnode.connect`.
    """
    if login is not None:
        check_login(endpoint, tls)
    if endpoint.framing == "http":
        from splnode.net.blocking_http import BlockingHttpChannel  # noqa: PLC0415 - with h11, for those who need it

        return BlockingHttpChannel(endpoint, contract, connect_timeout=connect_timeout, tls=tls)
    return BlockingChannel(endpoint, contract, connect_timeout=connect_timeout, tls=tls, login=login)


class BlockingChannel(Carrier):
    """One endpoint in netty, spec or sasl framing. Not thread-safe; whoever made it closes it."""

    __slots__ = ("_login", "_netty", "_session")

    def __init__(
        self,
        endpoint: Endpoint,
        contract: Contract,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        tls: Securing | None = None,
        login: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(endpoint, contract, connect_timeout=connect_timeout, tls=tls)
        self._login = login
        self._netty = endpoint.framing in (None, "netty")
        self._session: ClientSession | None = None  # it outlives its connection, for what it learned
        native = native_net()
        if native is not None:
            self.line = native.Line(self.lock, running, _limit, KEEPALIVE_IDLE)

    @property
    def server(self) -> Protocol | None:
        """The protocol that the server showed, once there was a connection."""
        return self._session.server if self._session is not None else None

    def connect(self) -> None:
        """`dial` and `greet`, within the connect timeout."""
        until = time.monotonic() + self._connect_timeout
        self.dial(until)
        self.greet(until)

    def dial(self, until: float) -> None:
        """Opens the socket, before that moment; `greet` comes next. CallError(UNAVAILABLE, started=False)."""
        self.close()
        self._stream = dial(self.endpoint, until, self._connect_timeout, self._tls)

    def greet(self, until: float) -> None:
        """Shakes hands, before that moment. CallError (UNAVAILABLE, or what a refusal is), started=False."""
        stream, before = self._stream, self._session
        assert stream is not None  # `dial` was called
        known = (before.server_hash, before.server) if before is not None and before.server is not None else None
        session = ClientSession(
            self.contract,
            framing=self.endpoint.framing or "netty",
            remembered=known,
            limits=self.contract.limits,
            login=self._login,
        )
        try:
            _greet(session, stream, until)
        except TimeoutError:
            text = f"{self.endpoint}: connected, but no handshake within {self._connect_timeout:g} s"
            error = CallError(Code.UNAVAILABLE, text, started=False)
        except (OSError, RemoteWireError) as fault:
            refused = stream.descriptor < 0 and isinstance(fault, ConnectionError)
            error = lost(self.endpoint, REFUSED if refused else _said(fault), started=False)
        except BaseException:
            self.close()
            raise
        else:
            self._session, self.line.heard = session, time.monotonic()
            if self._netty and stream.descriptor >= 0:
                self.line.open(stream.descriptor, self.contract.limits.message_bytes, session.pipeline.serial)
            return
        self.close()
        raise error

    def call(self, call: Call) -> object:
        """Carries one call, and gives or raises what `rpc.channel.Channel.call` does."""
        if call.metadata:
            check_bearer(call, self.endpoint, self._tls)
        if self._in_use:
            self.close()
        return self._carry(call)

    def method(self, message: Message, timeout: float, slow: Callable[..., Any]) -> Callable[..., Any]:
        """What makes the ordinary call of `slow` with no Python in between; `slow` itself where that cannot be."""
        native, names = native_net(), tuple(intern(field.name) for field in message.request.fields)
        timeout = min(timeout, LONGEST)
        if native is None or message.one_way or not self._netty or len(names) > FIELDS or timeout < LEAST:
            return slow
        assert isinstance(self.line, native.Line)  # the same engine made it
        metadata = metadata_codec(self.contract.limits).write({TIMEOUT_KEY: b"%d" % (int(timeout * 1000) - 1)})

        def prepare() -> tuple[object, object, bytes, ClientCall] | None:
            if self.server is None:
                return None
            try:
                call = self.contract.calling(self.server).prepare(message.name)
            except CallError:  # `slow` raises it
                return None
            encode, decode = getattr(call.request.encode, "__self__", None), getattr(call.decode, "__self__", None)
            return encode, decode, metadata + call.request.name, call

        made: Callable[..., Any] = native.Method(self.line, names, timeout, prepare, slow, self._resume, self._abort)
        return made

    def _resume(self, found: ClientCall, serial: int, deadline: float, data: bytes | None) -> object:
        """The rest of a call that `method` has sent, and whose answer is not there yet, or no plain value."""
        assert self._session is not None  # there is a connection
        self._session.pipeline.expect(serial, found)
        return self._carry(Call(self.contract, found.message, {}, deadline), serial, data)

    def _carry(self, call: Call, serial: int = -1, data: bytes | None = None) -> object:
        """A call, or the rest of one that was sent with that serial."""
        self._in_use = True
        try:
            if serial < 0:
                serial = self._submit(call)
            result = self._answer(serial, call, data) if serial >= 0 else None
        except SplnodeError:  # who raised it left the connection as it should be
            self._in_use = False
            raise
        except BaseException:  # Ctrl-C: where the two ends stand is unknown
            self._abort()
            raise
        self._in_use = False
        return result

    def ping(self, until: float) -> None:
        """One round trip to the server, or CallError: DEADLINE_EXCEEDED at that moment, UNAVAILABLE."""
        if self._in_use:
            self.close()
        self._in_use = True
        try:
            self._ping(until)
        except BaseException:
            self.close()
            raise
        self._in_use = False

    def _submit(self, call: Call) -> int:
        """Sends the call and gives its serial, or -1 where no reply is due."""
        stream, again = self._ready(call), False
        while True:
            session = self._session
            assert session is not None  # there is a connection
            left = int(call.remaining * 1000)
            if left <= 0:
                raise call.expired(started=False)
            timeout = {TIMEOUT_KEY: b"%d" % left}
            metadata = {**call.metadata, **timeout} if call.metadata else timeout
            serial = session.call(call.message.name, call.params, metadata)
            try:
                stream.send(session.data_to_send(), call.deadline, self._take)
            except TimeoutError:
                self.close()
                text = f"{call.name}: not sent before the deadline: {self.endpoint} has no room for it"
                raise CallError(Code.DEADLINE_EXCEEDED, text, started=False) from None
            except (OSError, RemoteWireError) as error:
                self.close()
                if again:
                    raise lost(self.endpoint, _said(error), started=False) from error
                stream, again = self._open(call), True
            else:
                # A call of another contract than this connection's may be wrong about what is one-way.
                sure = call.contract is self.contract and not call.message.one_way
                return serial if sure or session.expects_reply(serial) else -1

    def _ready(self, call: Call) -> Stream:
        """A connection on which nothing waits to be read, and which is still there."""
        stream = self._stream
        if stream is not None and time.monotonic() - self.line.heard > KEEPALIVE_IDLE:
            stream = self._probed(call)
        try:
            while stream is not None and not stream.quiet():  # late answers, or the end
                self._take(stream.receive(call.deadline))
                stream = self._stream
        except (OSError, RemoteWireError):  # TimeoutError too: a peer that talks without end is given up
            self.close()
            stream = None
        return stream or self._open(call)

    def _probed(self, call: Call) -> Stream | None:
        """The connection if it answers a ping: one that was silent for long may be there on this side only."""
        try:
            self._ping(min(time.monotonic() + KEEPALIVE_TIMEOUT, call.deadline))
        except CallError:
            self.close()
        return self._stream

    def _open(self, call: Call) -> Stream:
        until = min(time.monotonic() + self._connect_timeout, call.deadline)
        try:
            self.dial(until)
            self.greet(until)
        except CallError as error:
            if error.code is Code.UNAVAILABLE and call.remaining <= 0:
                text = f"{call.name}: {self.endpoint} was not connected before the deadline"
                raise CallError(Code.DEADLINE_EXCEEDED, text, started=False) from error
            raise
        finally:
            self._in_use = True  # `dial` has closed what was there
        assert self._stream is not None  # it was just dialled
        return self._stream

    def _answer(self, serial: int, call: Call, data: bytes | None) -> object:
        response = self._response(serial, call.deadline, data)
        if response is None:
            self._give_up(serial)
            raise call.expired()
        call.answer_metadata = response.metadata
        return response.take()

    def _response(self, serial: int, deadline: float, data: bytes | None = None) -> Response | None:
        """The response to that call, or None at its deadline; `data` has come already. CallError if it ends before."""
        stream, pinged = self._stream, False
        assert stream is not None  # something was just sent
        until = min(deadline, self.line.heard + KEEPALIVE_ACTIVE) if self._netty else deadline
        while True:
            try:
                found = None
                for event in self._take(stream.receive(until) if data is None else data):
                    if type(event) is Response and event.serial == serial:
                        found = event
            except TimeoutError:
                if time.monotonic() >= deadline:
                    return None
                if pinged:
                    self.close()
                    reason = f"no answer to a ping within {KEEPALIVE_TIMEOUT:g} s"
                    raise lost(self.endpoint, reason, started=True) from None
                self._send_ping(deadline)
                pinged, until = True, min(deadline, time.monotonic() + KEEPALIVE_TIMEOUT)
                continue
            except (OSError, RemoteWireError) as error:
                self.close()
                raise lost(self.endpoint, _said(error), started=True) from error
            if found is not None:
                return found
            data = None
            pinged, until = False, min(deadline, self.line.heard + KEEPALIVE_ACTIVE) if self._netty else deadline

    def _take(self, data: bytes) -> list[Event]:
        """What the bytes mean. ConnectionError for their end, RemoteWireError; events before a fault come first."""
        session = self._session
        assert session is not None  # there is a connection
        if not data:
            session.receive_eof()
            raise ConnectionError("the peer closed the connection")
        self.line.heard = time.monotonic()
        events = session.receive_data(data)
        if session.failed is not None:
            self.close()
        return events

    def _ping(self, until: float) -> None:
        serial = self._send_ping(until)
        if self._response(serial, until) is None:
            raise CallError(Code.DEADLINE_EXCEEDED, f"{self.endpoint}: no answer to a ping")

    def _send_ping(self, until: float) -> int:
        stream, session = self._stream, self._session
        assert stream is not None and session is not None  # there is a connection
        serial = session.ping()
        try:
            stream.send(session.data_to_send(), until, self._take)
        except (OSError, RemoteWireError) as error:
            self.close()
            raise lost(self.endpoint, _said(error), started=True) from error
        return serial

    def _give_up(self, serial: int) -> None:
        """Nobody waits for that answer any more: the server is told, if only by the end of the connection.

        Where replies come in order the next one would have to wait for this one.
        """
        stream, session = self._stream, self._session
        if stream is None or session is None:
            return
        session.cancel(serial)
        try:
            if not self._netty or session.full:
                raise TimeoutError
            if parts := session.data_to_send():
                stream.send(parts, 0, self._take)
        except (OSError, RemoteWireError):
            self._abort()


def _greet(session: ClientSession, stream: Stream, until: float) -> None:
    session.start()
    while not session.ready:
        if session.refusal is not None:
            raise session.refusal
        if parts := session.data_to_send():
            stream.send(parts, until, lambda data: None)
        data = stream.receive(until)
        if not data:
            session.receive_eof()
            raise ConnectionError("the peer closed the connection")
        session.receive_data(data)
        if session.failed is not None:
            raise session.failed


def _said(error: OSError | RemoteWireError) -> str:
    if isinstance(error, RemoteWireError) or type(error) is ConnectionError:
        return str(error)
    return f"connection lost: {said_tls(error)}"
