"""Avro over HTTP, the client's side: `http+avro://host:port/path`.

Each call is one POST with a handshake of its own; connections are kept and used again, one call at a time on
each. (Avro 1.12 specification, "HTTP as Transport")
"""

import asyncio
import typing
from collections.abc import Callable
from typing import Final

from splnode.avro.protocol import Protocol
from splnode.config import ChannelsConfig
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code
from splnode.limits import Limits
from splnode.net.connect import open_transport
from splnode.net.http_exchange import HttpExchange, HttpFault, carry, discover
from splnode.net.reasons import lost, said_tls
from splnode.net.securing import Securing
from splnode.rpc.call import Call
from splnode.wire.client import ClientSession
from splnode.wire.events import Response
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
        tls: Securing | None = None,
    ) -> None:
        self._tls = tls
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
        """Opens the first connection, so that an endpoint that is not there shows at once: CallError(UNAVAILABLE)."""
        self._idle.append(await self._dial())

    async def call(self, call: Call) -> object:
        """Carries the call over an idle connection or a new one, within its deadline; CallError as of a channel.

        Cancelling is safe: the connection that it was on is closed, which cancels the call at the other end.
        """
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
            lambda: _HttpConnection(session, self._endpoint, self._limits, self._settings.connect_timeout, self._tls),
            self._settings.connect_timeout,
            self._tls,
        )


class _HttpConnection(asyncio.Protocol):
    """One kept connection, for one call at a time. Where the server closes it between two POSTs it is opened again."""

    def __init__(
        self, session: ClientSession, endpoint: Endpoint, limits: Limits, timeout: float, tls: Securing | None
    ) -> None:
        self._tls = tls
        self._session = session
        self._endpoint = endpoint
        self._limits = limits
        self._timeout = timeout
        self._http = HttpExchange(endpoint, limits)
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._done = True
        self._closed = False

    @property
    def is_open(self) -> bool:
        """True if another call may follow."""
        return self._done and self._usable

    @property
    def _usable(self) -> bool:
        transport = self._transport
        return transport is not None and not transport.is_closing() and self._http.usable

    @property
    def learned(self) -> tuple[bytes, Protocol] | None:
        """The server's hash and protocol, once it has told them."""
        return None if self._session.server is None else (self._session.server_hash, self._session.server)

    async def call(self, call: Call) -> object:
        """One call: one POST, or two where the server does not know our protocol yet."""
        steps = carry(self._session, self._endpoint, call)
        try:
            body = next(steps)  # nothing was sent yet: what this raises leaves the connection as it was
            self._done = False
            while True:
                body = steps.send(await self._post(body))
        except StopIteration as end:
            response: Response = end.value
        self._done = True
        call.answer_metadata = response.metadata
        return response.take()

    async def discover(self) -> Protocol:
        """What the server says it speaks."""
        steps = discover(self._session.contract, self._endpoint)
        body = next(steps)
        try:
            while True:
                try:
                    answer = await self._post(body)
                except CallError as error:
                    body = steps.throw(error)
                else:
                    body = steps.send(answer)
        except StopIteration as end:
            found: Protocol = end.value
            return found

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
        self._advance(data)

    def eof_received(self) -> bool:
        """The server has closed: an answer without a length ends here."""
        self._advance(b"")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self._transport = None
        self._fail("connection lost" if exc is None else f"connection lost: {said_tls(exc)}")

    # --- the rest -----------------------------------------------------------------------------------------

    async def _post(self, body: bytes) -> bytes:
        if not self._usable:
            await self._reopen()
        assert self._transport is not None  # just opened
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.writelines(self._http.post(body))
        try:
            return await self._answer
        finally:
            self._answer = None  # an error would hold its traceback, that this connection, and this the error

    async def _reopen(self) -> None:
        """A new socket: the old one went while nobody asked, or with its answer (`Connection: close`, HTTP/1.0)."""
        if self._transport is not None:
            self._transport.set_protocol(asyncio.Protocol())  # what it still reports is nobody's
            self._transport.abort()
            self._transport = None
        self._http = HttpExchange(self._endpoint, self._limits)
        await open_transport(self._endpoint, lambda: self, self._timeout, self._tls)

    def _advance(self, data: bytes) -> None:
        try:
            body = self._http.receive(data)
        except HttpFault as fault:
            self._fail(str(fault))
            return
        if body is not None and self._answer is not None and not self._answer.done():
            self._answer.set_result(body)

    def _fail(self, reason: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(lost(self._endpoint, reason, started=True))
        if self._transport is not None:
            self._transport.abort()
