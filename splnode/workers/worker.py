"""A worker: the process that `splnode worker` is, started by a supervisor and told by it what to do.

| service | answered by |
|---|---|
| SPLDataService | reads here, from the same file; what changes it by the supervisor, the only one that writes |
| SPLExecuteService | built-in modules here; the others by the supervisor, whose pool of processes is the node's |
| one's own (`node.services`) | a class of each worker's own |
| every other | the supervisor |

So whatever a node promises of its records, its modules and its health holds over all of its workers. A worker ends
when its supervisor says so, and at once when the supervisor has gone. Signals that ask a process to end or to reload
are the supervisor's business: a service manager sends them to all processes of a node.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import structlog

from splnode import config as settings
from splnode.access.memory import keep_private
from splnode.avro.protocol import Protocol
from splnode.config import Config
from splnode.endpoint import Endpoint
from splnode.errors import SplnodeError
from splnode.modules.catalogue import Modules
from splnode.net.listener import Listener
from splnode.node import Node
from splnode.observe import logging, metrics
from splnode.rpc.client import Client
from splnode.rpc.router import Router
from splnode.rpc.server import Server
from splnode.services import own
from splnode.services.data import DataReading
from splnode.services.execute import ExecuteService
from splnode.services.store_format import FILE
from splnode.services.store_reader import StoreReader
from splnode.wire.directory import Directory
from splnode.workers.forward import Forward
from splnode.workers.link import BOOT_SECONDS, TURN, linked, within
from splnode.workers.modules import WorkerModules
from splnode.workers.protocol import WorkerFault, worker_protocol

PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h

log = structlog.get_logger("splnode.workers")


class WorkerNode(Node):
    """The worker's part of a node: the supervisor's services, in its order, on sockets that listen already.

    `handed` is where the supervisor hands connections over that came to an endpoint without sockets here.
    `links` are a protocol and the descriptor of a connection to the supervisor's service each.
    """

    def __init__(
        self,
        config: Config,
        listening: Sequence[tuple[Endpoint, list[socket.socket]]],
        handed: socket.socket,
        links: Sequence[tuple[Protocol, int]],
    ) -> None:
        super().__init__(config)
        self._processes = config.node.workers
        self._listening = listening
        self._handed = handed
        self._taking: set[asyncio.Task[None]] = set()
        self._links = links
        self._leaving = False

    def reload(self, config: Config) -> None:
        """Takes over what can change while running; the supervisor has said so in the log."""
        self._adopt(config)

    def counted(self) -> list[metrics.Family]:
        """What was counted of the calls that came to this process."""
        return self._figures.counted()

    async def _open_services(self) -> None:
        loaded = (own.load(spec) for spec in self.config.node.services)
        local = {protocol.name: implementation for protocol, implementation in loaded}
        for protocol, descriptor in self._links:
            connection, contract = await linked(
                _socket(descriptor),
                protocol,
                f"supervisor/{protocol.name}",
                within(self.config.limits),
                self._lost,
            )
            self._closing.push_async_callback(connection.close)
            self.serve(protocol, local.get(protocol.name) or self._implementation(Client(connection, contract)))
        self._closing.callback(self._leave)
        self._closing.push_async_callback(self._router.close)

    async def _listen(self) -> None:
        listener = self._new_listener(self.config.limits.part(self._processes), self._admission.share)
        for endpoint, sockets in self._listening:
            if sockets:
                await listener.open(endpoint, sockets)
        self._handed.setblocking(False)
        loop = asyncio.get_running_loop()
        self._closing.callback(self._handed.close)
        loop.add_reader(self._handed, self._take, listener)
        self._closing.callback(loop.remove_reader, self._handed)

    def _take(self, listener: Listener) -> None:
        """Takes what the supervisor hands over."""
        for _ in range(TURN):
            try:
                place, descriptors, _, _ = socket.recv_fds(self._handed, 1, 1)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                place, descriptors = b"", []
            if not place:  # the end
                asyncio.get_running_loop().remove_reader(self._handed)
                return
            for descriptor in descriptors:
                serving = asyncio.create_task(_adopt(listener, self._listening[place[0]][0], _socket(descriptor)))
                self._taking.add(serving)
                serving.add_done_callback(self._taking.discard)

    def _implementation(self, owner: Client) -> object:
        folder = self.config.data_directory
        if owner.protocol.name == "SPLDataService":
            here = DataReading(StoreReader(folder / FILE))
            reads = {name: getattr(here, name) for name in ("read", "listTopics", "getSchema", "listSchemas")}
            return Forward(owner, reads, here.close)
        if owner.protocol.name == "SPLExecuteService":
            built_in = Modules(None, data=self.client("SPLDataService"), files=folder / "files")
            return ExecuteService(WorkerModules(built_in, owner))
        return Forward(owner)

    def _say(self, event: str, **facts: object) -> None:
        """Its supervisor says it, once for all."""

    def _leave(self) -> None:
        self._leaving = True

    def _lost(self, reason: str) -> None:
        if not self._leaving:
            log.error("this worker ends: its supervisor has gone", reason=reason)
            os._exit(1)


async def _adopt(listener: Listener, endpoint: Endpoint, sock: socket.socket) -> None:
    try:
        await listener.adopt(endpoint, sock)
    except OSError:  # it has gone again
        sock.close()


class Control:
    """Implements the protocol of `workers.protocol`. One node lives in it, once."""

    def __init__(self, number: int) -> None:
        self._labels = {"process": f"worker {number}"}
        self._node: WorkerNode | None = None
        self._serving = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    async def serve(
        self, config: str, listening: list[dict[str, Any]], handed: int, links: list[dict[str, Any]]
    ) -> None:
        """Starts the node. WorkerFault if it cannot be."""
        try:
            told = _read(config)
            if not told.access.core_dumps:
                keep_private()
            self._node = _node(told, listening, handed, links)
            self._life = asyncio.create_task(self._live(self._node))
            serving = asyncio.create_task(self._serving.wait())
            await asyncio.wait((self._life, serving), return_when=asyncio.FIRST_COMPLETED)
            if not serving.done():
                serving.cancel()
                await self._life
        except SplnodeError as error:
            raise WorkerFault(message=str(error)) from error

    def reload(self, config: str) -> None:
        """Takes over other settings."""
        if self._node is not None:
            self._node.reload(_read(config))

    def metrics(self) -> dict[str, str]:
        """`counted` since it started, and what the process uses."""
        counted = self._node.counted() if self._node is not None else []
        return {"counted": _written(counted), "process": _written(metrics.process(self._labels))}

    def stop(self) -> None:
        """Begins to end; the end is that of the process."""
        if self._node is not None:
            self._node.stop()

    async def ended(self) -> None:
        """Returns once the node has stopped, or has not begun to serve in time. What ended it is raised."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BOOT_SECONDS):
                await self._serving.wait()
        if self._serving.is_set() and self._life is not None:
            await self._life

    async def _live(self, node: Node) -> None:
        async with node:
            self._serving.set()
            await node.stopped()


def _node(config: Config, listening: list[dict[str, Any]], handed: int, links: list[dict[str, Any]]) -> WorkerNode:
    logging.configure(config.log.level, config.log.format)
    return WorkerNode(
        config,
        [(Endpoint.parse(each["endpoint"]), [_socket(n) for n in each["descriptors"]]) for each in listening],
        _socket(handed),
        [(Protocol.parse(each["protocol"]), each["descriptor"]) for each in links],
    )


def _socket(descriptor: int) -> socket.socket:
    return socket.socket(fileno=descriptor)


def _written(families: list[metrics.Family]) -> str:
    return msgspec.json.encode(families).decode()


def _read(config: str) -> Config:
    return settings.from_builtins(msgspec.json.decode(config))


async def work(number: int, descriptor: int, parent: int) -> None:
    """Serves as worker `number` of the process `parent`, which is at the other end of the socket `descriptor`."""
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    _end_with(parent)
    structlog.contextvars.bind_contextvars(worker=number)
    control = Control(number)
    server = Server(worker_protocol(), control)
    listener = Listener(Router({server.protocol.name: server}), Directory([server.contract]))
    await listener.adopt(Endpoint("unix", path="/supervisor"), _socket(descriptor))
    try:
        await control.ended()
    finally:
        await listener.close()


def _end_with(parent: int) -> None:
    """From now on the end of the supervisor is the end of this process, whatever either is doing. (prctl(2))

    Where there is no prctl, the end of the links tells it a little later.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it had gone before
