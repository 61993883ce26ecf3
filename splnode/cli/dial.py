"""One connection of the shell: found, dialled, shaken hands on; and what its server serves.

Commands make one call after another, so they block: a loop and its imports would cost more than the call.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from splnode.avro.protocol import Message, Protocol
from splnode.cli.failure import NoEndpointError, UsageError
from splnode.cli.phases import Phases
from splnode.cli.target import Target
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code, DeclaredError
from splnode.net.blocking import BlockingChannel, channel_to
from splnode.net.carrier import Carrier
from splnode.net.securing import Securing
from splnode.sync import Client
from splnode.wire.greeting import nameless
from splnode.wire.message import Contract

REFLECTION: Final = "splnode.Reflection"
HEALTH: Final = "splnode.Health"
METRICS: Final = "splnode.Metrics"
NODE: Final = "SPLNodeService"
T = TypeVar("T")


class NotServedError(NoEndpointError):
    """Who answers lacks the service; `elsewhere`: it may know who has it."""

    def __init__(self, text: str, *, elsewhere: bool = False) -> None:
        super().__init__(text)
        self.elsewhere = elsewhere


class Dialled:
    """A connection that stands: where to, over what, and the protocol that its server showed (not over HTTP)."""

    def __init__(self, endpoint: Endpoint, channel: Carrier, contract: Contract) -> None:
        self.endpoint = endpoint
        self.channel = channel
        self.contract = contract
        self.server = channel.server
        self.metadata: Mapping[str, bytes] = {}

    def client(self, timeout: float) -> Client:
        """A Client over it, whose calls all have its `metadata`."""
        return Client(self.channel, self.contract, timeout=timeout, metadata=self.metadata)


def load_protocol(file: str) -> Protocol:
    """The protocol of `--protocol FILE`. UsageError if it cannot be read, SchemaError if it is malformed."""
    try:
        with open(file, "rb") as opened:  # noqa: PTH123 - pathlib costs the shell 3 ms
            text = opened.read()
    except OSError as error:
        raise UsageError(f"--protocol {file}: it cannot be read: {error.strerror}") from None
    return Protocol.parse(text, source=file)


def dial(
    endpoint: Endpoint, contract: Contract, timeout: float, phases: Phases | None = None, tls: Securing | None = None
) -> Dialled:
    """Connects and shakes hands within `timeout` seconds; the caller closes the channel.

    CallError(UNAVAILABLE) says why not.
    """
    phases = phases or Phases()
    until = time.monotonic() + timeout
    channel = channel_to(endpoint, contract, timeout, tls)
    with phases.phase("dial", str(endpoint)):
        channel.dial(until)
    if isinstance(channel, BlockingChannel):
        try:
            with phases.phase("handshake", contract.protocol.name):
                channel.greet(until)
        except CallError as error:
            if error.code is not Code.UNAVAILABLE or time.monotonic() < until:
                raise
            framing = endpoint.framing or "netty"
            asked = f"does it speak Avro in {framing} framing? There are also ?framing=spec and sasl"
            text = f"{endpoint}: connected, but there was no handshake in time; {asked}"
            raise CallError(Code.UNAVAILABLE, text, started=False) from None
    return Dialled(endpoint, channel, contract)


def dial_first(target: Target, contract: Contract, phases: Phases | None = None) -> Dialled:
    """A connection to the first endpoint of the target that lets itself be connected to. NoEndpointError."""
    found = first_of(target, lambda endpoint: dial(endpoint, contract, target.connect_timeout, phases, target.tls))
    found.metadata = target.token.direct(found.endpoint)
    return found


def first_of(target: Target, attempt: Callable[[Endpoint], T]) -> T:
    """What the first attempt gives that is not UNAVAILABLE. NoEndpointError says of each endpoint why it was."""
    reasons = []
    for endpoint in target.endpoints:
        try:
            return attempt(endpoint)
        except CallError as error:
            if error.code is not Code.UNAVAILABLE:
                raise
            reasons.append(error.message)
    if len(reasons) == 1:
        raise NoEndpointError(reasons[0])
    raise NoEndpointError("\n  ".join(["no node can be reached:", *reasons, "start one with: splnode serve"]))


@contextmanager
def connected(target: Target, contract: Contract | Protocol, phases: Phases | None = None) -> Iterator[Dialled]:
    """`dial_first`, closed on leaving."""
    contract = contract if isinstance(contract, Contract) else Contract(contract)
    dialled = dial_first(target, contract, phases)
    try:
        yield dialled
    finally:
        dialled.channel.close()


def discover(target: Target, service: str, phases: Phases | None = None) -> tuple[Endpoint, Protocol]:
    """The protocol that a server shows to who asks for `service`: that one, or what else it has. NoEndpointError.

    Nobody is called with a protocol that it has not shown: some servers (avsc's) take that for a fault and log it.
    """
    contract = Contract(nameless(service))
    with connected(target, contract, phases) as dialled:
        return dialled.endpoint, dialled.server or _discover_http(dialled, target.connect_timeout)


def find(target: Target, service: str, phases: Phases | None = None) -> tuple[Endpoint, Protocol]:
    """Who serves `service` (a full or short name), and its protocol as that server wrote it. NoEndpointError."""
    phases = phases or Phases()
    with phases.phase("discover", service):
        endpoint, server = discover(target, service)
    if not names(service, server):
        raise _not_here(target.at(endpoint), service, server)
    phases.note(f"{server.name} at {endpoint}, md5 {server.md5.hex()}")
    return endpoint, server


def protocol_of(target: Target, name: str) -> Protocol:
    """The protocol of a service as whoever serves it has it: the server that answers, or a node that it knows of.

    NoEndpointError.
    """
    try:
        return find(target, name)[1]
    except NotServedError as error:
        if not error.elsewhere:
            raise
        try:
            with service(target, NODE) as client:
                return Protocol.parse(str(client.call("findProtocol", {"service": name})), referee=False)
        except DeclaredError as unknown:
            raise NoEndpointError(f"{error}; {unknown.value['message']}") from None


@contextmanager
def service(target: Target, name: str) -> Iterator[Client]:
    """A Client of a service of the target, which speaks the protocol that the server shows. NoEndpointError."""
    endpoint, protocol = find(target, name)
    with connected(target.at(endpoint), protocol) as dialled:
        yield dialled.client(target.max_time)


def names(service: str, protocol: Protocol) -> bool:
    """Whether a person who writes `service` means that protocol: its full name, or its short one."""
    return service in (protocol.name, protocol.short_name)


def listing(target: Target) -> list[dict[str, Any]]:
    """What is served: `name`, `doc` and `messages` of each protocol.

    A peer without splnode.Reflection has one protocol, the one that it shows. NoEndpointError.
    """
    endpoint, server = discover(target, REFLECTION)
    if server.name != REFLECTION:
        return [{"name": server.name, "doc": server.doc, "messages": list(server.messages)}]
    with connected(target.at(endpoint), server) as dialled:
        found = dialled.client(target.max_time).call("listProtocols", {})
    return list(found) if isinstance(found, list) else []


def _not_here(target: Target, service: str, server: Protocol) -> NotServedError:
    served = [server.name]
    # What the handshake showed may be all there is to tell.
    with contextlib.suppress(CallError, NoEndpointError):
        served = [each["name"] for each in listing(target)]
    import difflib

    near = difflib.get_close_matches(service, served, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return NotServedError(
        f"{target.endpoints[0]} does not serve {service}{hint}; it serves {', '.join(sorted(served))}",
        elsewhere=NODE in served,
    )


def _discover_http(dialled: Dialled, timeout: float) -> Protocol:
    from splnode.net.blocking_http import BlockingHttpChannel

    assert isinstance(dialled.channel, BlockingHttpChannel)
    return dialled.channel.discover(time.monotonic() + timeout)


def split_name(text: str) -> tuple[str, str]:
    """`SERVICE.MESSAGE` at its last dot. UsageError."""
    service, _, message = text.rpartition(".")
    if not service or not message:
        raise UsageError(f"{text!r}: a message is named SERVICE.MESSAGE, like SPLDataService.read")
    return service, message


def message_of(protocol: Protocol, name: str) -> Message:
    """A message of a protocol. CallError(UNIMPLEMENTED) names the nearest one."""
    found = protocol.messages.get(name)
    if found is not None:
        return found
    import difflib

    near = difflib.get_close_matches(name, protocol.messages, n=1)
    hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(protocol.messages) or 'none'}"
    raise CallError(Code.UNIMPLEMENTED, f"{protocol.name} has no message {name!r}; {hint}", started=False)
