"""All that lets a node find others and be found, built from its config."""

import asyncio
import time
import typing
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from splnode.avro.protocol import Protocol
from splnode.config import Config, runtime_directory
from splnode.discovery.dns import Dns
from splnode.discovery.doctor import Finding, Network, diagnose
from splnode.discovery.file import File
from splnode.discovery.liveness import Pace
from splnode.discovery.registry import Registry
from splnode.discovery.resolver import Address, Announcer, Board, Instance, Resolver, Service
from splnode.discovery.roster import Roster
from splnode.discovery.same_host import SameHost
from splnode.discovery.static import Static, peers_from_environment
from splnode.discovery.verdicts import Verdicts
from splnode.endpoint import Endpoint
from splnode.net.securing import Securing
from splnode.rpc.call import Call
from splnode.rpc.channel import Channel
from splnode.rpc.client import Client
from splnode.services.nodes import Mesh, NodeService
from splnode.services.own import load_resolver
from splnode.services.peers import Peers, service_of
from splnode.services.relay import Relay

SIGNS: Final = "splnode-nodes"
"""The folder, beside the user's sockets, in which nodes of one host find each other's."""
AGAIN: Final = 5.0
"""Seconds after which it is announced again where that failed."""
LONGEST: Final = 3600.0
"""Seconds after which it is announced again where nothing has changed."""
PARTING: Final = 2.0
"""Seconds that each announcer has for its goodbye."""

log = structlog.get_logger("splnode.discovery")


class Multicast(Resolver, Announcer, Network, typing.Protocol):
    """What is needed of splnode.discovery.mdns, whose import takes a tenth of a second."""

    async def start(self) -> None:
        """Begins to listen."""
        ...

    async def close(self) -> None:
        """Says goodbye."""
        ...


class MeshMember:
    """One node's part in the mesh: what it knows of others (`roster`, `verdicts`) and what it tells them.

    `service` implements SPLNodeService; calls that it passes on go to `channel`. `start` it when the node listens,
    `change` it when it serves something else, `leave` when it drains, `close` it in the end. ConfigError if the config
    names peers that cannot be. `resolvers` are sources of other nodes besides those of the config, and announcers.
    `check_up` tells, in a thread, what is to be said of this host alone.
    """

    def __init__(  # noqa: PLR0913 - what it needs of the node, each by its name
        self,
        config: Config,
        *,
        protocols: Callable[[], Iterable[Protocol]],
        load: Callable[[], float],
        modules: Callable[[], Awaitable[list[str]]],
        local: Client,
        channel: Channel,
        channels: Callable[[], list[dict[str, Any]]] = list,
        loads: Callable[[], Mapping[str, float]] = dict,
        in_use: Callable[[], Collection[str]] = tuple,
        resolvers: Iterable[Resolver | Announcer] = (),
        tls: Securing | None = None,
        judge: Callable[[Call], None] = lambda _call: None,
        check_up: Callable[[], list[Finding]] = list,
    ) -> None:
        self._check_up = check_up
        self._weight = config.discovery.weight
        self._protocols = protocols
        self._own = Board()
        self._described: dict[bytes, Service] = {}  # by the MD5 of the text
        self._peers = Peers(config.channels, config.limits, tls)
        self._registry = Registry()
        self._mdns = _multicast(config)
        self._announcing: list[asyncio.Task[None]] = []
        self.verdicts = Verdicts(self._peers.protocol)
        given: list[Any] = [*resolvers, *map(load_resolver, config.discovery.resolvers)]
        given += [self._mdns] if self._mdns is not None else []
        self._announcers: list[Announcer] = [each for each in given if hasattr(each, "announce")]
        sources = [each for each in given if hasattr(each, "watch")]
        signs = SameHost(runtime_directory() / SIGNS, self._peers.life)
        self._same_host = signs if config.discovery.same_host else None
        settings = config.discovery
        self.roster = Roster(
            [*_resolvers(config, tls), *sources, self._registry],
            self._peers.follow,
            self._peers.reach,
            signs.nearer if self._same_host else lambda each: each,
            Pace(settings.check_interval, settings.check_strikes, settings.check_rate, settings.gone_seconds),
            in_use,
        )
        signs.changed = self.roster.post
        mesh = Mesh(
            own=self._own,
            roster=self.roster,
            registry=self._registry,
            verdicts=self.verdicts,
            protocols=protocols,
            load=load,
            modules=modules,
            diagnose=self.diagnose,
            execute=self._peers.execute,
            local=local,
            relay=Relay(channel, config.limits),
            channels=channels,
            loads=loads,
            judge=judge,
        )
        self.service = NodeService(mesh)

    @property
    def own(self) -> Instance | None:
        """This node as it describes itself; None before `start`."""
        return self.roster.own

    async def start(self, node: str, endpoints: Sequence[Endpoint]) -> None:
        """Listens for others, and tells them where this node is; telling goes on after this has returned."""
        epoch = time.time_ns() // 1_000_000
        addresses = tuple(Address(endpoint, "") for endpoint in endpoints)
        if self._same_host is not None:  # before anybody hears of this node, and looks for its socket
            problem = await asyncio.to_thread(self._same_host.put_up, node, epoch, endpoints)
            if problem:
                log.warning("others on this host call this node over TCP", reason=problem)
        self._become(Instance(addresses, node, epoch, self._services(), weight=self._weight))
        if self._mdns is not None:
            await self._mdns.start()
        self._announcing = [asyncio.create_task(self._announce(each)) for each in self._announcers]
        self.roster.start()

    def change(self) -> None:
        """The node serves something else than before."""
        if self.own is not None:
            self._become(msgspec.structs.replace(self.own, services=self._services()))

    def leave(self) -> None:
        """The node drains: whoever watches it or hears it knows at once."""
        if self.own is not None:
            self._become(msgspec.structs.replace(self.own, state="drain"))

    async def goodbye(self) -> None:
        """Tells those that were told where this node is that it goes."""
        tasks, self._announcing = self._announcing, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=PARTING)
            await asyncio.wait([asyncio.create_task(_withdraw(each)) for each in self._announcers])

    def end(self) -> None:
        """Nothing changes any more: whoever watches is answered now, and keeps no node from stopping."""
        self._own.close()

    async def close(self) -> None:
        """Says goodbye, and knows nobody any more. May be repeated."""
        self.end()
        await self.goodbye()
        if self._same_host is not None:
            await self._same_host.close()
        await self.roster.close()
        if self._mdns is not None:
            await self._mdns.close()
        self._registry.close()
        await self.verdicts.close()

    async def diagnose(self) -> list[Finding]:
        """Why others do not find this node, or this node not them."""
        listening = self.own.endpoints if self.own is not None else ()
        return await diagnose(self._mdns, self.roster, listening, self._peers.reach, self._clock, self._check_up)

    async def _clock(self, endpoint: Endpoint) -> float:
        info = await self._peers.describe(endpoint)
        said: Any = info.get("time", 0)
        return float(said) / 1000

    def _become(self, own: Instance) -> None:
        self.roster.own = own
        self._own.post([own])

    def _services(self) -> tuple[Service, ...]:
        found = []
        for protocol in self._protocols():
            service = self._described.get(protocol.md5)
            if service is None:
                service = self._described[protocol.md5] = service_of(protocol)
            found.append(service)
        return tuple(sorted(found, key=lambda service: service.name))

    async def _announce(self, announcer: Announcer) -> None:
        """Says how this node is, whenever that has changed."""
        while not self._own.closed:
            known = self._own.revision
            try:
                if self.own is not None and self.own.services:
                    await announcer.announce(self.own)
                wait = LONGEST
            except Exception as error:  # the node serves those who find it otherwise
                log.error("not announced", by=_name(announcer), seconds=AGAIN, exc_info=error)
                wait = AGAIN
            await self._own.changed(known, wait)


async def _withdraw(announcer: Announcer) -> None:
    try:
        async with asyncio.timeout(PARTING):
            await announcer.withdraw()
    except Exception as error:  # somebody else's code, or his network: the node stops all the same
        log.error("no goodbye", by=_name(announcer), exc_info=error)


def _name(announcer: Announcer) -> str:
    return str(getattr(announcer, "name", type(announcer).__name__))


def _resolvers(config: Config, tls: Securing | None) -> list[Resolver]:
    settings = config.discovery
    found: list[Resolver] = []
    peers = [*settings.peers, *peers_from_environment()]
    if peers and tls is not None:
        peers = [str(tls.dialled(Endpoint.parse(each))) for each in peers]
    if peers:
        found.append(Static(peers))
    if settings.file:
        found.append(File(Path(settings.file).expanduser()))
    return [*found, *(Dns(name) for name in settings.dns)]


def _multicast(config: Config) -> Multicast | None:
    settings = config.discovery
    exposed = any(not endpoint.is_local for endpoint in config.node.endpoints)
    if settings.mdns == "off" or (settings.mdns == "auto" and not exposed):
        return None
    from splnode.discovery.mdns import Mdns  # noqa: PLC0415 - see Multicast

    return Mdns(settings.interfaces)
