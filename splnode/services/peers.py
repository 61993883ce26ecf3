"""Asking other nodes: who they are, what they serve, and running a module there."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from splnode.avro.fingerprint import resolution_fingerprint, wire_fingerprint
from splnode.avro.protocol import Protocol, find_protocol
from splnode.config import ChannelsConfig
from splnode.discovery.resolver import Address, Instance, Service
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code, ConfigError
from splnode.limits import DEFAULT_LIMITS, Limits
from splnode.net.channel import EndpointChannel
from splnode.net.connect import open_transport
from splnode.net.discover import discover
from splnode.net.securing import Securing
from splnode.rpc.call import as_node
from splnode.rpc.client import Client
from splnode.services.node_info import from_info
from splnode.wire.message import Contract

NODE_SERVICE: Final = "SPLNodeService"
EXECUTE_SERVICE: Final = "SPLExecuteService"
ASKING: Final = 3.0
"""Seconds that a node may take to say who it is."""
REACHING: Final = 1.0
"""Seconds in which an endpoint must let itself be connected to."""
WATCHING: Final = 3.0
"""Seconds that a node waits for a change before it says the same again: so a dead one is known in a second more."""
ELSEWHERE: Final = 10.0
"""Seconds between two looks at a server that is no node, and cannot tell of changes."""


def service_of(protocol: Protocol) -> Service:
    """What is announced of a protocol. Its version is the key `version` of its text."""
    version = protocol.properties.get("version")
    return Service(
        protocol.name,
        version if isinstance(version, str) else "",
        wire_fingerprint(protocol),
        resolution_fingerprint(protocol),
        protocol.md5,
    )


class Peers:
    """Connections to other nodes, each for what is asked and no longer."""

    def __init__(
        self,
        settings: ChannelsConfig = ChannelsConfig(),  # noqa: B008 - frozen
        limits: Limits = DEFAULT_LIMITS,
        tls: Securing | None = None,
    ) -> None:
        self._tls = tls
        self._settings = settings
        self._limits = limits
        self._contract = Contract(find_protocol(NODE_SERVICE), limits=limits)

    async def follow(self, endpoint: Endpoint) -> AsyncIterator[Instance]:
        """What the node there says of itself, now and after each change. CallError once it says nothing more.

        A server that is no node is described by the one protocol that it shows.
        """
        shown = await discover(endpoint, NODE_SERVICE, timeout=ASKING, limits=self._limits, tls=self._tls)
        if shown.name != NODE_SERVICE:
            while True:
                service = await asyncio.to_thread(service_of, shown)  # a peer's text may be large
                yield Instance((Address(endpoint, ""),), services=(service,))
                await asyncio.sleep(ELSEWHERE)
                shown = await discover(endpoint, NODE_SERVICE, timeout=ASKING, limits=self._limits, tls=self._tls)
        channel = self._channel(endpoint, self._contract)
        try:
            client, revision = Client(channel, self._contract), None
            while True:
                wait = 0.0 if revision is None else WATCHING
                params = {"revision": revision, "timeoutMs": int(wait * 1000)}
                with as_node():
                    info = await client.call("getNode", params, timeout=wait + REACHING)
                said = _described(info, endpoint)
                if said[1] != revision:
                    revision = said[1]
                    yield said[0]
        finally:
            await channel.close()

    async def reach(self, endpoint: Endpoint) -> None:
        """Connects, and lets go. CallError(UNAVAILABLE)."""
        (await open_transport(endpoint, _Nothing, REACHING, self._tls)).close()

    async def describe(self, endpoint: Endpoint) -> Mapping[str, Any]:
        """The NodeInfo of the node there, once. CallError."""
        channel = self._channel(endpoint, self._contract)
        try:
            with as_node():
                info = await Client(channel, self._contract).call("getNode", {}, timeout=ASKING)
        finally:
            await channel.close()
        return info if isinstance(info, Mapping) else {}

    async def life(self, endpoint: Endpoint) -> tuple[str, int]:
        """The id and the epoch of the node there. CallError."""
        info = await self.describe(endpoint)
        return str(info.get("nodeId", "")), int(info.get("epoch", 0))

    async def protocol(self, instance: Instance, service: str) -> Protocol:
        """The text of a service as the instance serves it. CallError, also where it serves another one."""
        errors = []
        for endpoint in instance.endpoints:
            try:
                found = await discover(endpoint, service, timeout=ASKING, limits=self._limits, tls=self._tls)
            except CallError as error:
                errors.append(error.message)
                continue
            if found.name == service:
                return found
            errors.append(f"{endpoint} does not serve {service}, but {found.name[:200]}")
        raise CallError(Code.UNAVAILABLE, "; ".join(errors), started=False)

    async def execute(self, instance: Instance, request: Mapping[str, Any], timeout: float) -> object:
        """SPLExecuteService.execute on that node. CallError, ExecutionError."""
        contract = Contract(find_protocol(EXECUTE_SERVICE), limits=self._limits)
        last: CallError | None = None
        for endpoint in instance.endpoints:
            channel = self._channel(endpoint, contract)
            try:
                return await Client(channel, contract).call("execute", {"request": request}, timeout=timeout)
            except CallError as error:
                if error.started or error.code is not Code.UNAVAILABLE:
                    raise
                last = error
            finally:
                await channel.close()
        assert last is not None  # an instance has an endpoint
        raise last

    def _channel(self, endpoint: Endpoint, contract: Contract) -> EndpointChannel:
        return EndpointChannel(endpoint, contract, settings=self._settings, limits=self._limits, tls=self._tls)


class _Nothing(asyncio.Protocol):
    """A connection on which nothing is said."""

    _transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _described(info: object, endpoint: Endpoint) -> tuple[Instance, int]:
    """What it says, at the endpoint at which it said so: its others may be another host's."""
    assert isinstance(info, Mapping)  # the protocol's record
    try:
        said = from_info({**info, "endpoint": str(endpoint), "endpoints": []}, "")
    except ConfigError as error:
        raise CallError(Code.UNAVAILABLE, f"{endpoint}: {error}", started=False) from None
    return said, info["revision"]
