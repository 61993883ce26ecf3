import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from splnode.discovery import liveness as module
from splnode.discovery.liveness import Life, Liveness, Pace
from splnode.discovery.resolver import Address, Instance
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code


def instance(number: int, *more: str, source: str = "mdns") -> Instance:
    hosts = (f"10.0.0.{number}", *more)
    return Instance(tuple(Address(Endpoint("tcp", host, 1), source) for host in hosts), f"n{number}", 1)


class World:
    """Nodes that answer, refuse, or do not answer; a clock that is turned by hand; who was looked at."""

    def __init__(self, pace: Pace | None = None) -> None:
        self.now = 1000.0
        self.dead: dict[str, bool] = {}  # by host: whether the connection is refused
        self.looked: list[str] = []
        self.changes = 0
        self.used: set[str] = set()
        self.hold: Callable[[], Coroutine[Any, Any, object]] | None = None
        self.liveness = Liveness(self.reach, self.changed, pace or Pace(), lambda: self.used, lambda: self.now)

    def changed(self) -> None:
        self.changes += 1

    async def reach(self, endpoint: Endpoint) -> None:
        self.looked.append(endpoint.host)
        if self.hold is not None:
            await self.hold()
        if endpoint.host in self.dead:
            error = CallError(Code.UNAVAILABLE, f"cannot connect to {endpoint}", started=False)
            raise error from (ConnectionRefusedError() if self.dead[endpoint.host] else None)

    async def round(self, seconds: float = 1.0) -> list[str]:
        """Time passes, and a round is made; who was looked at."""
        self.now += seconds
        del self.looked[:]
        self.liveness.round()
        if self.liveness._tasks:
            await asyncio.wait(list(self.liveness._tasks), timeout=5)
        return sorted(self.looked)

    def life(self, instance: Instance) -> Life:
        found = self.liveness.of(instance)
        assert found is not None
        return found


async def test_each_is_looked_at_now_and_then() -> None:
    world, one = World(), instance(1)
    world.liveness.keep([one])
    assert world.life(one).state == "up" and world.life(one).seen is None
    assert await world.round(9.5) == []  # it was announced just now
    assert await world.round(5) == ["10.0.0.1"]
    assert world.life(one).seen == world.now
    assert await world.round(9.5) == []
    assert await world.round(5) == ["10.0.0.1"]
    assert world.changes == 0


async def test_one_that_does_not_answer_is_suspect_then_gone_then_not_listed_and_back_when_it_answers() -> None:
    world, one = World(), instance(1)
    world.liveness.keep([one])
    world.dead["10.0.0.1"] = False
    await world.round(15)
    assert (world.life(one).state, world.changes) == ("suspect", 1)
    assert "cannot connect to tcp://10.0.0.1:1" in world.life(one).reason
    assert await world.round(2) == ["10.0.0.1"]  # soon again
    assert (world.life(one).state, world.changes) == ("suspect", 1)
    await world.round(2)
    assert (world.life(one).state, world.changes) == ("gone", 2)
    assert world.liveness.listed(one)
    assert await world.round(3) == ["10.0.0.1"]  # it may be back soon
    await world.round(28)
    assert not world.liveness.listed(one) and world.changes == 3
    await world.round(3)
    assert world.changes == 3
    await world.round(40)
    assert await world.round(3) == []  # and later it is looked at as seldom as others
    world.dead.clear()
    await world.round(15)
    assert world.life(one).state == "up" and world.liveness.listed(one) and world.changes == 4


async def test_where_nobody_listens_one_look_will_do() -> None:
    world, one, two = World(), instance(1), instance(2, "10.0.9.2")
    world.liveness.keep([one, two])
    world.dead |= {"10.0.0.1": True, "10.0.0.2": True, "10.0.9.2": False}
    await world.round(15)
    assert world.life(one).state == "gone"
    assert world.life(two).state == "suspect"  # one of its addresses says nothing
    world.dead.pop("10.0.9.2")
    await world.round(2)
    assert world.life(two).state == "up"


async def test_so_many_a_second_and_no_more() -> None:
    world = World(Pace(rate=5.0))
    world.liveness.keep([instance(number) for number in range(200)])
    rounds = [await world.round(15 if not number else 1) for number in range(40)]
    assert all(len(looked) == 5 for looked in rounds)
    assert len({host for looked in rounds for host in looked}) == 200  # each in its turn


async def test_those_that_calls_go_to_are_not_looked_at() -> None:
    world, one, two = World(), instance(1), instance(2)
    world.liveness.keep([one, two])
    world.used = {"n1"}
    world.dead |= {"10.0.0.1": True}
    assert await world.round(15) == ["10.0.0.2"]
    assert world.life(one).seen == world.now
    world.used = set()
    assert await world.round(15) == ["10.0.0.1", "10.0.0.2"]
    assert world.life(one).state == "gone"


async def test_what_is_announced_anew_is_there_again_and_what_is_not_is_forgotten() -> None:
    world, one, other = World(), instance(1), instance(1, source="file")
    world.liveness.keep([one])
    world.dead["10.0.0.1"] = True
    await world.round(15)
    world.liveness.keep([one])
    assert world.life(one).state == "gone"
    world.liveness.keep([one, other])
    assert world.life(other).state == "up"
    world.liveness.keep([])
    assert world.liveness.of(one) is None and world.liveness.listed(one)


async def test_whoever_asks_sees_all_looked_at() -> None:
    world, every = World(), [instance(number) for number in range(1, 100)]
    world.liveness.keep(every)
    world.dead |= {"10.0.0.7": True, "10.0.0.8": False}
    await world.liveness.check(5)
    assert len(world.looked) == 99
    assert [world.life(each).state for each in every[6:8]] == ["gone", "suspect"]
    del world.looked[:]
    await world.liveness.check(5)
    assert sorted(world.looked) == ["10.0.0.7", "10.0.0.8"]  # the others have just answered
    world.hold = asyncio.Event().wait
    await world.liveness.check(0.001)
    assert world.life(every[6]).looking  # whoever asked waits no longer; it has an end of its own
    await world.liveness.close()
    assert not world.life(every[6]).looking
    await world.liveness.close()


async def test_the_rounds_go_on_by_themselves_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SOON", 0.001)
    never = World(Pace(interval=0.0))
    never.liveness.start()
    assert not never.liveness._tasks
    world, done = World(), asyncio.Event()
    monkeypatch.setattr(world.liveness, "round", done.set)
    world.liveness.start()
    await asyncio.wait_for(done.wait(), 20)
    await world.liveness.close()
    assert not world.liveness._tasks
