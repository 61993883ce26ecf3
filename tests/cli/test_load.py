import asyncio

import pytest

from splnode.cli.latency import Tally
from splnode.cli.load import closed_loop, open_loop
from splnode.errors import CallError, Code, DeclaredError


class Clock:
    """A clock that only its own sleep turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        until = self.now + max(seconds, 0.0001)
        await asyncio.sleep(0)
        self.now = max(self.now, until)


class Boom(DeclaredError):
    pass


async def test_closed_loop_waits_for_each_answer() -> None:
    clock, tally, running, seen = Clock(), Tally(), 0, []

    async def one() -> None:
        nonlocal running
        running += 1
        seen.append(running)
        clock.now += 0.5
        await asyncio.sleep(0)
        running -= 1

    done: list[int] = []
    await closed_loop([one, one], 7, tally, clock, done.append)
    assert tally.calls == len(tally.latencies) == 7
    assert max(seen) == 2
    assert done[-1] == 7


async def test_open_loop_counts_from_the_moment_it_was_due() -> None:
    clock, tally = Clock(), Tally()
    stalled = asyncio.Event()
    started: list[float] = []

    async def one() -> None:
        started.append(clock.now)
        if len(started) == 1:
            clock.now += 0.35  # the whole program stands still: the next three are late
        elif len(started) == 10:
            stalled.set()

    await open_loop([one], 10, 1.0, tally, clock, lambda done: None, clock.sleep)
    assert tally.calls == 10
    late = sorted(round(latency, 2) for latency in tally.latencies)
    assert late[-4:] == [0.05, 0.15, 0.25, 0.35]
    assert all(latency >= 0 for latency in tally.latencies)
    assert started[-1] == pytest.approx(100.9, abs=0.01)


async def test_open_loop_does_not_wait_for_answers() -> None:
    clock, tally = Clock(), Tally()
    together, release = 0, asyncio.Event()

    async def one() -> None:
        nonlocal together
        together += 1
        if together == 5:
            release.set()
        await release.wait()

    await open_loop([one], 5, 1.0, tally, clock, lambda done: None, clock.sleep)
    assert len(tally.latencies) == 5


async def test_errors_are_counted_by_code() -> None:
    tally, errors = Tally(), iter([CallError(Code.NOT_FOUND, "no"), Boom(a=1), None, CallError(Code.NOT_FOUND, "no")])

    async def one() -> None:
        error = next(errors)
        if error is not None:
            raise error

    await closed_loop([one], 4, tally, Clock(), lambda done: None)
    assert tally.errors == {"NOT_FOUND": 2, "Boom": 1}
    assert len(tally.latencies) == 1
