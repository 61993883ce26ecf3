"""SPLNodeService: the mesh as this node knows it."""

import asyncio
import difflib
import time
import typing
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from splnode.avro.compatibility import Verdict
from splnode.avro.protocol import Protocol
from splnode.discovery.doctor import Finding
from splnode.discovery.registry import Registry
from splnode.discovery.resolver import Board, Instance
from splnode.discovery.roster import Roster
from splnode.discovery.verdicts import Verdicts
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code, ConfigError, DeclaredError
from splnode.rpc.call import LONGEST, Call, serving
from splnode.rpc.client import Client
from splnode.rpc.route import Route
from splnode.services.node_info import STATES, from_info, to_info
from splnode.services.relay import Relay
from splnode.services.watching import seconds_to_wait

CHECKING: Final = 1.2
"""Seconds in which the nodes of a list are looked at: a little more than one has to let itself be connected to."""
SEARCHING: Final = 1.5
"""Seconds in which a node that serves something makes itself known."""
SETTLED: Final = 5.0
"""Seconds after its start when a node knows the others: what is not known then is not waited for."""
COMPARING: Final = 3.0
"""Seconds in which nodes are asked for their versions."""
NAME: Final = 63


class NodeError(DeclaredError):
    """It could not be done: fields `code` (a symbol of NodeFault) and `message`."""


class Execute(typing.Protocol):
    """Runs a module on a given node."""

    async def __call__(self, instance: Instance, request: Mapping[str, Any], timeout: float) -> object:
        """What SPLExecuteService.execute gives there. CallError, ExecutionError."""
        ...


class Mesh(typing.NamedTuple):
    """What the service needs of the node it belongs to.

    `own` has this node, `protocols` gives those it serves, `load` the calls that run as a part of those that may,
    `modules` the URIs of its modules, `diagnose` what is wrong; `execute` runs a module elsewhere, `local` is the
    client of its own SPLExecuteService. `relay` calls elsewhere, `channels` tells of the ways there, `loads` what
    nodes have said of their load, by id. `judge` raises for a call that whom is served may not make.
    """

    own: Board
    roster: Roster
    registry: Registry
    verdicts: Verdicts
    protocols: Callable[[], Iterable[Protocol]]
    load: Callable[[], float]
    modules: Callable[[], Awaitable[list[str]]]
    diagnose: Callable[[], Awaitable[list[Finding]]]
    execute: Execute
    local: Client
    relay: Relay
    channels: Callable[[], list[dict[str, Any]]] = list
    loads: Callable[[], Mapping[str, float]] = dict
    judge: Callable[[Call], None] = lambda _call: None


class NodeService:
    """Implements SPLNodeService."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh

    async def getNode(  # noqa: N802 - the protocol's word
        self,
        revision: int | None = None,
        timeoutMs: int = 10_000,  # noqa: N803 - the protocol's word
    ) -> dict[str, Any]:
        """This node."""
        if revision is not None:
            await self._mesh.own.changed(revision, seconds_to_wait(timeoutMs))
        return await self._self()

    async def listNodes(self) -> list[dict[str, Any]]:  # noqa: N802 - the protocol's word
        """All nodes, those looked at that were only heard of."""
        await self._mesh.roster.check(min(CHECKING, seconds_to_wait(int(CHECKING * 1000))))
        return await self._all()

    async def watchNodes(  # noqa: N802 - the protocol's word
        self,
        revision: int | None = None,
        timeoutMs: int = 10_000,  # noqa: N803 - the protocol's word
    ) -> dict[str, Any]:
        """All nodes, once that is another list."""
        mesh = self._mesh
        if revision is not None:
            seconds = seconds_to_wait(timeoutMs)
            if mesh.roster.revision + mesh.own.revision == revision:
                waits = [
                    asyncio.ensure_future(each.changed(each.revision, seconds)) for each in (mesh.roster, mesh.own)
                ]
                try:
                    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for wait in waits:
                        wait.cancel()
        present = mesh.roster.revision + mesh.own.revision
        return {"revision": present, "nodes": await self._all()}

    async def listServices(self, service: str | None = None) -> list[dict[str, Any]]:  # noqa: N802 - the protocol's word
        """Which node serves what, compared with our own version, or the one that most others have."""
        mesh = self._mesh
        await mesh.roster.check(min(CHECKING, seconds_to_wait(int(CHECKING * 1000))))
        own = next(iter(mesh.own.present), None)
        instances = [*([own] if own else []), *sorted(mesh.roster.present, key=_by_id)]
        names = {each.name for instance in instances for each in instance.services or ()}
        wanted = sorted(name for name in names if service in (None, name, name.rpartition(".")[2]))
        ours = {protocol.name: protocol for protocol in mesh.protocols()}
        until = time.monotonic() + min(COMPARING, max(0.0, seconds_to_wait(int(COMPARING * 1000))))
        rows = []
        for name in wanted:
            those = [each for each in instances if each.service(name) is not None]
            against = ours.get(name) or await self._reference(name, those, until)
            for instance in those:
                rows.append(await self._offer(name, instance, against, until, own))
        return rows

    async def registerNode(self, node: Mapping[str, Any]) -> None:  # noqa: N802 - the protocol's word
        """Keeps it until EXPIRY after its last heartbeat."""
        try:
            instance = from_info(node, Registry.name)
        except ConfigError as error:
            raise NodeError(code="INVALID", message=str(error)) from None
        if not instance.node or len(instance.node) > NAME or not instance.node.isprintable():
            raise NodeError(code="INVALID", message=f"nodeId {instance.node[:80]!r}: an id has 1 to {NAME} letters")
        unix = [each for each in instance.endpoints if each.scheme == "unix"]
        if unix:
            raise NodeError(code="INVALID", message=f"{unix[0]}: a node is registered where other hosts reach it")
        if not self._mesh.registry.register(instance):
            raise NodeError(code="FULL", message=f"{instance.node} is one too many: no other node can be registered")

    def heartbeat(self, nodeId: str) -> bool:  # noqa: N803 - the protocol's word
        """Whether it is registered."""
        return self._mesh.registry.heartbeat(nodeId)

    async def executeRemote(  # noqa: N802 - the protocol's word
        self,
        request: Mapping[str, Any],
        targetNode: str | None = None,  # noqa: N803 - the protocol's word
        timeout: int | None = None,
    ) -> object:
        """Runs it there, or where the router says; ExecutionError comes from there."""
        mesh = self._mesh
        seconds = LONGEST if timeout is None else max(timeout, 0) / 1000
        own = next(iter(mesh.own.present), None)
        if targetNode is None or (own and targetNode in (own.node, *map(str, own.endpoints))):
            return await mesh.local.call("execute", {"request": request}, timeout=seconds)
        found = mesh.roster.find(targetNode)
        if not found:
            known = sorted(each.node or str(each.endpoints[0]) for each in mesh.roster.present)
            names = ", ".join(known[:20]) or "none"
            raise NodeError(code="NOT_FOUND", message=f"no node {targetNode[:200]!r} is known; there are {names}")
        mesh.judge(mesh.local.prepare("execute", {"request": request}))  # there it comes from a member of the mesh
        try:
            return await mesh.execute(found[0], request, seconds)
        except CallError as error:
            if error.code is Code.UNAVAILABLE and not error.started:
                raise NodeError(code="UNREACHABLE", message=error.message) from None
            raise

    async def findProtocol(self, service: str) -> str:  # noqa: N802 - the protocol's word
        """Its text."""
        for protocol in self._mesh.protocols():
            if service in (protocol.name, protocol.short_name):
                return protocol.text
        own = next(iter(self._mesh.own.present), None)
        young = SETTLED if own is None else own.epoch / 1000 + SETTLED - time.time()
        searching = min(SEARCHING, young, seconds_to_wait(int(SEARCHING * 1000)))
        names = await self._named(service, time.monotonic() + searching)
        if len(names) == 1:
            those = [each for each in self._mesh.roster.present if each.service(names[0]) is not None]
            found = await self._reference(names[0], those, time.monotonic() + COMPARING)
            if found is not None:
                return found.text
            raise NodeError(code="UNREACHABLE", message=self._untold(names[0], those))
        if names:
            raise NodeError(code="NOT_FOUND", message=f"{service[:200]!r} may be each of {', '.join(names)}")
        raise NodeError(code="NOT_FOUND", message=self._unserved(service))

    async def callRemote(  # noqa: N802 - the protocol's word
        self, protocol: str, message: str, params: bytes, metadata: Mapping[str, bytes], wishes: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Passes it on."""
        try:
            answer = await self._mesh.relay.call(protocol, message, params, metadata, wishes)
        except ValueError as error:
            raise NodeError(code="INVALID", message=str(error)[:2000]) from None
        own = next(iter(self._mesh.own.present), None)
        if own is not None and not answer["node"] and "failure" not in answer:
            answer["node"] = own.node
        return answer

    def listChannels(self) -> list[dict[str, Any]]:  # noqa: N802 - the protocol's word
        """The ways to others."""
        return self._mesh.channels()

    def is_here(self, call: Call) -> bool:
        """Whether a call that names a node or a fingerprint means this node. CallError for a name of several."""
        own, route = next(iter(self._mesh.own.present), None), call.route
        return own is None or (self._is_meant(own, route) and _is_pinned(own, call.contract.protocol.name, route))

    def _is_meant(self, own: Instance, route: Route) -> bool:
        to = route.to
        if to is None or to in (own.node, *map(str, own.endpoints)):
            return True
        if not to or not own.node.startswith(to):
            return False
        others = [each.node for each in self._mesh.roster.present if each.node.startswith(to)]
        if others and to not in others:
            names = ", ".join(sorted({own.node, *others}))
            raise CallError(Code.INVALID_ARGUMENT, f"{to!r} may be each of {names}", started=False)
        return not others

    async def _named(self, service: str, until: float) -> list[str]:
        """The full names that `service` may mean, of what other nodes serve, once one of them does."""
        roster = self._mesh.roster
        while True:
            revision = roster.revision
            served = {each.name for instance in roster.present for each in instance.services or ()}
            if service in served:
                return [service]
            found = sorted(name for name in served if name.rpartition(".")[2] == service)
            left = until - time.monotonic()
            if found or left <= 0:
                return found
            await roster.changed(revision, left)

    def _unserved(self, service: str) -> str:
        roster = self._mesh.roster
        served = {each.name for instance in roster.present for each in instance.services or ()}
        near = difflib.get_close_matches(service, served, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        silent = [f"{each.node or each.endpoints[0]}: {each.problem}" for each in roster.present if each.problem]
        lines = [f"none of the {len(roster.present)} other nodes serves {service[:200]}{hint}", *sorted(silent)[:20]]
        return "\n  ".join(lines)

    def _untold(self, name: str, those: Sequence[Instance]) -> str:
        mesh = self._mesh
        problems = [(each, mesh.roster.standing(each)[1] or mesh.verdicts.trouble(each, name)) for each in those]
        silent = [f"{each.node or each.endpoints[0]}: {problem}" for each, problem in problems if problem]
        head = f"{name}: none of the {len(those)} nodes that serve it tells its protocol"
        return "\n  ".join([head, *sorted(silent)[:20]])

    async def diagnose(self) -> list[dict[str, str]]:
        """What the doctor finds."""
        return [finding._asdict() for finding in await self._mesh.diagnose()]

    async def _self(self) -> dict[str, Any]:
        mesh, now = self._mesh, time.time_ns() // 1_000_000
        own = next(iter(mesh.own.present), Instance((), ""))
        return to_info(
            _told(own),
            availableModules=await mesh.modules(),
            lastHeartbeat=now,
            load=mesh.load(),
            self=True,
            time=now,
            revision=mesh.own.revision,
        )

    async def _all(self) -> list[dict[str, Any]]:
        roster, now, loads = self._mesh.roster, time.time(), self._mesh.loads()
        others = []
        for each in sorted(roster.present, key=_by_id):
            age = roster.age(each)
            lie = self._lies(each)
            heartbeat = 0 if age is None else int((now - age) * 1000)
            load = loads.get(each.node)
            standing, problem = roster.standing(each)
            told = {"state": STATES[standing], "problem": problem or lie}
            others.append(to_info(_told(each), lastHeartbeat=heartbeat, load=load, **told))
        return [await self._self(), *others]

    def _lies(self, instance: Instance) -> str:
        found = (self._mesh.verdicts.lie(instance, service.name) for service in instance.services or ())
        return next((lie for lie in found if lie), "")

    async def _reference(self, name: str, instances: Iterable[Instance], until: float) -> Protocol | None:
        """The version that most of them have, of those that tell it."""
        prints = [each.resolution for instance in instances if (each := instance.service(name)) is not None]
        for instance in sorted(instances, key=lambda each: -prints.count(_print(each, name))):
            found = await _until(until, self._mesh.verdicts.text(name, instance))
            if found is not None:
                return found
        return None

    async def _offer(
        self, name: str, instance: Instance, against: Protocol | None, until: float, own: Instance | None
    ) -> dict[str, Any]:
        mesh, service = self._mesh, instance.service(name)
        verdicts: Mapping[str, Verdict] | None = None
        if against is not None:
            verdicts = mesh.verdicts.known(against, instance)
            if verdicts is None:
                verdicts = await _until(until, mesh.verdicts.of(against, instance))
        trouble = mesh.verdicts.lie(instance, name) or mesh.verdicts.trouble(instance, name)
        standing, problem = (instance.state, "") if instance is own else mesh.roster.standing(instance)
        return {
            "service": name,
            "nodeId": instance.node,
            "endpoint": next((str(each) for each in _told(instance).endpoints), ""),
            "sources": [source for source in instance.sources if source],
            "version": service.version if service is not None else "",
            "fit": fit(verdicts),
            "reasons": [f"{message}: {each}" for message, each in (verdicts or {}).items() if not each.fits],
            "state": STATES[standing],
            "weight": instance.weight,
            "load": mesh.load() if instance is own else mesh.loads().get(instance.node),
            "problem": problem or trouble,
        }


def _told(instance: Instance) -> Instance:
    """What of it is told to whoever asks: a Unix socket only to who is on this host; others can do nothing with it."""
    call = serving()
    if call is None or not call.peer.endpoint.startswith(("tcp://", "tls://")):
        return instance
    addresses = tuple(each for each in instance.addresses if each.endpoint.scheme != "unix")
    if len(addresses) == len(instance.addresses) or Endpoint.parse(call.peer.endpoint).is_local:
        return instance
    return msgspec.structs.replace(instance, addresses=addresses)


def fit(verdicts: Mapping[str, Verdict] | None) -> str:
    """The symbol of Fit for the verdicts on all messages of a protocol."""
    if verdicts is None:
        return "UNKNOWN"
    fits = {verdict.fit for verdict in verdicts.values()}
    if "misfit" in fits:
        return "MISFIT" if fits == {"misfit"} else "PARTLY"
    return "RESOLVED" if "resolved" in fits else "SAME"


T = typing.TypeVar("T")


async def _until(until: float, waiting: Awaitable[T]) -> T | None:
    try:
        async with asyncio.timeout(max(0.0, until - time.monotonic())):
            return await waiting
    except TimeoutError:
        return None


def _print(instance: Instance, name: str) -> bytes:
    service = instance.service(name)
    return service.resolution if service is not None else b""


def _is_pinned(own: Instance, service: str, route: Route) -> bool:
    known = own.service(service)
    return route.pin is None or (known is not None and known.wire.hex().startswith(route.pin.lower()))


def _by_id(instance: Instance) -> tuple[str, int, str]:
    return instance.node, instance.epoch, str(instance.endpoints[0])
