"""SPLNodeService: the mesh as this node knows it."""

import asyncio
import time
import typing
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from splnode.avro.compatibility import Verdict
from splnode.avro.protocol import Protocol
from splnode.discovery.doctor import Finding
from splnode.discovery.registry import Registry
from splnode.discovery.resolver import Board, Instance
from splnode.discovery.roster import Roster
from splnode.discovery.verdicts import Verdicts
from splnode.errors import CallError, Code, ConfigError, DeclaredError
from splnode.rpc.call import LONGEST
from splnode.rpc.client import Client
from splnode.services.node_info import STATES, from_info, to_info
from splnode.services.watching import seconds_to_wait

CHECKING: Final = 1.0
"""Seconds in which the nodes of a list are looked at."""
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
    client of this node's own SPLExecuteService.
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
        try:
            return await mesh.execute(found[0], request, seconds)
        except CallError as error:
            if error.code is Code.UNAVAILABLE and not error.started:
                raise NodeError(code="UNREACHABLE", message=error.message) from None
            raise

    async def diagnose(self) -> list[dict[str, str]]:
        """What the doctor finds."""
        return [finding._asdict() for finding in await self._mesh.diagnose()]

    async def _self(self) -> dict[str, Any]:
        mesh, now = self._mesh, time.time_ns() // 1_000_000
        own = next(iter(mesh.own.present), Instance((), ""))
        return to_info(
            own,
            availableModules=await mesh.modules(),
            lastHeartbeat=now,
            load=mesh.load(),
            self=True,
            time=now,
            revision=mesh.own.revision,
        )

    async def _all(self) -> list[dict[str, Any]]:
        roster, now = self._mesh.roster, time.time()
        others = []
        for each in sorted(roster.present, key=_by_id):
            age = roster.age(each)
            lie = self._lies(each)
            heartbeat = 0 if age is None else int((now - age) * 1000)
            others.append(to_info(each, lastHeartbeat=heartbeat, problem=each.problem or lie))
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
        return {
            "service": name,
            "nodeId": instance.node,
            "endpoint": str(instance.addresses[0].endpoint) if instance.addresses else "",
            "sources": [source for source in instance.sources if source],
            "version": service.version if service is not None else "",
            "fit": fit(verdicts),
            "reasons": [f"{message}: {each}" for message, each in (verdicts or {}).items() if not each.fits],
            "state": STATES[instance.state],
            "weight": instance.weight,
            "load": mesh.load() if instance is own else None,
            "problem": instance.problem or trouble,
        }


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


def _by_id(instance: Instance) -> tuple[str, int, str]:
    return instance.node, instance.epoch, str(instance.endpoints[0])
