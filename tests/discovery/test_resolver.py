import asyncio

import pytest

from splnode.discovery.resolver import ALL, Address, Board, Instance, Service, serving
from splnode.endpoint import Endpoint

A, B = Endpoint("tcp", "10.0.0.1", 1), Endpoint("tcp", "10.0.0.2", 1)


def instance(*endpoints: Endpoint, source: str = "static", **others: object) -> Instance:
    return Instance(tuple(Address(each, source) for each in endpoints), **others)  # type: ignore[arg-type]  # a test's own


def test_an_instance_is_plain_data() -> None:
    one = Instance((Address(A, "mdns"), Address(A, "file"), Address(B, "file")), "n", 1, (Service("a.B"),))
    again = Instance((Address(A, "mdns"), Address(A, "file"), Address(B, "file")), "n", 1, (Service("a.B"),))
    assert one == again and hash(one) == hash(again)
    assert one.endpoints == (A, B)
    assert one.sources == ("mdns", "file")
    assert one.service("a.B") == Service("a.B")
    assert one.service("a.C") is None
    with pytest.raises(AttributeError):
        one.node = "other"  # type: ignore[misc]  # that is the test


def test_who_may_serve() -> None:
    told, silent = instance(A, services=(Service("a.B"),)), instance(B)
    every = frozenset({told, silent})
    assert serving(every, "a.B") == every
    assert serving(every, "a.C") == {silent}
    assert serving(every, ALL) == every


async def test_a_board_gives_whole_sets_and_only_those_that_changed() -> None:
    board = Board()
    seen: list[int] = []

    async def follow(service: str) -> None:
        async for found in board.watch(service):
            seen.append(len(found))

    watching = asyncio.ensure_future(follow("a.B"))
    await asyncio.sleep(0)
    assert board.post([instance(A)])
    await asyncio.sleep(0)
    assert not board.post([instance(A)])
    board.post([instance(A), instance(B, services=(Service("a.C"),))])  # not of this service
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert seen == [0, 1]
    board.post([])
    await asyncio.sleep(0)
    assert seen == [0, 1, 0]
    board.close()
    await asyncio.wait_for(watching, 5)


async def test_what_is_posted_while_a_watcher_is_busy_is_not_lost() -> None:
    board = Board()
    sets = board.watch()
    assert await anext(sets) == frozenset()
    board.post([instance(A)])
    board.post([instance(A), instance(B)])
    assert len(await asyncio.wait_for(anext(sets), 5)) == 2
