"""The supervisor: a node whose calls come through workers.

It is the node that the others know: it has the identity, the ports, the store, the processes of the modules, the
health, and what is announced. Its workers are processes that accept and answer calls; what only one process may do
they pass on to it, each over connections of its own (see `workers.worker`).

Starting: it serves, and tells the service manager, when all workers do. Stopping takes the steps of every node, and
the same time: the workers end their calls, then their supervisor what is its own. One that is killed takes its
workers with it.
"""

import asyncio
import socket
import sys
from functools import partial
from typing import Final

import msgspec
import structlog

from splnode.config import Config, to_builtins
from splnode.endpoint import Endpoint
from splnode.identity import NODE
from splnode.net.listener import addresses, check_exposure, secured
from splnode.net.shared import Shared, SharedTcp, SharedUnix
from splnode.node import Node
from splnode.notify import notify
from splnode.observe import metrics
from splnode.rpc.call import Peer
from splnode.workers.crew import Crew
from splnode.workers.door import Door
from splnode.workers.link import within
from splnode.workers.process import Links

LEAVE_SECONDS: Final = 5.0
"""Seconds that a worker has beyond `stop_seconds`: to cancel what still runs, and to write what is written."""

log = structlog.get_logger("splnode.workers")


class Supervisor(Node):
    """A node with `count` workers. It is used as every node; but what is served once it runs reaches a worker when
    that starts again."""

    def __init__(self, config: Config, count: int) -> None:
        super().__init__(config)
        self._count = count
        self._ports: list[Shared] = []
        self._doors: list[Door] = []
        self._crew: Crew | None = None
        self._complete = False  # all workers have served
        self._reloading: asyncio.Task[None] | None = None

    @property
    def endpoints(self) -> list[Endpoint]:
        """Where its workers listen, with the ports that the system chose."""
        return [port.endpoint for port in self._ports]

    @property
    def workers(self) -> dict[int, int]:
        """The processes of the workers that serve now, by the worker's number."""
        running = self._crew.processes if self._crew is not None else {}
        return {number: process.pid for number, process in running.items()}

    def reload(self, config: Config) -> None:
        """Takes over what can change while running, and tells the workers; says in the log what needs a restart."""
        super().reload(config)
        if self._crew is not None:
            self._reloading = asyncio.create_task(self._crew.reload())

    def _open_access(self, *, audit_all: bool = True) -> None:
        super()._open_access(audit_all=False)  # what is allowed its workers write down

    async def _listen(self) -> None:
        # Each worker is one peer, who has calls of many: no share keeps some of them from the others.
        self._new_listener(within(self.config.limits), sys.maxsize)
        self._closing.callback(self._close_ports)
        for endpoint in self.config.node.endpoints:
            self._ports.append(await self._bind(endpoint))
        self._crew = Crew(
            self._count, self._ports, links=self._links, config=self._workers_config, changed=self._changed
        )
        self._closing.push_async_callback(self._crew.close)
        await self._crew.start()
        self._complete = True
        self._open_doors(self._crew)

    def _open_doors(self, crew: Crew) -> None:
        for port in self._ports:
            if isinstance(port, SharedUnix):
                door = Door(port.socket, partial(crew.hand, port))
                self._doors.append(door)
                door.open()

    async def _bind(self, endpoint: Endpoint) -> Shared:
        endpoint = secured(endpoint, self._tls)
        check_exposure(endpoint, self.config.node.insecure, self._tls)
        return SharedUnix(endpoint) if endpoint.scheme == "unix" else SharedTcp(endpoint, await addresses(endpoint))

    async def _links(self, number: int) -> Links:
        """A connection to each of the services, for worker `number`."""
        links = []
        assert self._listener is not None
        peer = Peer(f"worker {number}", identity=NODE)
        for protocol in self._protocols():
            ours, theirs = socket.socketpair()
            links.append((protocol.text, theirs))
            await self._listener.adopt(Endpoint("unix", path=f"/worker/{number}", service=protocol.name), ours, peer)
        return links

    async def _metrics(self) -> list[metrics.Family]:
        # Its own tallies have counted the calls of its workers, which those have counted too.
        told = await self._crew.metrics() if self._crew is not None else []
        return metrics.merge([told, metrics.process({"process": "supervisor"}), self._settled()])

    def _workers_config(self) -> str:
        """What a worker is told: it is this node, and its supervisor has waited already when it says stop."""
        node = msgspec.structs.replace(self.config.node, id=self.id, drain_seconds=0.0, workers=self._count)
        return msgspec.json.encode(to_builtins(msgspec.structs.replace(self.config, node=node))).decode()

    def _changed(self, serving: int) -> None:
        notify(f"STATUS={serving} of {self._count} workers serve")
        if self._complete:
            self._health.set("", "SERVING" if serving else "NOT_SERVING")

    def _load(self) -> float:
        running = self._crew.running if self._crew is not None else 0.0
        return running / (self.config.admission.running * self._count)

    def _close_ports(self) -> None:
        while self._doors:
            self._doors.pop().close()
        for port in self._ports:
            port.close()

    async def _run_out(self) -> None:
        self._end_watches()
        self._close_ports()
        if self._crew is not None:
            await self._crew.stop(self.config.node.stop_seconds + LEAVE_SECONDS)
        await super()._run_out()
