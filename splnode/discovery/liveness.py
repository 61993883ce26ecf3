"""Whether those that were only heard of are there: what is announced stays announced long after a node was killed.

Each of them is connected to now and then, and let go. One that does not answer is suspect, and looked at again soon;
one that did not answer several times in a row, or where nobody listens, is gone: it gets no calls. It stays listed for
a while, so that whoever looks sees why, and then is listed no more. It is back as soon as it answers, or is announced
anew.

| state | means |
|---|---|
| up | it has answered, or was just announced |
| suspect | it did not answer the last time |
| gone | `strikes` times in a row, or the connection was refused |

That costs little: `rate` looks a second at most, however many nodes there are.
"""

import asyncio
import random
import time
import typing
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Final, Literal

from splnode.discovery.resolver import Address, Instance
from splnode.endpoint import Endpoint
from splnode.errors import CallError, SplnodeError

FRESH: Final = 10.0
"""Seconds for which a node that answered counts as there."""
SOON: Final = 1.0
"""Seconds after which one that did not answer is looked at again, and seconds between two rounds."""
BACK: Final = 2.0
YOUNG: Final = 60.0
"""Seconds between two looks at one that is gone, and for how long; then they are as seldom as for the others."""
AT_ONCE: Final = 64
"""Nodes that are looked at, at one time."""
REASON: Final = 300

State = Literal["up", "suspect", "gone"]
Reach = Callable[[Endpoint], Awaitable[None]]
"""Connects to an endpoint and lets go. CallError, within a second or so, if that is not possible."""


class Pace(typing.NamedTuple):
    """How often it is looked: each node every `interval` seconds (0: never), all of them `rate` times a second at most.

    After `strikes` failures in a row a node is gone, and `listed` seconds later it is listed no more.
    """

    interval: float = 12.0
    strikes: int = 3
    rate: float = 10.0
    listed: float = 30.0


class Life:
    """What is known of one instance. `seen` is when it last answered, or None; `since` is when it was found gone."""

    __slots__ = ("due", "listed", "looking", "reason", "seen", "since", "strikes")

    def __init__(self, due: float) -> None:
        self.due = due
        self.seen: float | None = None
        self.strikes = 0
        self.since: float | None = None
        self.reason = ""
        self.looking = False
        self.listed = True

    @property
    def state(self) -> State:
        """As in the table above."""
        return "gone" if self.since is not None else "suspect" if self.strikes else "up"


class Liveness:
    """Looks after the instances that `keep` names. `changed` is called when one of them is in another state.

    `in_use` gives the ids of nodes that are known to be there without being asked: calls go there. `start` it, and
    `close` it.
    """

    def __init__(
        self,
        reach: Reach,
        changed: Callable[[], None],
        pace: Pace = Pace(),  # noqa: B008 - a tuple
        in_use: Callable[[], Collection[str]] = tuple,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reach = reach
        self._changed = changed
        self._pace = pace
        self._in_use = in_use
        self._now = now
        self._lives: dict[Instance, Life] = {}
        self._at: dict[Address, Life] = {}
        self._allowed = 0.0
        self._places = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begins to look."""
        if self._pace.interval and self._pace.rate:
            self._run(self._rounds())

    async def close(self) -> None:
        """Looks no more. May be repeated."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def keep(self, instances: Iterable[Instance]) -> None:
        """These are there by what was heard; the others are forgotten. One that is new was announced just now."""
        now, before = self._now(), self._lives
        self._lives = {each: before.get(each) or Life(now + self._usual()) for each in instances}
        self._at = {address: life for each, life in self._lives.items() for address in each.addresses}

    def listed(self, instance: Instance) -> bool:
        """Whether it is still to be shown."""
        life = self._lives.get(instance)
        return life is None or life.listed

    def of(self, instance: Instance) -> Life | None:
        """The best of what is known of its addresses; None if none of them is looked after."""
        found = [life for life in map(self._at.get, instance.addresses) if life is not None]
        return min(found, key=lambda life: (life.since is not None, life.strikes), default=None)

    async def check(self, timeout: float) -> None:
        """Looks now at all that have not answered of late; returns after so many seconds at the latest."""
        now = self._now()
        due = [each for each, life in self._lives.items() if life.seen is None or now - life.seen >= FRESH]
        tasks = [self._run(self._look(each, self._lives[each])) for each in due if not self._lives[each].looking]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)  # the late ones have an end of their own

    async def _rounds(self) -> None:
        while True:
            await asyncio.sleep(SOON)
            self.round()

    def round(self) -> int:
        """Looks at those who are due, as many as may be; gives how many. Done once a second."""
        now, pace = self._now(), self._pace
        for life in self._lives.values():
            if life.listed and life.since is not None and now - life.since >= pace.listed:
                life.listed = False
                self._changed()
        self._allowed = min(self._allowed + pace.rate * SOON, max(pace.rate * SOON, 1.0))
        due = sorted((life.due, place) for place, life in enumerate(self._lives.values()) if life.due <= now)
        if not due:
            return 0
        known, used, begun = list(self._lives.items()), frozenset(self._in_use()), 0
        for _, place in due:
            instance, life = known[place]
            if instance.node and instance.node in used:
                self._answered(life)
            elif self._allowed >= 1 and not life.looking:
                self._allowed -= 1
                begun += 1
                self._run(self._look(instance, life))
        return begun

    async def _look(self, instance: Instance, life: Life) -> None:
        life.looking = True
        reasons, refused = [], True
        try:
            async with self._places:
                for address in instance.addresses:
                    try:
                        await self._reach(address.endpoint)
                    except SplnodeError as error:
                        reasons.append((error.message if isinstance(error, CallError) else str(error))[:REASON])
                        refused = refused and isinstance(error.__cause__, ConnectionRefusedError)
                    else:
                        self._answered(life)
                        return
            self._failed(life, reasons[0], refused=refused)
        finally:
            life.looking = False

    def _answered(self, life: Life) -> None:
        before, now = life.state, self._now()
        life.strikes, life.since, life.reason, life.listed = 0, None, "", True
        life.seen, life.due = now, now + self._usual()
        if before != "up":
            self._changed()

    def _failed(self, life: Life, reason: str, *, refused: bool) -> None:
        before, now = life.state, self._now()
        life.strikes += 1
        life.reason = reason
        if life.since is None and (refused or life.strikes >= self._pace.strikes):
            life.since = now
        young = life.since is None or now - life.since < YOUNG
        pause = SOON if life.since is None else BACK if young else self._usual()
        life.due = now + pause * random.uniform(0.8, 1.2)
        if life.state != before:
            self._changed()

    def _usual(self) -> float:
        return self._pace.interval * random.uniform(0.8, 1.2)

    def _run(self, work: typing.Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
