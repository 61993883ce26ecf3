"""The loops that make calls and count them; the only place that measures.

A window is a warm-up and then the time that counts. A thread opens and shuts it, so that the loops read
no clock, and so that a call that never gives way to the event loop is measured like any other. There is
one loop for each way a stack can be called, and nothing else differs between stacks:

| loop | a call is |
|---|---|
| `concurrent` | awaited; `in_flight` tasks on each connection |
| `sequential` | a plain function; one call at a time |
| `pumped` | sent by callbacks alone: so many answers came, so many calls go out |

Every answer is checked, by a plain function outside of the time that is clocked: a fast wrong answer is no result.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
WARM_UP = 0.25
"""Seconds of warm-up for each second that counts."""


@dataclass(frozen=True)
class Order:
    """What one round shall do: the payload, how many connections, how many calls in flight on each.

    `clocked` says that each call is timed by itself; it is for one call at a time. `calls`: so many of them
    instead of a time; then `seconds` is what they may take (benchmarks/soak.py).
    """

    payload: str = "small"
    connections: int = 1
    in_flight: int = 1
    seconds: float = 0.5
    clocked: bool = False
    calls: int = 0


@dataclass(frozen=True)
class Round:
    """What one round gave. `calls` in `seconds`; `made` counts those of the warm-up too.

    `p50` and `p99` are microseconds a call, None where the calls were not timed one by one.
    """

    calls: int
    seconds: float
    made: int
    p50: float | None = None
    p99: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The line that a peer prints."""
        return asdict(self)


def percentile(ordered: list[int], share: float) -> float:
    """The value below which `share` (0 to 1) of a sorted, non-empty list lies (nearest rank)."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class Window:
    """The time in which calls are made and counted. A loop adds to `count` or `samples` while `open`."""

    __slots__ = ("_marks", "_thread", "count", "open", "samples")

    def __init__(self, order: Order) -> None:
        self.open = True
        self.count = 0
        self.samples: list[int] = []
        self._marks: list[tuple[int, int]] = []
        self._thread = threading.Thread(target=self._keep, args=(order.seconds,), daemon=True)
        self._thread.start()

    def _keep(self, seconds: float) -> None:
        time.sleep(seconds * WARM_UP)
        self._mark()
        time.sleep(seconds)
        self._mark()
        self.open = False

    def _mark(self) -> None:
        self._marks.append((time.perf_counter_ns(), self.count + len(self.samples)))

    def close(self) -> Round:
        """Sums up; waits for the window to shut."""
        self._thread.join()
        (start, before), (end, after) = self._marks
        seconds, made = (end - start) / 1e9, self.count + len(self.samples)
        timed = sorted(self.samples[before:after])
        if not timed:
            return Round(after - before, seconds, made)
        return Round(len(timed), seconds, made, percentile(timed, 0.5) / 1e3, percentile(timed, 0.99) / 1e3)


Check = Callable[[Any], None]
"""Raises ValueError if an answer is not what it should be."""
AsyncCall = tuple[Callable[[], Awaitable[Any]], Check]
SyncCall = tuple[Callable[[], Any], Check]
AsyncConnect = Callable[[str, bytes], AbstractAsyncContextManager[AsyncCall]]
SyncConnect = Callable[[str, bytes], AbstractContextManager[SyncCall]]
Drive = Callable[[str, bytes, Order], Awaitable[Round]]


class Pump(Protocol):
    """A connection that is driven by callbacks."""

    def start(self, in_flight: int, answered: Callable[[int], int]) -> "asyncio.Future[None]":
        """Sends `in_flight` calls; asks `answered(n)` after each n answers how many to send. Done when idle."""
        ...


PumpConnect = Callable[[str, bytes], AbstractAsyncContextManager[Pump]]


async def _count(call: Callable[[], Awaitable[Any]], check: Check, window: Window) -> None:
    while window.open:
        check(await call())
        window.count += 1


async def _clock(call: Callable[[], Awaitable[Any]], check: Check, window: Window) -> None:
    clock, add = time.perf_counter_ns, window.samples.append
    while window.open:
        start = clock()
        answer = await call()
        add(clock() - start)
        check(answer)


def concurrent(connect: AsyncConnect) -> Drive:
    """Drives a stack whose calls are awaited."""

    async def drive(endpoint: str, value: bytes, order: Order) -> Round:
        async with _connections(connect, endpoint, value, order.connections) as calls:
            for call, check in calls:
                check(await call())
            window = Window(order)
            loop = _clock if order.clocked else _count
            await asyncio.gather(*(loop(*call, window) for call in calls for _ in range(order.in_flight)))
            return window.close()

    return drive


def sequential(connect: SyncConnect) -> Drive:
    """Drives a stack whose calls block. It has one connection, and one call at a time on it."""

    async def drive(endpoint: str, value: bytes, order: Order) -> Round:
        with connect(endpoint, value) as (call, check):
            check(call())
            window = Window(order)
            clock, add = time.perf_counter_ns, window.samples.append
            while window.open:
                start = clock()
                answer = call()
                add(clock() - start)
                check(answer)
            return window.close()

    return drive


def pumped(connect: PumpConnect) -> Drive:
    """Drives a stack by callbacks, with no task and no future for a call."""

    async def drive(endpoint: str, value: bytes, order: Order) -> Round:
        async with _connections(connect, endpoint, value, order.connections) as pumps:
            window = Window(order)
            answered = _clocked_answers(window) if order.clocked else _counted_answers(window)
            await asyncio.gather(*(pump.start(order.in_flight, answered) for pump in pumps))
            return window.close()

    return drive


def _counted_answers(window: Window) -> Callable[[int], int]:
    def answered(number: int) -> int:
        window.count += number
        return number if window.open else 0

    return answered


def _clocked_answers(window: Window) -> Callable[[int], int]:
    clock, add, last = time.perf_counter_ns, window.samples.append, time.perf_counter_ns()

    def answered(number: int) -> int:
        nonlocal last
        now = clock()
        add(now - last)
        last = now
        return number if window.open else 0

    return answered


@contextlib.asynccontextmanager
async def _connections(
    connect: Callable[[str, bytes], AbstractAsyncContextManager[T]], endpoint: str, value: bytes, number: int
) -> AsyncIterator[list[T]]:
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(connect(endpoint, value)) for _ in range(number)]
