"""One connection of the shell: found, dialled, shaken hands on; and what its server serves.

A command makes few calls and ends, so nothing reconnects behind its back: it holds a plain connection, and a
stream of calls dials again when that is lost.
"""

import asyncio
import contextlib
import json
import time
import typing
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from splnode.avro.protocol import Protocol
from splnode.cli.failure import NoEndpointError, UsageError
from splnode.cli.phases import Phases
from splnode.cli.target import Target
from splnode.config import ChannelsConfig
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code
from splnode.net.connect import open_transport
from splnode.net.connection import ClientConnection
from splnode.rpc.call import Call
from splnode.rpc.client import Client
from splnode.wire.client import ClientSession
from splnode.wire.message import Contract

REFLECTION: Final = "splnode.Reflection"
HEALTH: Final = "splnode.Health"
METRICS: Final = "splnode.Metrics"
T = typing.TypeVar("T")

SETTINGS: Final = ChannelsConfig()


class Carrier(typing.Protocol):
    """A Channel that says whether it still has its connection."""

    @property
    def is_open(self) -> bool:
        """True while calls can be sent."""
        ...

    async def call(self, call: Call) -> object:
        """Carries one call."""
        ...

    async def close(self) -> None:
        """Closes the connection."""
        ...


class Dialled:
    """A connection that stands: where to, over what, and the protocol that its server showed (not over HTTP)."""

    def __init__(self, endpoint: Endpoint, channel: Carrier, contract: Contract, server: Protocol | None) -> None:
        self.endpoint = endpoint
        self.channel = channel
        self.contract = contract
        self.server = server

    def client(self, timeout: float) -> Client:
        """A Client over it."""
        return Client(self.channel, self.contract, timeout=timeout)


def load_protocol(file: str) -> Protocol:
    """The protocol of `--protocol FILE`. UsageError if it cannot be read, SchemaError if it is malformed."""
    try:
        text = Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"--protocol {file}: it cannot be read: {error.strerror}") from None
    return Protocol.parse(text, source=file)


async def dial(endpoint: Endpoint, contract: Contract, timeout: float, phases: Phases | None = None) -> Dialled:
    """Connects and shakes hands within `timeout` seconds; the caller closes the channel.

    CallError(UNAVAILABLE) says why not.
    """
    phases = phases or Phases()
    until = time.monotonic() + timeout
    if endpoint.framing == "http":
        from splnode.net.http_client import HttpPool

        pool = HttpPool(endpoint, contract, SETTINGS, contract.limits)
        with phases.phase("dial", str(endpoint)):
            await _within(until, endpoint, pool.connect(), pool.close)
        return Dialled(endpoint, pool, contract, None)
    session = ClientSession(contract, framing=endpoint.framing or "netty", limits=contract.limits)
    with phases.phase("dial", str(endpoint)):
        connection = await open_transport(
            endpoint, lambda: ClientConnection(session, endpoint, SETTINGS, lambda reason: None), timeout
        )
    with phases.phase("handshake", contract.protocol.name):
        await _within(until, endpoint, connection.ready(), connection.close)
    return Dialled(endpoint, connection, contract, session.server)


async def _within(until: float, endpoint: Endpoint, step: Any, undo: Callable[[], Any]) -> None:
    try:
        async with asyncio.timeout(max(0.0, until - time.monotonic())):
            await step
    except TimeoutError:
        await undo()
        framing = endpoint.framing or "netty"
        asked = f"does it speak Avro in {framing} framing? There are also ?framing=spec and sasl"
        text = f"{endpoint}: connected, but there was no handshake in time; {asked}"
        raise CallError(Code.UNAVAILABLE, text, started=False) from None
    except BaseException:
        await undo()
        raise


async def dial_first(target: Target, contract: Contract, phases: Phases | None = None) -> Dialled:
    """A connection to the first endpoint of the target that lets itself be connected to. NoEndpointError."""
    return await first_of(target, lambda endpoint: dial(endpoint, contract, target.connect_timeout, phases))


async def first_of(target: Target, attempt: Callable[[Endpoint], Awaitable[T]]) -> T:
    """What the first attempt gives that is not UNAVAILABLE. NoEndpointError says of each endpoint why it was."""
    reasons = []
    for endpoint in target.endpoints:
        try:
            return await attempt(endpoint)
        except CallError as error:
            if error.code is not Code.UNAVAILABLE:
                raise
            reasons.append(error.message)
    if len(reasons) == 1:
        raise NoEndpointError(reasons[0])
    raise NoEndpointError("\n  ".join(["no node can be reached:", *reasons, "start one with: splnode serve"]))


@asynccontextmanager
async def connected(
    target: Target, contract: Contract | Protocol, phases: Phases | None = None
) -> AsyncIterator[Dialled]:
    """`dial_first`, closed on leaving."""
    contract = contract if isinstance(contract, Contract) else Contract(contract)
    dialled = await dial_first(target, contract, phases)
    try:
        yield dialled
    finally:
        await dialled.channel.close()


async def discover(target: Target, service: str, phases: Phases | None = None) -> tuple[Endpoint, Protocol]:
    """The protocol that a server shows to who asks for `service`: that one, or what else it has. NoEndpointError.

    Nobody is called with a protocol that it has not shown: some servers (avsc's) take that for a fault and log it.
    """
    contract = Contract(_empty(service))
    async with connected(target, contract, phases) as dialled:
        return dialled.endpoint, dialled.server or await _discover_http(dialled)


async def find(target: Target, service: str, phases: Phases | None = None) -> tuple[Endpoint, Protocol]:
    """Who serves `service` (a full or short name), and its protocol as that server wrote it. NoEndpointError."""
    phases = phases or Phases()
    with phases.phase("discover", service):
        endpoint, server = await discover(target, service)
    if not names(service, server):
        raise await _not_here(target.at(endpoint), service, server)
    phases.note(f"{server.name} at {endpoint}, md5 {server.md5.hex()}")
    return endpoint, server


@asynccontextmanager
async def service(target: Target, name: str) -> AsyncIterator[Client]:
    """A Client of a service of the target, which speaks the protocol that the server shows. NoEndpointError."""
    endpoint, protocol = await find(target, name)
    async with connected(target.at(endpoint), protocol) as dialled:
        yield dialled.client(target.max_time)


def names(service: str, protocol: Protocol) -> bool:
    """Whether a person who writes `service` means that protocol: its full name, or its short one."""
    return service in (protocol.name, protocol.short_name)


async def listing(target: Target) -> list[dict[str, Any]]:
    """What is served: `name`, `doc` and `messages` of each protocol.

    A peer without splnode.Reflection has one protocol, the one that it shows. NoEndpointError.
    """
    endpoint, server = await discover(target, REFLECTION)
    if server.name != REFLECTION:
        return [{"name": server.name, "doc": server.doc, "messages": list(server.messages)}]
    async with connected(target.at(endpoint), server) as dialled:
        found = await dialled.client(target.max_time).call("listProtocols", {})
    return list(found) if isinstance(found, list) else []


async def _not_here(target: Target, service: str, server: Protocol) -> NoEndpointError:
    served = [server.name]
    # What the handshake showed may be all there is to tell.
    with contextlib.suppress(CallError, NoEndpointError):
        served = [each["name"] for each in await listing(target)]
    import difflib

    near = difflib.get_close_matches(service, served, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return NoEndpointError(
        f"{target.endpoints[0]} does not serve {service}{hint}; it serves {', '.join(sorted(served))}"
    )


async def _discover_http(dialled: Dialled) -> Protocol:
    from splnode.net.http_client import HttpPool

    assert isinstance(dialled.channel, HttpPool)
    return await dialled.channel.discover()


def _empty(service: str) -> Protocol:
    """A protocol without messages: whoever comes with it gets the server's own text."""
    namespace, _, short = service.rpartition(".")
    document = {"protocol": short or "Discovery", "types": [], "messages": {}}
    return Protocol.parse(json.dumps(document | ({"namespace": namespace} if namespace else {})))


def split_name(text: str) -> tuple[str, str]:
    """`SERVICE.MESSAGE` at its last dot. UsageError."""
    service, _, message = text.rpartition(".")
    if not service or not message:
        raise UsageError(f"{text!r}: a message is named SERVICE.MESSAGE, like SPLDataService.read")
    return service, message
