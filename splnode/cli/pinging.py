"""Avro's ping over a connection of its own: an empty message name, answered by an empty answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from splnode.avro.protocol import Protocol
from splnode.cli.dial import first_of
from splnode.cli.target import Target
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code, RemoteWireError
from splnode.net.connect import open_transport
from splnode.wire.client import ClientSession
from splnode.wire.events import Ready, Response
from splnode.wire.message import Contract

Ping = Callable[[], Awaitable[None]]


class PingConnection(asyncio.Protocol):
    """One connection; `ready` and `ping` are awaited one at a time."""

    def __init__(self, session: ClientSession, endpoint: Endpoint) -> None:
        self._session = session
        self._endpoint = endpoint
        self._transport: asyncio.WriteTransport | None = None
        self._waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def ready(self) -> None:
        """Returns when the handshake is done. CallError(UNAVAILABLE)."""
        await self._waiter

    async def ping(self) -> None:
        """One round trip. CallError(UNAVAILABLE) if the connection is lost."""
        self._waiter = asyncio.get_running_loop().create_future()
        if self._transport is None or self._transport.is_closing():
            self._fail("connection lost")
        else:
            self._session.ping()
            self._flush()
        await self._waiter

    def close(self) -> None:
        """Closes the socket."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open: the handshake begins."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._session.start()
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Bytes of the peer."""
        try:
            events = self._session.receive_data(data)
        except RemoteWireError as error:
            self._fail(str(error))
            self.close()
            return
        self._flush()
        if any(isinstance(event, (Ready, Response)) for event in events) and not self._waiter.done():
            self._waiter.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self._fail("the peer closed the connection" if exc is None else f"connection lost: {exc}")

    def _flush(self) -> None:
        if self._transport is not None:
            self._transport.writelines(self._session.data_to_send())

    def _fail(self, reason: str) -> None:
        if not self._waiter.done():
            self._waiter.set_exception(CallError(Code.UNAVAILABLE, f"{self._endpoint}: {reason}", started=False))
            self._waiter.exception()  # it is nobody's fault if nobody waits for it


@asynccontextmanager
async def pinger(where: Target) -> AsyncIterator[tuple[Endpoint, Ping]]:
    """Connects to the first endpoint that answers; gives it and a function that pings it once."""
    contract = Contract(Protocol.parse('{"protocol": "Ping", "types": [], "messages": {}}'))
    endpoint, ping, close = await first_of(where, lambda endpoint: _open(endpoint, contract, where.connect_timeout))
    try:
        yield endpoint, ping
    finally:
        await close()


async def _open(
    endpoint: Endpoint, contract: Contract, timeout: float
) -> tuple[Endpoint, Ping, Callable[[], Awaitable[None]]]:
    if endpoint.framing == "http":
        return await _open_http(endpoint, contract)
    session = ClientSession(contract, framing=endpoint.framing or "netty", limits=contract.limits)
    connection = await open_transport(endpoint, lambda: PingConnection(session, endpoint), timeout)

    async def close() -> None:
        connection.close()

    try:
        async with asyncio.timeout(timeout):
            await connection.ready()
    except TimeoutError:
        connection.close()
        raise CallError(Code.UNAVAILABLE, f"{endpoint}: no handshake within {timeout:g} s", started=False) from None
    return endpoint, connection.ping, close


async def _open_http(endpoint: Endpoint, contract: Contract) -> tuple[Endpoint, Ping, Callable[[], Awaitable[None]]]:
    from splnode.cli.dial import SETTINGS
    from splnode.net.http_client import HttpPool

    pool = HttpPool(endpoint, contract, SETTINGS, contract.limits)
    await pool.connect()

    async def ping() -> None:
        await pool.discover()

    return endpoint, ping, pool.close
