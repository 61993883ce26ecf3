"""A resolver that is followed, on a clock that is moved by hand."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable

import structlog.testing

from splnode.discovery.following import LONGEST_PAUSE, follow
from splnode.discovery.resolver import ALL, NONE, Instances
from splnode.errors import ConfigError

Watch = Callable[[], AsyncIterator[Instances]]


class Clock:
    """`sleep` passes at once, and is noted; after `pauses` of them it is enough."""

    def __init__(self, pauses: int) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self._pauses = pauses

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        if len(self.slept) == self._pauses:
            raise asyncio.CancelledError


class Scripted:
    """A resolver whose watches are these, one after the other, and the last of them from then on."""

    name = "scripted"

    def __init__(self, *watches: Watch) -> None:
        self._watches = itertools.chain(watches, itertools.repeat(watches[-1]))
        self.asked: list[str] = []

    def watch(self, service: str = ALL) -> AsyncIterator[Instances]:
        self.asked.append(service)
        return next(self._watches)()


async def says(
    error: Exception | None = None, sets: int = 0, work: Callable[[], None] = lambda: None
) -> AsyncIterator[Instances]:
    for _ in range(sets):
        yield NONE
        work()
    if error is not None:
        raise error


async def followed(clock: Clock, *watches: Watch) -> tuple[list[str], Scripted]:
    """What was heard (a dot each) and told, in order."""
    events: list[str] = []
    resolver = Scripted(*watches)
    try:
        await follow(
            resolver, "x.Y", lambda _: events.append("."), events.append, now=lambda: clock.now, sleep=clock.sleep
        )
    except asyncio.CancelledError:
        return events, resolver
    raise AssertionError


async def test_one_that_fails_or_ends_is_watched_again_after_longer_and_longer() -> None:
    clock = Clock(9)
    events, resolver = await followed(
        clock, lambda: says(OSError("no luck")), says, lambda: says(ConfigError("no key")), lambda: says(KeyError("k"))
    )
    assert clock.slept == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert events == ["no luck", "it ended", "no key", *["KeyError: 'k'"] * 6]
    assert resolver.asked == ["x.Y"] * 9


async def test_one_that_cannot_even_be_asked() -> None:
    def watch() -> AsyncIterator[Instances]:
        raise RuntimeError("not started")

    assert (await followed(Clock(1), watch))[0] == ["RuntimeError: not started"]


async def test_what_worked_for_long_is_soon_watched_again() -> None:
    clock = Clock(5)

    def passes() -> None:
        clock.now += LONGEST_PAUSE + 1

    events, _ = await followed(clock, says, says, lambda: says(sets=1, work=passes), says)
    assert clock.slept == [0.5, 1, 0.5, 1, 2]
    assert events == ["it ended", "it ended", ".", "it ended", "it ended", "it ended"]


async def test_the_log_says_it_once_and_again_after_it_worked() -> None:
    with structlog.testing.capture_logs() as logs:
        await followed(Clock(5), says, says, lambda: says(KeyError("k")), lambda: says(sets=1), says)
    assert [line["reason"] for line in logs] == ["it ended", "KeyError: 'k'", "it ended"]
    assert [isinstance(line["exc_info"], KeyError) for line in logs] == [False, True, False]


async def test_a_watch_is_closed_before_the_next_one_begins() -> None:
    closed: list[str] = []

    async def watch() -> AsyncIterator[Instances]:
        try:
            yield NONE
            await asyncio.Event().wait()
        finally:
            closed.append("closed")

    heard = asyncio.Event()
    task = asyncio.ensure_future(follow(Scripted(watch), ALL, lambda _: heard.set(), lambda _: None))
    await heard.wait()
    task.cancel()
    await asyncio.wait([task])
    assert closed == ["closed"]
