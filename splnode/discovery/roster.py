"""All nodes that this one knows of, and what they say of themselves where a resolver could not tell.

A resolver that gives an address alone (a list, the DNS) does not know which node is there, nor what it serves. Such an
instance is followed: the node is asked, and says it again whenever that changes, for as long as the connection stands.
So a node from a list is known, drained and lost as quickly as one from the network.

What somebody heard may be long gone. Those are looked at when somebody asks (`check`), and not otherwise.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Final

import msgspec
import structlog

from splnode.discovery.chain import Chain, Report, merge
from splnode.discovery.resolver import ALL, NONE, Address, Board, Instance, Instances, Resolver
from splnode.endpoint import Endpoint
from splnode.errors import CallError, SplnodeError

AGAIN: Final = 1.0
"""Seconds, +-20 %, before a node that could not be asked is asked again."""
FRESH: Final = 10.0
"""Seconds for which a node that answered counts as there."""
CHECKING: Final = 64
"""Nodes that are looked at, at one time."""
REASON: Final = 300

Follow = Callable[[Endpoint], AsyncIterator[Instance]]
"""What the node at an endpoint says of itself: now, and after each change. CallError when that is not possible."""
Reach = Callable[[Endpoint], Awaitable[None]]
"""Connects to an endpoint and lets go. CallError, within a second or so, if that is not possible."""

log = structlog.get_logger("splnode.discovery")


class Roster:
    """A Resolver over several, each completed as above. `start` it and `close` it; it closes none of the resolvers.

    `own` is this node as it describes itself; it is never among those that `watch` gives. `nearer` gives an instance
    the addresses that are nearer than those which were told.
    """

    name = "roster"

    def __init__(
        self,
        resolvers: Iterable[Resolver],
        follow: Follow,
        reach: Reach,
        nearer: Callable[[Instance], Instance] = lambda instance: instance,
    ) -> None:
        self.own: Instance | None = None
        self._follow = follow
        self._reach = reach
        self._nearer = nearer
        self._chain = Chain(resolvers)
        self._board = Board()
        self._followed: dict[Endpoint, _Followed] = {}
        self._seen: dict[Address, float] = {}  # when somebody last answered there
        self._gone: dict[Instance, str] = {}  # as they were heard: why they cannot be reached
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def present(self) -> Instances:
        """All others, now."""
        return self._board.present

    @property
    def revision(self) -> int:
        """What `changed` takes."""
        return self._board.revision

    async def changed(self, revision: int, timeout: float) -> None:
        """Returns when `revision` is not the present one, or after so many seconds."""
        await self._board.changed(revision, timeout)

    @property
    def reports(self) -> tuple[Report, ...]:
        """How each resolver does."""
        return self._chain.reports

    def start(self) -> None:
        """Begins to watch."""
        self._chain.start()
        self._tasks = [asyncio.ensure_future(self._watch())]

    async def close(self) -> None:
        """Watches no more, and lets every connection go. May be repeated."""
        tasks = [*self._tasks, *(each.task for each in self._followed.values())]
        self._tasks, self._followed = [], {}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._chain.close()
        self._board.close()

    def watch(self, service: str = ALL) -> AsyncIterator[Instances]:
        """The others that may serve `service`."""
        return self._board.watch(service)

    async def settled(self, timeout: float) -> bool:
        """Waits until each resolver has said something once; False after so many seconds."""
        return await self._chain.settled(timeout)

    def find(self, node: str) -> list[Instance]:
        """The instances of a node's id, those first that nothing speaks against; or of an endpoint, as text."""
        found = [each for each in self.present if node in (each.node, *map(str, each.endpoints))]
        return sorted(found, key=lambda each: (bool(each.problem), -each.epoch))

    def age(self, instance: Instance) -> float | None:
        """Seconds since it gave a sign of life; None if it was only heard of."""
        if any(each.said is not None for each in map(self._followed.get, instance.endpoints) if each is not None):
            return 0.0
        times = [self._seen[each] for each in instance.addresses if each in self._seen]
        return time.monotonic() - max(times) if times else None

    async def check(self, timeout: float) -> None:
        """Looks whether those that were only heard of are there, for at most so many seconds.

        One that cannot be reached has a problem from then on, until it is heard anew or can be reached again.
        """
        now = time.monotonic()
        due = [each for each in self._heard() if now - self._seen.get(each.addresses[0], -FRESH) >= FRESH]
        places = asyncio.Semaphore(CHECKING)
        checks = [asyncio.ensure_future(self._check(each, places)) for each in due]
        if checks:
            _, late = await asyncio.wait(checks, timeout=timeout)
            for task in late:
                task.cancel()
            self._gone = {each: why for each, why in self._gone.items() if each in self._chain.present}
            self._seen = {at: when for at, when in self._seen.items() if now - when < FRESH}
            self._post()

    async def _check(self, instance: Instance, places: asyncio.Semaphore) -> None:
        problem = ""
        async with places:
            for address in instance.addresses:
                try:
                    await self._reach(address.endpoint)
                except SplnodeError as error:
                    problem = problem or _reason(error)
                else:
                    self._seen[instance.addresses[0]] = time.monotonic()
                    self._gone.pop(instance, None)
                    return
        self._gone[instance] = problem

    def post(self) -> None:
        """What is known is another thing for a reason that no resolver has told."""
        self._post()

    async def _watch(self) -> None:
        async for instances in self._chain.watch():
            needed = {each.addresses[0].endpoint for each in instances if _needs(each)}
            for endpoint in [each for each in self._followed if each not in needed]:
                self._followed.pop(endpoint).task.cancel()
            for endpoint in needed:
                if endpoint not in self._followed:
                    followed = self._followed[endpoint] = _Followed()
                    followed.task = asyncio.ensure_future(self._listen(endpoint, followed))
            self._post()

    async def _listen(self, endpoint: Endpoint, followed: "_Followed") -> None:
        while True:
            try:
                async for said in self._follow(endpoint):
                    followed.said, followed.problem = said, ""
                    self._post()
                problem = "it said nothing more"
            except SplnodeError as error:
                problem = _reason(error)
            except Exception as error:  # whatever a peer makes us raise, the others go on
                log.exception("a node could not be asked", endpoint=str(endpoint))
                problem = f"{type(error).__name__}: {error}"[:REASON]
            if followed.said is not None or problem != followed.problem:
                followed.said, followed.problem = None, problem
                self._post()
            await asyncio.sleep(AGAIN * random.uniform(0.8, 1.2))

    def _heard(self) -> list[Instance]:
        return [each for each in self._chain.present if each.addresses[0].endpoint not in self._followed]

    def _post(self) -> None:
        asked: list[Instances] = []
        for instance in self._chain.present:
            followed = self._followed.get(instance.addresses[0].endpoint)
            if followed is not None:
                asked.append(frozenset({followed.completed(instance)}))
        heard = [self._with_problem(each) for each in self._heard()]
        found = merge([*asked, frozenset(heard)]) if asked else frozenset(heard)
        own = self.own
        if own is not None and own.node:
            found = frozenset(each for each in found if (each.node, each.epoch) != (own.node, own.epoch))
        self._board.post(map(self._nearer, found) if found else NONE)

    def _with_problem(self, instance: Instance) -> Instance:
        problem = self._gone.get(instance)
        return msgspec.structs.replace(instance, problem=problem) if problem and not instance.problem else instance


class _Followed:
    """A node that is asked: what it said last, or why it says nothing."""

    task: asyncio.Task[None]

    def __init__(self) -> None:
        self.said: Instance | None = None
        self.problem = "it was not asked yet"

    def completed(self, instance: Instance) -> Instance:
        """What a resolver knows, and what the node says: the address of the one, all else of the other."""
        said = self.said
        if said is None:
            return msgspec.structs.replace(instance, problem=instance.problem or self.problem)
        claimed = instance.node and said.node and instance.node != said.node
        return Instance(
            instance.addresses,
            said.node or instance.node,
            said.epoch or instance.epoch,
            said.services,
            "drain" if "drain" in (said.state, instance.state) else "up",
            instance.weight if instance.weight != 1.0 else said.weight,
            instance.problem or (f"it is to be {instance.node}, and says that it is {said.node}" if claimed else ""),
        )


def _reason(error: SplnodeError) -> str:
    return (error.message if isinstance(error, CallError) else str(error))[:REASON]


def _needs(instance: Instance) -> bool:
    """Whether something is not known that a node can tell."""
    return instance.services is None or any(not service.resolution for service in instance.services)
