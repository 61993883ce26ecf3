"""Asking an endpoint for a protocol it serves: what any Avro peer answers in its handshake.

A client that comes as a protocol without messages gets the server's text back. A node with several services
gives the one whose name the client bears; a stock server gives the only one it has.
"""

import asyncio

from splnode.avro.protocol import Protocol
from splnode.config import ChannelsConfig
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code
from splnode.limits import DEFAULT_LIMITS, Limits
from splnode.net.connect import open_transport
from splnode.net.connection import ClientConnection
from splnode.net.http_client import HttpPool
from splnode.net.securing import Securing
from splnode.wire.client import ClientSession
from splnode.wire.greeting import nameless
from splnode.wire.message import Contract


async def discover(
    endpoint: Endpoint,
    service: str = "",
    *,
    timeout: float = 5.0,
    limits: Limits = DEFAULT_LIMITS,
    tls: Securing | None = None,
) -> Protocol:
    """The protocol that `endpoint` serves under the full or short name `service`.

    It is whatever the server says: the caller looks whether its name is the one asked for. CallError(UNAVAILABLE)
    where nobody answers within `timeout` seconds; SchemaError if `service` is no name. The connection is closed on
    return. Cancelling is safe.
    """
    contract = Contract(nameless(service), limits=limits)
    try:
        async with asyncio.timeout(timeout):
            if endpoint.framing == "http":
                return await _over_http(endpoint, contract, limits, tls)
            return await _over_connection(endpoint, contract, timeout, limits, tls)
    except TimeoutError:
        raise CallError(Code.UNAVAILABLE, f"{endpoint}: no handshake within {timeout:g} s", started=False) from None


async def _over_connection(
    endpoint: Endpoint, contract: Contract, timeout: float, limits: Limits, tls: Securing | None
) -> Protocol:
    session = ClientSession(contract, framing=endpoint.framing or "netty", limits=limits)
    settings = ChannelsConfig()
    connection = await open_transport(
        endpoint, lambda: ClientConnection(session, endpoint, settings, lambda reason: None), timeout, tls
    )
    try:
        await connection.ready()
    finally:
        await connection.close()
    assert session.server is not None  # what being ready means
    return session.server


async def _over_http(endpoint: Endpoint, contract: Contract, limits: Limits, tls: Securing | None) -> Protocol:
    pool = HttpPool(endpoint, contract, ChannelsConfig(), limits, tls=tls)
    try:
        return await pool.discover()
    finally:
        await pool.close()
