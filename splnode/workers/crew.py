"""The workers of a node: started together, each replaced when it ends, told to stop together.

| a worker | then |
|---|---|
| does not serve at the start of the node | the node does not start, and says why |
| ends after it has lived for STEADY seconds | the next one starts at once, on the same sockets: new connections wait |
| ends sooner, or does not start | the others get its connections; the next one starts after a pause that grows |
"""

import asyncio
import random
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from splnode.errors import CallError, Code, ConfigError
from splnode.net.shared import Shared
from splnode.observe import metrics
from splnode.observe.metrics import Family
from splnode.workers.process import Links, Listening, WorkerProcess

STEADY: Final = 10.0
"""Seconds after which a worker that ends was no failure to start."""
FIRST, FACTOR, LONGEST, JITTER = 0.5, 1.6, 30.0, 0.2
"""The pauses, as those of a channel that cannot connect: gRPC's."""

ASK_SECONDS: Final = 2.0
"""How often the workers are asked how they are."""
RUNNING: Final = "splnode_handlers_running"

log = structlog.get_logger("splnode.workers")


def pause(failures: int, chance: float = 0.5) -> float:
    """Seconds before a worker is started that has failed so often in a row; `chance` is between 0 and 1."""
    if failures == 0:
        return 0.0
    grown: float = min(FIRST * FACTOR ** min(failures - 1, 20), LONGEST)
    return grown * (1 + JITTER * (2 * chance - 1))


class _Place:
    """One of the workers, whichever process it is at the time, and the sockets that it is given."""

    def __init__(self, number: int, ports: Sequence[Shared]) -> None:
        self.number = number
        self.process: WorkerProcess | None = None
        self.began = 0.0
        self.hangs = False
        self.counted: list[Family] = []
        self.used: list[Family] = []
        self._ports = ports
        self._taken: list[tuple[Shared, list[socket.socket]]] = []

    def take(self) -> Listening:
        """What it listens on, as before or anew; nothing at Unix sockets."""
        if not self._taken:
            for port in self._ports:
                self._taken.append((port, port.take()))
        return [(port.endpoint, sockets) for port, sockets in self._taken]

    def give_back(self) -> None:
        """The others get its connections."""
        while self._taken:
            port, sockets = self._taken.pop()
            port.give_back(sockets)


class Crew:
    """`count` workers that share `ports`. Whoever made it calls `close`; the ports are closed by their own maker.

    `links` makes a new worker's connections to the services of this process, `config` gives the settings as JSON;
    both are asked at each start. `changed` is called with the number of those that serve.
    """

    def __init__(
        self,
        count: int,
        ports: Sequence[Shared],
        *,
        links: Callable[[int], Awaitable[Links]],
        config: Callable[[], str],
        changed: Callable[[int], None],
    ) -> None:
        self._ports = ports
        self._next = 0  # whose turn it is to be handed a connection
        self._links = links
        self._config = config
        self._changed = changed
        self._places = [_Place(number, ports) for number in range(1, count + 1)]
        self._tasks: list[asyncio.Task[None]] = []
        self._watch: asyncio.Task[None] | None = None
        self._stopping = False
        self._ended = 0
        self._gone: list[Family] = []

    @property
    def processes(self) -> dict[int, WorkerProcess]:
        """Those that serve, by the worker's number."""
        return {place.number: place.process for place in self._places if place.process is not None}

    async def start(self) -> None:
        """Starts all; returns when they serve. ConfigError with the first reason why one does not."""
        starting = [asyncio.create_task(self._begin(place)) for place in self._places]
        try:
            await asyncio.gather(*starting)
        except BaseException:
            for task in starting:
                task.cancel()
            await asyncio.wait(starting)
            raise
        self._tasks = [asyncio.create_task(self._keep(place)) for place in self._places]
        self._watch = asyncio.create_task(self._look_after())

    def hand(self, port: Shared, sock: socket.socket) -> bool:
        """Hands a connection that came to that port over to one worker after another; False if none takes it now."""
        place = self._ports.index(port)
        order = [*self._places[self._next :], *self._places[: self._next]]
        for each in sorted(order, key=lambda each: each.hangs):
            if each.process is not None and each.process.hand(place, sock):
                self._next = each.number % len(self._places)  # the one behind it: numbers begin with 1
                return True
        return False

    @property
    def running(self) -> float:
        """Calls that ran in all workers when they were last asked."""
        families = (each for place in self._places for each in place.counted)
        return float(sum(s["value"] for each in families if each["name"] == RUNNING for s in each["samples"]))

    async def reload(self) -> None:
        """Gives the present settings to all. One that does not take them says so in the log, and goes on."""
        for number, process in self.processes.items():
            try:
                await process.reload(self._config())
            except CallError as error:
                log.error("worker not reloaded", worker=number, process=process.pid, reason=error.message)
        log.info("workers reloaded", workers=sorted(self.processes))

    async def metrics(self) -> list[Family]:
        """Those of all workers as one, and of each process what it uses.

        One that hangs is there with what it told last, and what others have counted that have ended since the node
        started; what a killed one has counted since it was last asked is lost.
        """
        await asyncio.gather(*map(_ask, self._places))
        counted = metrics.merge([self._gone, *(place.counted for place in self._places)])
        used = metrics.merge(place.used for place in self._places)
        serving = metrics.family("splnode_workers", "GAUGE", "Workers that serve.", [({}, len(self.processes))])
        ended = metrics.family("splnode_workers_ended_total", "COUNTER", "Workers that ended.", [({}, self._ended)])
        return [*counted, *used, serving, ended]

    async def stop(self, seconds: float) -> None:
        """Tells all to end their calls and then themselves; after so many `seconds` they are killed."""
        self._stopping = True
        running = self.processes
        told = [asyncio.create_task(process.stop()) for process in running.values()]
        if self._tasks:
            await asyncio.wait([*told, *self._tasks], timeout=seconds)
        for number, process in self.processes.items():
            log.warning("worker killed: it did not end in time", worker=number, process=process.pid, seconds=seconds)
        await self.close()
        await asyncio.gather(*told)

    async def close(self) -> None:
        """Kills those that are left, and returns when they are gone."""
        self._stopping = True
        left = [place.process for place in self._places if place.process is not None]
        for process in left:
            process.kill()
        tasks = [*self._tasks, *([self._watch] if self._watch is not None else [])]
        for task in tasks:
            task.cancel()
        for process in left:
            await process.ended()
        if tasks:
            await asyncio.wait(tasks)

    async def _look_after(self) -> None:
        """Asks the workers how they are, for who wants to know, and to see whether they answer."""
        while True:
            await asyncio.sleep(ASK_SECONDS)
            await asyncio.gather(*map(_ask, self._places))

    async def _begin(self, place: _Place) -> None:
        place.began = time.monotonic()
        listening = place.take()
        links = await self._links(place.number)
        place.process = await WorkerProcess.start(place.number, self._config(), listening, links)
        log.info("worker serves", worker=place.number, process=place.process.pid)
        self._changed(len(self.processes))

    async def _keep(self, place: _Place) -> None:
        """One process after another, until the node stops."""
        failures = 0
        while True:
            how = await self._lost(place)
            if self._stopping:
                return
            failures = 0 if time.monotonic() - place.began >= STEADY else failures + 1
            seconds = pause(failures, random.random())
            log.error("worker ended", worker=place.number, how=how, next_start_seconds=round(seconds, 1))
            if failures:
                place.give_back()
            await asyncio.sleep(seconds)

    async def _lost(self, place: _Place) -> str:
        """Starts a process where there is none, and waits for its end; says how it came."""
        if place.process is None:
            try:
                await self._begin(place)
            except ConfigError as error:
                return str(error)
        assert place.process is not None
        process = place.process
        how = await process.ended()
        place.process = None
        self._ended += 1
        self._gone = metrics.merge([self._gone, metrics.lasting(place.counted)])
        place.counted, place.used, place.hangs = [], [], False
        self._changed(len(self.processes))
        return f"process {process.pid}: {how}"


async def _ask(place: _Place) -> None:
    """What the place's worker has counted by now, if it answers."""
    process = place.process
    if process is None:
        return
    try:
        told = await process.metrics()
    except CallError as error:
        if place.process is process and not place.hangs and error.code is Code.DEADLINE_EXCEEDED:
            place.hangs = True
            log.warning("worker does not answer", worker=place.number, process=process.pid)
        return
    if place.process is not process:
        return  # its numbers are among those of the gone already
    place.counted, place.used = told
    if place.hangs:
        place.hangs = False
        log.info("worker answers again", worker=place.number, process=process.pid)
