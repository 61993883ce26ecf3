"""The daemon: builds everything from one config, and stops it in order.

Starting: identity, store, services, sockets; then it serves. Stopping, in under half a minute:

1. health says NOT_SERVING; calls go on for `drain_seconds`, so that peers can move away;
2. new calls are refused as not started, so that they move on; what runs has `stop_seconds`;
3. what still runs is cancelled, and has CANCEL_SECONDS to clean up; connections, services and the store are closed.

A body that raises, or is cancelled, goes to the third step at once.
"""

import asyncio
import contextlib
import os
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self
from weakref import WeakValueDictionary

import msgspec
import structlog

from splnode.access.keeper import Keeper
from splnode.avro.codec import engines
from splnode.avro.protocol import Protocol, ProtocolLike, find_protocol
from splnode.balance import report
from splnode.balance.elsewhere import open_elsewhere
from splnode.config import Config, TlsConfig, differences, node_id
from splnode.discovery.resolver import Announcer, Resolver
from splnode.endpoint import Endpoint
from splnode.errors import ConfigError
from splnode.limits import Limits
from splnode.modules.catalogue import Modules
from splnode.net.listener import Listener
from splnode.net.memory import fitted, memory_limit
from splnode.net.tls import Tls
from splnode.net.tls_watch import open_tls, watch_expiry
from splnode.notify import notify
from splnode.observe import logging, metrics
from splnode.observe.leaks import watch_tasks
from splnode.observe.metrics import Family
from splnode.rpc.admission import Admission
from splnode.rpc.call import Peer
from splnode.rpc.client import Client
from splnode.rpc.interceptor import Interceptor
from splnode.rpc.router import Router
from splnode.rpc.server import Server
from splnode.services import own
from splnode.services.checkup import check_up
from splnode.services.data import DataService
from splnode.services.execute import ExecuteService
from splnode.services.figures import VITAL_SERVICES, Figures, settled
from splnode.services.health import HealthService
from splnode.services.mesh import MeshMember
from splnode.services.metrics import MetricsService
from splnode.services.reflection import ReflectionService
from splnode.services.store import Store
from splnode.wire.directory import Directory
from splnode.wire.message import Contract

RELOADABLE: Final = (
    "log.level", "log.format", "admission.running", "admission.queued", "calls.timeout",
    "access.policy", "access.tokens", "access.audit", "access.audit_calls",
)  # fmt: skip

CANCEL_SECONDS: Final = 2.0
"""Seconds in which handlers that were cancelled may still use the services and the store."""

NO_NATIVE: Final = (
    "install a C compiler and Python's headers (Debian: apt-get install gcc python3-dev), then install splnode again"
)

VITAL: Final = 1024
"""Calls of VITAL_SERVICES that may run at the same time; a watch runs for as long as nothing changes."""

log = structlog.get_logger("splnode.node")


class Node:
    """One node. `async with Node(config) as node:` serves from the first line inside, and has stopped after.

    ConfigError if a port is taken, a path cannot be used, a protocol is malformed. `interceptors` see every
    call that reaches a service of this node, in process too; `resolvers` find other nodes, and announce this one,
    besides what the config names. It is entered once.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        interceptors: Sequence[Interceptor] = (),
        resolvers: Sequence[Resolver | Announcer] = (),
    ) -> None:
        self.config = _fitted(config or Config())
        self._resolvers = tuple(resolvers)
        self.id = ""
        self._admission = Admission(self.config.admission.running, self.config.admission.queued)
        # Who asks how the node is must hear it when it is full, and who watches takes no place from those who work.
        self._vital = Admission(VITAL, 0)
        self._interceptors = tuple(interceptors)
        self._router = Router()
        self._spoken: WeakValueDictionary[str, Contract] = WeakValueDictionary()
        self._keeper: Keeper | None = None
        self._tls: Tls | None = None
        self._directory = Directory(default=self.config.node.default_service)
        self._listener: Listener | None = None
        self._figures = Figures(self._admission)
        self._processes = 1  # that share the calls of this node
        self._mesh: MeshMember | None = None
        self._health = HealthService()
        self._stop = asyncio.Event()
        self._closing = contextlib.AsyncExitStack()
        self._entered = False
        self._stopped = False

    @property
    def endpoints(self) -> list[Endpoint]:
        """Where it listens, with the ports that the system chose."""
        return self._listener.endpoints if self._listener is not None else []

    @property
    def services(self) -> tuple[str, ...]:
        """The full names of the protocols that it serves."""
        return self._router.services

    @property
    def mesh(self) -> MeshMember:
        """Its part in the mesh: who the others are, and what they serve. RuntimeError before it is entered."""
        if self._mesh is None:
            raise RuntimeError("a node knows others only once it is entered")
        return self._mesh

    def serve(self, protocol: ProtocolLike, implementation: object) -> None:
        """Serves one more protocol: a Protocol, the path of an `.avpr`, or the name of one that is shipped.

        SchemaError says which messages the implementation does not fit, ConfigError that the name is served already.
        From now on it is listed, healthy, and callable from here and from outside. The node calls the
        implementation's own `close` when it stops.
        """
        found = find_protocol(protocol)
        if found.name in self.services:
            raise ConfigError(f"{found.name} is served already: a node serves one implementation of a protocol")
        server = Server(
            found,
            implementation,
            interceptors=(self._vital if found.name in VITAL_SERVICES else self._admission, *self._interceptors),
            limits=self.config.limits,
            force_codec=self.config.calls.force_codec,
        )
        self._router.add(found.name, server)
        self._directory.add(server.contract)
        self._figures.tallies[found.name] = server.tallies
        self._health.set(found.name, "SERVING")
        if self._mesh is not None:
            self._mesh.change()

    def client(self, protocol: ProtocolLike) -> Client:
        """A Client of a service, wherever it is: in this process it is called without a byte being encoded."""
        found = find_protocol(protocol)
        # One contract for all clients of a text: they share its connections to other nodes as they are.
        contract = self._spoken.get(found.text)
        if contract is None:
            contract = self._spoken[found.text] = Contract(found)
        return Client(self._router, contract, timeout=self.config.calls.timeout)

    def stop(self) -> None:
        """Asks the node to stop; `stopped` returns, and leaving the `async with` drains it."""
        self._stop.set()

    async def stopped(self) -> None:
        """Returns when `stop` was called."""
        await self._stop.wait()

    def reload(self, config: Config) -> None:
        """Takes over what can change while running; says in the log what needs a restart."""
        config = _fitted(config)
        for key, old, new in differences(self.config, config):
            if key in RELOADABLE:
                log.info("setting changed", key=key, old=old, new=new)
            else:
                log.warning("setting needs a restart", key=key, old=old, new=new)
        self._adopt(config)

    def _adopt(self, config: Config) -> None:
        replace = msgspec.structs.replace
        calls = replace(self.config.calls, timeout=config.calls.timeout)
        self.config = replace(
            self.config, log=config.log, admission=config.admission, calls=calls, access=config.access
        )
        self._admission.resize(config.admission.running, config.admission.queued)
        if self._listener is not None:
            self._listener.host.timeout = config.calls.timeout
        if self._keeper is not None:
            self._keeper.reload(config)
        if self._tls is not None:
            self._tls.look()
        logging.configure(config.log.level, config.log.format)

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("a node is entered once: make another")
        self._entered = True
        try:
            await self._start()
        except BaseException:
            await self._closing.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stopped:
            return
        self._stopped = True
        try:
            notify("STOPPING=1")
            if kind is None:
                await self._drain()
        finally:
            self._health.leave()
            self._refuse_calls()
            await self._closing.aclose()
        self._say("stopped")

    async def _start(self) -> None:
        config = self.config
        self.id, self._tls = _identify(config)
        if "native" not in engines():
            log.warning("the native codec engine is missing, the plain one serves: many times slower", fix=NO_NATIVE)
        self._open_access()
        await self._open_services()
        await self._listen()
        if self._mesh is not None:  # a worker has none of its own
            await self._mesh.start(self.id, self.endpoints)
            self._look_after_exposure()
        self._health.set("", "SERVING")
        notify("READY=1")
        self._say("serving", listen=[str(e) for e in self.endpoints], services=list(self.services))

    def _open_access(self, *, audit_all: bool = True) -> None:
        """From now on every call is asked about."""
        keeper = self._keeper = self._figures.keeper = Keeper(self.config, audit_all=audit_all)
        self._closing.callback(keeper.close)
        self._router.obey(keeper.guard)
        keeper.watch()

    async def _open_services(self) -> None:
        """Serves what a node serves. What is to be closed in the end is put on `_closing`."""
        config = self.config
        store = Store.open(config.data_directory, sync=config.data.sync)
        self._closing.push_async_callback(store.close)
        self._closing.push_async_callback(self._router.close)
        data = DataService(store)
        self.serve("SPLDataService", data)
        modules = Modules(
            config.modules_directory,
            data=self.client("SPLDataService"),
            files=config.data_directory / "files",
            workers=config.modules.max_workers,
            kept=config.modules.idle_workers,
            timeout=config.calls.timeout,
        )
        await modules.tidy()
        self.serve("SPLExecuteService", ExecuteService(modules))
        self.serve("splnode.Health", self._health)
        self.serve(
            "splnode.Reflection", ReflectionService(self._protocols, schemas=[data.schema_text, modules.schema_text])
        )
        self.serve("splnode.Metrics", MetricsService(self._metrics))
        mesh = MeshMember(
            config,
            protocols=self._protocols,
            load=self._load,
            modules=modules.uris,
            local=self.client("SPLExecuteService"),
            channel=self._router,
            channels=lambda: report.channels(elsewhere.balancers),
            loads=lambda: report.loads(elsewhere.balancers),
            in_use=lambda: report.in_use(elsewhere.balancers),
            resolvers=self._resolvers,
            judge=self._router.judge,
            tls=self._tls,
            check_up=lambda: check_up(self._tls, self.endpoints, self._keeper),
        )
        self._closing.push_async_callback(mesh.close)
        elsewhere = open_elsewhere(config, mesh.roster, mesh.verdicts, self._tls)
        self._router.elsewhere, self._router.here = elsewhere, mesh.service.is_here
        self._closing.push_async_callback(elsewhere.close)
        self.serve("SPLNodeService", mesh.service)
        self._mesh = mesh
        for spec in config.node.services:
            self.serve(*own.load(spec))

    async def _listen(self) -> None:
        """Lets peers in, from now on."""
        listener = self._new_listener(self.config.limits, self._admission.share)
        for endpoint in self.config.node.endpoints:
            await listener.open(endpoint)

    def _look_after_exposure(self) -> None:
        """Says what is not encrypted, and looks after the certificate of what is."""
        tls = self._tls
        both = tls is not None and tls.plain == "both"
        plain = [str(each) for each in self.endpoints if not each.is_local and (both or not each.is_secure)]
        if plain:
            text = "whoever reaches these ports is a member of the mesh: they are not encrypted, and nobody is asked"
            log.warning(text, listen=plain, fix="give the node a certificate or a mesh key (splnode cert)")
        if tls is not None:
            watching = asyncio.create_task(watch_expiry(tls))
            self._closing.callback(watching.cancel)

    def _new_listener(self, limits: Limits, share: int) -> Listener:
        """The node's own; it is closed in the end."""
        config = self.config
        listener = self._listener = Listener(
            self._router,
            self._directory,
            limits=limits,
            timeout=config.calls.timeout,
            insecure=config.node.insecure,
            share=share,
            tls=self._tls,
        )
        gauge = self._figures.gauge(lambda: self.config.admission.running, self._processes)
        self._directory.load = gauge.text
        self._figures.host = listener.host
        listener.host.pages = {"/metrics": self._metrics_page}
        watching = asyncio.create_task(watch_tasks())
        self._closing.callback(watching.cancel)
        self._closing.push_async_callback(self._settle)
        self._closing.push_async_callback(listener.close)
        return listener

    async def _drain(self) -> None:
        config = self.config.node
        self._say("stopping", drain_seconds=config.drain_seconds, running=self._admission.running)
        self._health.leave()
        if self._mesh is not None:
            self._mesh.leave()
        await asyncio.sleep(config.drain_seconds)
        if self._mesh is not None:
            await self._mesh.goodbye()
        await self._run_out()

    async def _run_out(self) -> None:
        """Lets nobody in any more, and waits for what runs."""
        config = self.config.node
        self._refuse_calls()
        self._end_watches()
        if self._listener is not None:
            self._listener.stop_accepting()
        try:
            async with asyncio.timeout(config.stop_seconds):
                await asyncio.gather(self._admission.idle(), self._vital.idle())
        except TimeoutError:
            log.warning("calls cancelled", running=self._admission.running, stop_seconds=config.stop_seconds)

    def _end_watches(self) -> None:
        """Whoever watches something here is answered, and keeps no node from stopping."""
        self._health.end()
        if self._mesh is not None:
            self._mesh.end()

    def _load(self) -> float:
        """How full the node is: 1 where as many calls run as may."""
        return self._admission.running / self.config.admission.running

    def _refuse_calls(self) -> None:
        for admission in (self._admission, self._vital):
            admission.close(f"node {self.id} is stopping")

    async def _settle(self) -> None:
        """Handlers that were cancelled end before what they use is closed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CANCEL_SECONDS):
                await asyncio.gather(self._admission.idle(), self._vital.idle())

    def _say(self, event: str, **facts: object) -> None:
        log.info(event, node=self.id, **facts)

    async def _metrics(self) -> list[Family]:
        """All that this node counts, over all of its processes."""
        return metrics.merge([self._figures.counted(), metrics.process(), self._settled()])

    def _settled(self) -> list[Family]:
        return settled(self.config.limits, self._tls.expires if self._tls is not None else None)

    async def _metrics_page(self, peer: Peer) -> tuple[str, bytes]:
        client = self.client("splnode.Metrics")
        call = client.prepare("text")
        call.peer = peer
        text = await client.send(call)
        return metrics.CONTENT_TYPE, str(text).encode()

    def _protocols(self) -> list[Protocol]:
        return [contract.protocol for contract in self._directory.contracts]


def _identify(config: Config) -> tuple[str, Tls | None]:
    """The node's id, which its certificate may say, and its TLS. ConfigError."""
    if config.tls.mesh_key or not config.tls.certificate:
        node = node_id(config)
        return node, open_tls(config.tls, node)
    tls = open_tls(config.tls, config.node.id or "")
    return (tls.node if tls is not None else "") or node_id(config), tls


def _fitted(config: Config) -> Config:
    """With limits that fit into the memory that the node may have."""
    processes, tls = config.node.workers or os.cpu_count() or 1, config.tls != TlsConfig()
    limits = fitted(config.limits, memory_limit(), processes, tls=tls)
    return config if limits == config.limits else msgspec.structs.replace(config, limits=limits)
