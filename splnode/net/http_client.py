"""Avro over HTTP, the client's side: `http+avro://host:port/path`.

Each call is one POST with a handshake of its own; connections are kept and used again, one call at a time on
each. (Avro 1.12 specification, "HTTP as Transport")
"""

import asyncio
import contextlib
import typing
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

import h11

from splnode.avro.protocol import Protocol
from splnode.config import ChannelsConfig
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code, RemoteWireError
from splnode.limits import Limits
from splnode.net.connect import open_transport
from splnode.rpc.call import TIMEOUT_KEY, Call
from splnode.wire.client import ClientSession
from splnode.wire.directory import parse
from splnode.wire.events import Response
from splnode.wire.framing import SpecReader, spec_frame
from splnode.wire.handshake import HandshakeRequest, read_response, write_request
from splnode.wire.message import Contract

CONNECTIONS: Final = 32
"""Connections that one channel keeps to one endpoint: so many calls at a time."""


class HttpPool:
    """A Channel over kept HTTP connections; `channel.EndpointChannel` makes and closes it.

    `lost` is called with the reason when a connection cannot be opened and there is no other: `is_open` is False then.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        contract: Contract,
        settings: ChannelsConfig,
        limits: Limits,
        lost: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self._endpoint = endpoint
        self._contract = contract
        self._settings = settings
        self._limits = limits
        self._idle: list[_HttpConnection] = []
        self._busy: set[_HttpConnection] = set()
        self._places = asyncio.Semaphore(CONNECTIONS)
        self._remembered: tuple[bytes, Protocol] | None = None  # saves a POST where each connection serves one only
        self._lost = lost
        self._failure = ""

    @property
    def is_open(self) -> bool:
        """True while calls can be made."""
        return not self._failure

    async def connect(self) -> None:
        """Opens the first connection, so that an endpoint that is not there shows at once."""
        self._idle.append(await self._dial())

    async def call(self, call: Call) -> object:
        """Carries the call over an idle connection or a new one, within its deadline."""
        begun = False
        try:
            async with asyncio.timeout(max(0.0, call.remaining)), self._places:
                connection = await self._take()
                self._busy.add(connection)
                begun = True
                try:
                    return await connection.call(call)
                finally:
                    self._remembered = connection.learned or self._remembered
                    self._busy.discard(connection)
                    if connection.is_open and self.is_open:
                        self._idle.append(connection)
                    else:
                        connection.close()
        except TimeoutError:
            raise call.expired(started=begun) from None

    async def discover(self) -> Protocol:
        """The protocol that the server says it serves, from a handshake with no call behind it."""
        connection = await self._dial()
        try:
            return await connection.discover()
        finally:
            connection.close()

    async def close(self) -> None:
        """Calls that run fail with UNAVAILABLE, and so do those that wait."""
        self._failure = self._failure or "closed by this end"
        for connection in [*self._idle, *self._busy]:
            connection.close()
        self._idle.clear()
        await asyncio.sleep(0)  # the turn of the loop in which the sockets are closed

    async def _take(self) -> "_HttpConnection":
        """A connection that nobody else uses."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
            connection.close()
        fresh = await self._fresh() if self.is_open else None
        if fresh is not None:
            if self.is_open:
                return fresh
            fresh.close()
        raise CallError(Code.UNAVAILABLE, f"{self._endpoint}: {self._failure}", started=False)

    async def _fresh(self) -> "_HttpConnection":
        try:
            return await self._dial()
        except CallError as error:
            if not self._busy and self.is_open:
                self._failure = error.message
                self._lost(error.message)
            raise

    async def _dial(self) -> "_HttpConnection":
        session = ClientSession(self._contract, framing="http", remembered=self._remembered, limits=self._limits)
        return await open_transport(
            self._endpoint,
            lambda: _HttpConnection(session, self._endpoint, self._limits, self._settings.connect_timeout),
            self._settings.connect_timeout,
        )


class _HttpConnection(asyncio.Protocol):
    """One kept connection, for one call at a time. Where the server closes it between two POSTs it is opened again."""

    def __init__(self, session: ClientSession, endpoint: Endpoint, limits: Limits, timeout: float) -> None:
        self._session = session
        self._endpoint = endpoint
        self._limits = limits
        self._timeout = timeout
        self._largest = limits.message_bytes + 64 * 1024
        self._http = h11.Connection(h11.CLIENT)
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._status = 0
        self._body = bytearray()
        self._done = True
        self._closed = False
        self._ended = False  # the server sends no more
        self._host = f"{_written(endpoint.host)}:{endpoint.port}"
        self._target = quote(endpoint.path or "/", safe="/%:@!$&'()*+,;=~")

    @property
    def is_open(self) -> bool:
        """True if another call may follow."""
        return self._done and self._usable

    @property
    def _usable(self) -> bool:
        """True if the server waits for a request, and has said nothing unasked that would pass for its answer."""
        transport, http = self._transport, self._http
        there = transport is not None and not self._ended and not transport.is_closing()
        return there and http.our_state is h11.IDLE and not http.trailing_data[0]

    @property
    def learned(self) -> tuple[bytes, Protocol] | None:
        """The server's hash and protocol, once it has told them."""
        return None if self._session.server is None else (self._session.server_hash, self._session.server)

    async def call(self, call: Call) -> object:
        """One call: one POST, or two where the server does not know our protocol yet."""
        session = self._session
        left = b"%d" % max(1, int(call.remaining * 1000))
        serial = session.call(call.message.name, call.params, {**call.metadata, TIMEOUT_KEY: left})
        self._done = False
        while bodies := session.data_to_send():
            try:
                events = session.receive_data(await self._post(bodies[0]))
                session.receive_eof()
            except RemoteWireError as error:
                raise CallError(Code.UNAVAILABLE, f"{self._endpoint}: {error}; the call may have run") from error
            for event in events:
                if type(event) is Response and event.serial == serial:
                    self._done = True
                    call.answer_metadata = event.metadata
                    if event.error is not None:
                        raise event.error
                    return event.value
        raise CallError(Code.UNAVAILABLE, f"{self._endpoint}: an answer without a response in it")

    async def discover(self) -> Protocol:
        """What the server says it speaks. It is asked by hash alone first: Python's avro cannot read an empty protocol.

        Asked again with the text, which bears the name that is wanted, where it has told of another.
        """
        own = self._session.contract.protocol
        found = await self._greet(None)
        if found is not None and found.short_name == own.short_name:
            return found
        try:
            return await self._greet(own.text) or own
        except CallError:
            if found is None:
                raise
            return found

    async def _greet(self, text: str | None) -> Protocol | None:
        """One POST with a handshake and a ping; the protocol that the server answers with, if any."""
        own = self._session.contract.protocol
        request = write_request(HandshakeRequest(own.md5, text, own.md5))
        body = await self._post(spec_frame(request, b"\0", b"\0"))
        try:
            reader = SpecReader(self._limits)
            reader.feed(body)
            response, _ = read_response(reader.take(1)[0][1], self._limits)
            if response.server_protocol is None:
                return None
            return parse(response.server_protocol, "the server's protocol", self._limits)
        except (RemoteWireError, IndexError) as error:
            raise CallError(Code.UNAVAILABLE, f"{self._endpoint}: no handshake in the answer: {error}") from error

    def close(self) -> None:
        """Closes the socket; a call that runs fails."""
        self._closed = True
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        self._transport = typing.cast("asyncio.Transport", transport)  # uvloop's own is no subclass
        if self._closed:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes of the server."""
        if self._answer is None and self._transport is not None:
            self._transport.abort()  # nobody has asked
            return
        with contextlib.suppress(h11.RemoteProtocolError):
            self._http.receive_data(data)
        self._advance()

    def eof_received(self) -> bool:
        """The server has closed: an answer without a length ends here."""
        self._ended = True
        with contextlib.suppress(h11.RemoteProtocolError):
            self._http.receive_data(b"")
        self._advance()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self._transport = None
        self._fail("connection lost" if exc is None else f"connection lost: {exc}")

    # --- the rest -----------------------------------------------------------------------------------------

    async def _post(self, body: bytes) -> bytes:
        if not self._usable:
            await self._reopen()
        assert self._transport is not None  # just opened
        headers = [
            ("Host", self._host),
            ("Content-Type", "avro/binary"),
            ("Content-Length", str(len(body))),
        ]
        request = h11.Request(method="POST", target=self._target, headers=headers)
        parts = [self._http.send(event) for event in (request, h11.Data(data=body), h11.EndOfMessage())]
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.writelines([part for part in parts if part])
        try:
            answer = await self._answer
        finally:
            self._answer = None  # an error would hold its traceback, that this connection, and this the error
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        return answer

    async def _reopen(self) -> None:
        """A new socket: the old one went while nobody asked, or with its answer (`Connection: close`, HTTP/1.0)."""
        if self._transport is not None:
            self._transport.set_protocol(asyncio.Protocol())  # what it still reports is nobody's
            self._transport.abort()
            self._transport = None
        self._http, self._ended = h11.Connection(h11.CLIENT), False
        await open_transport(self._endpoint, lambda: self, self._timeout)

    def _advance(self) -> None:
        while self._answer is not None and not self._answer.done():
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                self._fail("the peer closed the connection" if self._ended else f"not HTTP: {error}")
                return
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            if isinstance(event, h11.Response):
                self._status, self._body = event.status_code, bytearray()
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > self._largest:
                    self._fail(f"an answer of more than {self._largest} bytes")
                    return
            elif isinstance(event, h11.EndOfMessage):
                self._finish()
            elif isinstance(event, h11.ConnectionClosed):
                self._fail("the peer closed the connection")
                return

    def _finish(self) -> None:
        assert self._answer is not None
        body = bytes(self._body)
        if self._status == 200:
            self._answer.set_result(body)
        else:
            said = body[:200].decode("utf-8", "replace").strip()
            self._fail(f"HTTP status {self._status}: {said}")

    def _fail(self, reason: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(
                CallError(Code.UNAVAILABLE, f"{self._endpoint}: {reason}; the call may have run")
            )
        if self._transport is not None:
            self._transport.abort()


def _written(host: str) -> str:
    """A host as it stands in a URL."""
    if ":" in host:
        return f"[{host}]"
    return host if host.isascii() else host.encode("idna").decode()
