import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from splnode.discovery import roster as module
from splnode.discovery.liveness import Pace
from splnode.discovery.resolver import ALL, Address, Board, Instance, Instances, Service
from splnode.discovery.roster import Roster
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code

A, B, C = (Endpoint("tcp", f"10.0.0.{number}", 1) for number in (1, 2, 3))
SERVES = (Service("x.Y", "", b"w" * 16, b"r" * 16),)


def instance(source: str, *endpoints: Endpoint, node: str = "", epoch: int = 0, **others: Any) -> Instance:
    return Instance(tuple(Address(each, source) for each in endpoints), node, epoch, **others)


class Posted(Board):
    def __init__(self, name: str, *instances: Instance) -> None:
        super().__init__()
        self.name = name
        self.post(instances)


class Peers:
    """What the nodes at some endpoints say; those that say nothing cannot be reached."""

    def __init__(self) -> None:
        self.says: dict[Endpoint, Board] = {}
        self.alive: set[Endpoint] = set()
        self.lost = asyncio.Event()

    def at(self, endpoint: Endpoint, **said: Any) -> None:
        self.says.setdefault(endpoint, Board()).post([instance("", endpoint, **said)])

    async def follow(self, endpoint: Endpoint) -> AsyncIterator[Instance]:
        if endpoint not in self.says:
            raise CallError(Code.UNAVAILABLE, f"nobody at {endpoint}")
        async for found in self.says[endpoint].watch():
            for each in found:
                yield each

    async def reach(self, endpoint: Endpoint) -> None:
        if endpoint not in self.alive:
            raise CallError(Code.UNAVAILABLE, f"no way to {endpoint}")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN", 0.001)


async def seen(roster: Roster, fits: Callable[[Instances], bool], service: str = ALL) -> Instances:
    async with asyncio.timeout(10):
        async for found in roster.watch(service):
            if fits(found):
                return found
    raise AssertionError


def the(found: Instances, endpoint: Endpoint) -> Instance:
    (one,) = (each for each in found if endpoint in each.endpoints)
    return one


async def test_an_address_is_asked_who_is_there() -> None:
    peers = Peers()
    roster = Roster([Posted("static", instance("static", A), instance("static", B))], peers.follow, peers.reach)
    roster.start()
    found = await seen(roster, lambda found: all("nobody at" in each.problem for each in found) and len(found) == 2)
    assert all(each.services is None for each in found)
    peers.at(A, node="n", epoch=7, services=SERVES, weight=2.0)
    one = the(await seen(roster, lambda found: any(each.node for each in found)), A)
    assert (one.node, one.epoch, one.services, one.weight, one.problem) == ("n", 7, SERVES, 2.0, "")
    assert one.sources == ("static",)
    peers.at(A, node="n", epoch=7, services=SERVES, state="drain")
    await seen(roster, lambda found: the(found, A).state == "drain")
    peers.says.pop(A).close()
    lost = the(await seen(roster, lambda found: "nobody" in the(found, A).problem), A)
    assert (lost.node, lost.services) == ("", None)
    await roster.close()
    await roster.close()


async def test_one_node_at_two_addresses_is_one() -> None:
    peers = Peers()
    for endpoint in (A, B):
        peers.at(endpoint, node="n", epoch=7, services=SERVES)
    heard = instance("mdns", C, node="n", epoch=7, services=SERVES)
    static = Posted("static", instance("static", A), instance("static", B))
    roster = Roster([static, Posted("mdns", heard)], peers.follow, peers.reach)
    roster.start()
    (one,) = await seen(roster, lambda found: len(found) == 1)
    assert set(one.endpoints) == {A, B, C}
    await roster.close()


async def test_this_node_is_not_among_the_others() -> None:
    peers = Peers()
    peers.at(A, node="me", epoch=1, services=SERVES)
    peers.at(B, node="me", epoch=2, services=SERVES)  # another that claims our id
    roster = Roster([Posted("static", instance("static", A), instance("static", B))], peers.follow, peers.reach)
    roster.own = instance("", A, node="me", epoch=1)
    roster.start()
    found = await seen(roster, lambda found: len(found) == 1 and all(each.node for each in found))
    assert the(found, B).epoch == 2
    assert roster.find("me") == [the(found, B)]
    assert roster.find(str(B)) == [the(found, B)]
    assert roster.find("nobody") == []
    await roster.close()


async def test_one_that_is_not_who_it_is_said_to_be() -> None:
    peers = Peers()
    peers.at(A, node="other", epoch=1, services=SERVES)
    roster = Roster([Posted("file", instance("file", A, node="n"))], peers.follow, peers.reach)
    roster.start()
    found = await seen(roster, lambda found: any("says that it is other" in each.problem for each in found))
    assert the(found, A).node == "other"
    await roster.close()


async def test_those_that_were_heard_are_looked_at() -> None:
    peers = Peers()
    peers.alive = {A}
    here = instance("mdns", A, node="here", epoch=1, services=SERVES)
    gone = instance("mdns", B, node="gone", epoch=1, services=SERVES)
    used: set[str] = set()
    pace = Pace(strikes=2, listed=0.0)
    roster = Roster([Posted("mdns", here, gone)], peers.follow, peers.reach, pace=pace, in_use=lambda: used)
    roster.start()
    assert all(not each.problem for each in await seen(roster, lambda found: len(found) == 2))
    assert roster.age(here) is None
    known = roster.revision
    await roster.check(5)
    assert roster.revision != known  # whoever watches is told
    found = the(roster.present, B)
    assert (found.problem, *roster.standing(found)) == ("", "suspect", f"no way to {B}")  # it still gets calls
    assert roster.standing(the(roster.present, A)) == ("up", "") and roster.age(here) is not None
    await roster.check(5)
    found = the(roster.present, B)
    assert (found.problem, *roster.standing(found)) == (f"no way to {B}", "gone", f"no way to {B}")
    assert roster.find("gone")[0].problem
    roster._liveness.round()
    assert [each.node for each in roster.present] == ["here"]  # its time in the list is over
    peers.alive = {A, B}
    await roster.check(5)
    assert the(roster.present, B).problem == ""
    assert roster.standing(the(roster.present, B)) == ("up", "")
    await roster.close()


async def test_one_that_is_there_at_another_address_is_not_gone() -> None:
    peers = Peers()
    peers.at(A, node="n", epoch=7, services=SERVES)
    heard = instance("mdns", B, node="n", epoch=7, services=SERVES)
    resolvers = [Posted("static", instance("static", A)), Posted("mdns", heard)]
    roster = Roster(resolvers, peers.follow, peers.reach, pace=Pace(strikes=1, listed=0.0))
    roster.start()
    await seen(roster, lambda found: any(set(each.endpoints) == {A, B} for each in found))
    await roster.check(5)
    (one,) = roster.present
    assert (one.problem, *roster.standing(one)) == ("", "up", "")
    peers.says.pop(A).close()
    lost = await seen(roster, lambda found: all(each.problem for each in found))
    assert {roster.standing(each)[0] for each in lost} == {"gone"}
    await roster.close()


async def test_how_one_stands_that_is_asked() -> None:
    peers = Peers()
    roster = Roster([Posted("static", instance("static", A))], peers.follow, peers.reach)
    roster.start()
    (one,) = await seen(roster, bool)
    assert roster.standing(one)[0] in ("suspect", "gone")
    (one,) = await seen(roster, lambda found: any("nobody at" in each.problem for each in found))
    assert roster.standing(one) == ("gone", one.problem)
    peers.at(A, node="n", epoch=7, services=SERVES, state="drain")
    (one,) = await seen(roster, lambda found: any(each.node for each in found))
    assert roster.standing(one) == ("drain", "")
    await roster.close()


async def test_an_address_that_is_nearer_goes_first() -> None:
    near = Endpoint("unix", path="/run/s")
    ready = False

    def nearer(instance: Instance) -> Instance:
        told = (Address(near, "host"), *instance.addresses)
        return msgspec.structs.replace(instance, addresses=told) if ready else instance

    peers = Peers()
    roster = Roster([Posted("mdns", instance("mdns", A, services=SERVES))], peers.follow, peers.reach, nearer)
    roster.start()
    await seen(roster, bool)
    ready = True
    roster.post()
    (one,) = roster.present
    assert one.endpoints == (near, A) and one.sources == ("host", "mdns")
    assert roster.standing(one) == ("up", "")
    await roster.close()


async def test_what_a_peer_makes_us_raise_harms_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = Peers()
    peers.at(A, node="n", epoch=7, services=SERVES)

    async def follow(endpoint: Endpoint) -> AsyncIterator[Instance]:
        if endpoint == B:
            raise KeyError("bug")
        async for each in peers.follow(endpoint):
            yield each

    monkeypatch.setattr(module.log, "exception", lambda *_, **__: None, raising=False)
    roster = Roster([Posted("static", instance("static", A), instance("static", B))], follow, peers.reach)
    roster.start()
    found = await seen(roster, lambda found: len(found) == 2 and "KeyError" in the(found, B).problem)
    assert (await seen(roster, lambda found: bool(the(found, A).node))) and the(found, B).services is None
    assert [each.found for each in roster.reports] == [2]
    await roster.close()
