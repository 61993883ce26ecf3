"""Several resolvers as one: what each of them says last, put together.

Two instances are one where they share an endpoint, or where two resolvers name the same node in the same life. What
an earlier resolver says goes before what a later one says; every address keeps its source. Two instances of one
resolver are never put together: a forged announcement stands beside the true one, and does not hide it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence

import msgspec

from splnode.discovery.following import follow
from splnode.discovery.resolver import ALL, NONE, Address, Board, Instance, Instances, Resolver


class Report(msgspec.Struct, frozen=True):
    """How one resolver does: what it has found, and why it says nothing more, where it does not."""

    name: str
    found: int = 0
    problem: str = ""


class Chain:
    """A Resolver over others. `start` it, and `close` it; it closes none of the resolvers.

    A resolver that fails, ends or hangs harms no other: its last set stays, and it is watched anew after a pause.
    """

    name = "chain"

    def __init__(self, resolvers: Iterable[Resolver]) -> None:
        self._resolvers = tuple(resolvers)
        self._said: list[Instances] = [NONE] * len(self._resolvers)
        self._problems = [""] * len(self._resolvers)
        self._silent = set(range(len(self._resolvers)))  # those that have said nothing yet
        self._settled = asyncio.Event()
        self._board = Board()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def present(self) -> Instances:
        """All instances known now."""
        return self._board.present

    @property
    def reports(self) -> tuple[Report, ...]:
        """One for each resolver, in order."""
        named = zip(self._resolvers, self._said, self._problems, strict=True)
        return tuple(Report(resolver.name, len(said), problem) for resolver, said, problem in named)

    @property
    def problem(self) -> str:
        """Why fewer are found than there may be: what is wrong with resolvers, as it was met or as they say."""
        own = ((each.name, getattr(each, "problem", "")) for each in self._resolvers)
        met = ((report.name, report.problem) for report in self.reports)
        return "; ".join(dict.fromkeys(f"{name}: {problem}" for name, problem in (*met, *own) if problem))

    def start(self) -> None:
        """Begins to watch the resolvers."""
        self._tasks = [asyncio.ensure_future(self._follow(place)) for place in range(len(self._resolvers))]
        if not self._tasks:
            self._settled.set()

    async def close(self) -> None:
        """Watches no more. May be repeated."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2)  # a resolver that does not let go is left behind
        self._tasks = []
        self._board.close()

    def watch(self, service: str = ALL) -> AsyncIterator[Instances]:
        """What all of them know together. The first set comes at once; `settled` says when it means something."""
        return self._board.watch(service)

    async def settled(self, timeout: float) -> bool:
        """Waits until each resolver has said or failed something; False after so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._settled.wait()
        return self._settled.is_set()

    async def _follow(self, place: int) -> None:
        await follow(
            self._resolvers[place],
            ALL,
            lambda instances: self._hears(place, instances, ""),
            lambda problem: self._hears(place, self._said[place], problem),
        )

    def _hears(self, place: int, instances: Instances, problem: str) -> None:
        self._said[place], self._problems[place] = instances, problem
        self._silent.discard(place)
        self._board.post(merge(self._said))
        if not self._silent:
            self._settled.set()


def merge(said: Sequence[Instances]) -> Instances:
    """The sets of several resolvers as one; see above for what makes two instances one."""
    filled = [instances for instances in said if instances]
    if len(filled) < 2:
        return filled[0] if filled else NONE
    groups: list[_Group] = []
    by_endpoint: dict[object, _Group] = {}
    by_life: dict[tuple[str, int], _Group] = {}
    for instances in filled:
        added: list[tuple[Instance, _Group]] = []
        for instance in sorted(instances, key=_order):
            life = (instance.node, instance.epoch)
            found = [by_endpoint[endpoint] for endpoint in instance.endpoints if endpoint in by_endpoint]
            if not found and all(life) and life in by_life:
                found = [by_life[life]]
            known = next((group for group in found if group.fits(instance)), None)
            if known is None:
                known = _Group()
                groups.append(known)
            known.members.append(instance)
            added.append((instance, known))
        for instance, group in added:  # only now: two of one resolver are two
            by_life.setdefault((instance.node, instance.epoch), group)
            for endpoint in instance.endpoints:
                by_endpoint.setdefault(endpoint, group)
    return frozenset(group.merged() for group in groups)


class _Group:
    """Instances of several resolvers that are one."""

    def __init__(self) -> None:
        self.members: list[Instance] = []

    def fits(self, other: Instance) -> bool:
        """Whether nothing that is known of both is different."""
        return all(
            not (each.node and other.node) or (each.node, each.epoch) == (other.node, other.epoch)
            for each in self.members
        )

    def merged(self) -> Instance:
        """What they say together; the first that knows something is believed."""
        if len(self.members) == 1:
            return self.members[0]
        addresses: dict[Address, None] = {}
        for member in self.members:
            addresses.update(dict.fromkeys(member.addresses))
        named = next((each for each in self.members if each.node), self.members[0])
        told = next((each.services for each in self.members if each.services is not None), None)
        return Instance(
            tuple(addresses),
            named.node,
            named.epoch,
            told,
            "drain" if any(each.state == "drain" for each in self.members) else "up",
            next((each.weight for each in self.members if each.weight != 1.0), 1.0),
            next((each.problem for each in self.members if each.problem), ""),
        )


def _order(instance: Instance) -> tuple[str, int, str]:
    return instance.node, instance.epoch, str(instance.addresses[0].endpoint)
