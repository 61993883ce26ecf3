"""All nodes that this one knows of, and what they say of themselves where a resolver could not tell.

A resolver that gives an address alone (a list, the DNS) does not know which node is there, nor what it serves. Such an
instance is followed: the node is asked, and says it again whenever that changes, for as long as the connection stands.
So a node from a list is known, drained and lost as quickly as one from the network.

What somebody heard may be long gone: `splnode.discovery.liveness` looks after those.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from typing import Final, Literal

import msgspec
import structlog

from splnode.discovery.chain import Chain, Report, merge
from splnode.discovery.liveness import Liveness, Pace, Reach
from splnode.discovery.resolver import ALL, NONE, Board, Instance, Instances, Resolver
from splnode.endpoint import Endpoint
from splnode.errors import CallError, SplnodeError

AGAIN: Final = 1.0
"""Seconds, +-20 %, before a node that could not be asked is asked again."""
REASON: Final = 300
ASKED: Final = "it was not asked yet"

Follow = Callable[[Endpoint], AsyncIterator[Instance]]
"""What the node at an endpoint says of itself: now, and after each change. CallError when that is not possible."""
Standing = Literal["up", "drain", "suspect", "gone"]

log = structlog.get_logger("splnode.discovery")


class Roster:
    """A Resolver over several, each completed as above. `start` it and `close` it; it closes none of the resolvers.

    `own` is this node as it describes itself; it is never among those that `watch` gives. `nearer` gives an instance
    the addresses that are nearer than those which were told. `in_use` gives the nodes that calls go to, by id: they
    are known to be there.
    """

    name = "roster"

    def __init__(
        self,
        resolvers: Iterable[Resolver],
        follow: Follow,
        reach: Reach,
        nearer: Callable[[Instance], Instance] = lambda instance: instance,
        pace: Pace = Pace(),  # noqa: B008 - a tuple
        in_use: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self.own: Instance | None = None
        self._follow = follow
        self._liveness = Liveness(reach, self._turned, pace, in_use)
        self._nearer = nearer
        self._chain = Chain(resolvers)
        self._board = Board()
        self._followed: dict[Endpoint, _Followed] = {}
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

    @property
    def problem(self) -> str:
        """Why fewer are found than there may be; empty where nothing is wrong."""
        return self._chain.problem

    def start(self) -> None:
        """Begins to watch."""
        self._chain.start()
        self._liveness.start()
        self._tasks = [asyncio.ensure_future(self._watch())]

    async def close(self) -> None:
        """Watches no more, and lets every connection go. May be repeated."""
        tasks = [*self._tasks, *(each.task for each in self._followed.values())]
        self._tasks, self._followed = [], {}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._liveness.close()
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
        if any(each is not None and each.said is not None for each in self._asked(instance)):
            return 0.0
        life = self._liveness.of(instance)
        return None if life is None or life.seen is None else time.monotonic() - life.seen

    def standing(self, instance: Instance) -> tuple[Standing, str]:
        """How an instance of `present` is, and why no call should go there, or why that is in doubt; or empty."""
        asked = [each for each in self._asked(instance) if each is not None]
        life = self._liveness.of(instance)
        if any(each.said is not None for each in asked) or (life is not None and life.state == "up"):
            return instance.state, instance.problem
        if life is not None:
            return life.state if life.state != "up" else instance.state, instance.problem or life.reason
        if not asked:
            return instance.state, instance.problem
        return "suspect" if asked[0].problem == ASKED else "gone", instance.problem

    async def check(self, timeout: float) -> None:
        """Looks now whether those that were only heard of are there, for at most so many seconds."""
        await self._liveness.check(timeout)

    def _asked(self, instance: Instance) -> "list[_Followed | None]":
        return [self._followed.get(endpoint) for endpoint in instance.endpoints]

    def _turned(self) -> None:
        """One of them is in another state."""
        self._board.touch()
        self._post()

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

    def _post(self) -> None:
        asked: list[Instances] = []
        for instance in self._chain.present:
            followed = self._followed.get(instance.addresses[0].endpoint)
            if followed is not None:
                asked.append(frozenset({followed.completed(instance)}))
        told = [each for each in self._chain.present if each.addresses[0].endpoint not in self._followed]
        self._liveness.keep(told)
        there = {(f.said.node, f.said.epoch) for f in self._followed.values() if f.said is not None and f.said.node}
        heard = [self._looked_at(each, there) for each in told if self._liveness.listed(each)]
        found = merge([*asked, frozenset(heard)]) if asked else frozenset(heard)
        own = self.own
        if own is not None and own.node:
            found = frozenset(each for each in found if (each.node, each.epoch) != (own.node, own.epoch))
        self._board.post(map(self._nearer, found) if found else NONE)

    def _looked_at(self, instance: Instance, there: Collection[tuple[str, int]]) -> Instance:
        """One that is gone gets no calls, unless it is `there` at another address, where it is asked."""
        life = self._liveness.of(instance)
        if instance.problem or life is None or life.since is None or (instance.node, instance.epoch) in there:
            return instance
        return msgspec.structs.replace(instance, problem=life.reason)


class _Followed:
    """A node that is asked: what it said last, or why it says nothing."""

    task: asyncio.Task[None]

    def __init__(self) -> None:
        self.said: Instance | None = None
        self.problem = ASKED

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
