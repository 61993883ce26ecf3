import asyncio
from collections.abc import AsyncIterator

import pytest

from splnode.discovery import following
from splnode.discovery.chain import Chain, merge
from splnode.discovery.resolver import ALL, Address, Board, Instance, Instances, Service
from splnode.endpoint import Endpoint

A, B, C = (Endpoint("tcp", f"10.0.0.{number}", 1) for number in (1, 2, 3))


def instance(source: str, *endpoints: Endpoint, node: str = "", epoch: int = 0, **others: object) -> Instance:
    addresses = tuple(Address(each, source) for each in endpoints)
    return Instance(addresses, node, epoch, **others)  # type: ignore[arg-type]  # a test's own


class Posted(Board):
    """A resolver that says what it is told to say."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


class Fails:
    name = "fails"

    def __init__(self) -> None:
        self.tries = 0
        self.tried = asyncio.Event()

    async def watch(self, service: str = ALL) -> AsyncIterator[Instances]:
        self.tries += 1
        self.tried.set()
        if self.tries == 1:
            yield frozenset({instance("fails", C)})
        raise OSError("no such luck")


class Hangs:
    name = "hangs"

    async def watch(self, service: str = ALL) -> AsyncIterator[Instances]:
        await asyncio.Event().wait()
        yield frozenset()


def test_two_resolvers_that_know_the_same_endpoint() -> None:
    heard = instance("mdns", A, node="n", epoch=3, services=(Service("x.Y"),), weight=2.0)
    (one,) = merge([frozenset({instance("static", A)}), frozenset({heard})])
    assert one.addresses == (Address(A, "static"), Address(A, "mdns"))
    assert (one.node, one.epoch, one.services, one.weight) == ("n", 3, (Service("x.Y"),), 2.0)


def test_two_resolvers_that_name_the_same_life() -> None:
    one = instance("file", A, node="n", epoch=3)
    assert len(merge([frozenset({one}), frozenset({instance("mdns", B, node="n", epoch=3)})])) == 1
    assert len(merge([frozenset({one}), frozenset({instance("mdns", B, node="n", epoch=4)})])) == 2
    assert len(merge([frozenset({one}), frozenset({instance("mdns", A, node="m", epoch=3)})])) == 2


def test_what_is_drained_or_bad_for_one_is_so_for_all() -> None:
    (one,) = merge([frozenset({instance("a", A)}), frozenset({instance("b", A, state="drain", problem="gone")})])
    assert (one.state, one.problem) == ("drain", "gone")


def test_two_of_one_resolver_stay_two() -> None:
    true, forged = instance("mdns", A, node="n", epoch=3), instance("mdns", B, node="n", epoch=3)
    assert merge([frozenset({true, forged})]) == {true, forged}
    with_static = merge([frozenset({instance("static", A)}), frozenset({true, forged})])
    assert {each.endpoints for each in with_static} == {(A,), (B,)}


def test_nothing_is_nothing() -> None:
    assert merge([]) == merge([frozenset(), frozenset()]) == frozenset()


async def test_a_chain_puts_together_what_each_says_last() -> None:
    one, two = Posted("one"), Posted("two")
    chain = Chain([one, two])
    chain.start()
    sets = chain.watch("x.Y")
    assert await anext(sets) == frozenset()
    one.post([instance("one", A)])
    assert {each.endpoints for each in await asyncio.wait_for(anext(sets), 20)} == {(A,)}
    two.post([instance("two", A), instance("two", B)])
    found = await asyncio.wait_for(anext(sets), 20)
    assert {each.sources for each in found} == {("one", "two"), ("two",)}
    assert [(each.name, each.found) for each in chain.reports] == [("one", 1), ("two", 2)]
    one.post([])
    assert {each.sources for each in await asyncio.wait_for(anext(sets), 20)} == {("two",)}
    await chain.close()
    await chain.close()
    with pytest.raises(StopAsyncIteration):
        await anext(sets)


async def test_one_that_fails_or_hangs_harms_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "FIRST_PAUSE", 0.001)
    good, bad = Posted("good"), Fails()
    chain = Chain([Hangs(), bad, good])
    chain.start()
    good.post([instance("good", A)])
    while bad.tries < 3:
        bad.tried.clear()
        await asyncio.wait_for(bad.tried.wait(), 20)
    assert {each.sources for each in chain.present} == {("fails",), ("good",)}  # what it said once is kept
    assert [each.problem for each in chain.reports] == ["", "no such luck", ""]
    assert not await chain.settled(0.001)  # one has not said anything yet
    await chain.close()


async def test_a_chain_has_settled_when_each_has_said_something() -> None:
    chain = Chain([Posted("one"), Fails()])
    chain.start()
    assert await chain.settled(5)
    await chain.close()
    empty = Chain([])
    empty.start()
    assert await empty.settled(5)
    await empty.close()


async def test_what_is_wrong_is_said_whether_it_was_met_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    class Knows(Posted):
        problem = ""

    bad, knows = Fails(), Knows("file")
    chain = Chain([bad, Posted("good"), knows])
    assert chain.problem == ""
    chain.start()
    await asyncio.wait_for(bad.tried.wait(), 20)
    while not chain.problem:
        await asyncio.sleep(0)
    assert chain.problem == "fails: no such luck"
    knows.problem = "peers.toml: no file"
    assert chain.problem == "fails: no such luck; file: peers.toml: no file"
    await chain.close()
