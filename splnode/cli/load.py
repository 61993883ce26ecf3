"""Load for a benchmark: calls made in one of two ways.

Closed loop (`-n`): each connection makes its next call when the last one is answered; a slow server is asked
less, which hides what a caller would have waited. Open loop (`--rate`): calls begin at fixed moments whatever
became of the earlier ones, and latency counts from the moment at which a call was to begin.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from splnode.cli.latency import Tally
from splnode.errors import CallError, DeclaredError

One = Callable[[], Awaitable[object]]
Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]
Progress = Callable[[int], None]

DUE_TOGETHER: Final = 256
"""Calls that are due and begun before the loop may do something else."""

TIMER: Final = 0.0015
"""Seconds: timers of event loops count milliseconds and wake too early or too late; the rest is waited in turns."""


async def closed_loop(ways: Sequence[One], calls: int, tally: Tally, clock: Clock, progress: Progress) -> None:
    """Makes `calls` calls in all, one at a time over each of `ways`."""
    left = iter(range(calls))

    async def worker(one: One) -> None:
        for _ in left:
            start = clock()
            await _measured(one, start, tally, clock)
            progress(tally.calls)

    await asyncio.gather(*(worker(one) for one in ways))


async def open_loop(
    ways: Sequence[One], rate: float, seconds: float, tally: Tally, clock: Clock, progress: Progress,
    sleep: Sleep = asyncio.sleep,
) -> None:  # fmt: skip
    """Begins `rate * seconds` calls, evenly, over `ways` in turn; returns when the last one has ended."""
    start = clock()
    running: set[asyncio.Task[None]] = set()
    for number in range(max(1, round(rate * seconds))):
        due = start + number / rate
        if number % DUE_TOGETHER == 0:
            await sleep(0)
        while (wait := due - clock()) > 0:
            await sleep(max(0.0, wait - TIMER))
        progress(tally.calls)
        task = asyncio.create_task(_measured(ways[number % len(ways)], due, tally, clock))
        running.add(task)
        task.add_done_callback(running.discard)
    if running:
        await asyncio.wait(running)
    progress(tally.calls)


async def _measured(one: One, start: float, tally: Tally, clock: Clock) -> None:
    try:
        await one()
    except CallError as error:
        tally.failed(error.code.name, error.message)
    except DeclaredError as error:
        tally.failed(error.schema_name, str(error))
    else:
        tally.latencies.append(clock() - start)
