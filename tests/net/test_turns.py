import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

import splnode
from splnode.net import turns
from splnode.net.mouth import STEADY
from splnode.net.receiving import GLANCE
from splnode.net.turns import FEW, PIECE, POLITE, QUICK, ROUND, Turns
from splnode.wire.room import LEAST
from tests.net.test_accepted import PING, PONG, call
from tests.rpc.conftest import PROTOCOL, Inventory


async def test_a_queue_in_which_each_round_of_the_loop_takes_a_few() -> None:
    queue, order = Turns(), list[str]()

    def again() -> None:
        order.append("a")
        if len(order) < 3 * ROUND:
            queue.soon(again)

    queue.soon(again)
    for number in range(ROUND):
        queue.soon(lambda number=number: order.append(str(number)))  # type: ignore[misc]  # mypy knows no defaults here
    queue.soon(lambda: order.append("cancelled")).cancel()
    await asyncio.sleep(0)
    assert len(order) <= ROUND
    for _ in range(30):
        await asyncio.sleep(0)
    assert order[: ROUND + 1] == ["a", *map(str, range(ROUND))]
    assert "cancelled" not in order
    assert order.count("a") > 1
    queue.soon(lambda: order.append("last"))  # it goes on after it was empty
    await asyncio.sleep(0)
    assert order[-1] == "last"


def test_polite_while_another_sends_a_little(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(turns.time, "monotonic", lambda: now)
    one, other, all_turns = SimpleNamespace(heard=now), SimpleNamespace(heard=now), Turns()
    assert not all_turns.polite(one)
    all_turns.light = one
    assert not all_turns.polite(one)  # to itself
    all_turns.light = other
    assert all_turns.polite(one)
    assert all_turns.light is None
    now += POLITE / 2
    assert all_turns.polite(one)
    now += POLITE
    assert not all_turns.polite(one)
    all_turns.light = other  # that was long ago
    assert not all_turns.polite(one)
    assert all_turns.light is None


@pytest.mark.parametrize(
    ("size", "count"), [(10, 40 * FEW), (5000, 40 * FEW), (LEAST + 100, 100), (GLANCE + 2 * PIECE, 100), (2**20, 20)]
)
async def test_who_sends_a_little_is_served_between_two_turns_of_who_floods(size: int, count: int) -> None:
    order: list[str] = []

    class Noting(Inventory):
        async def echo(self, value: object) -> object:
            order.append(str(value)[:1])
            return value

    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Noting()}) as server:
        port = server.endpoints[0].port
        (quiet, quiet_writer), (loud, loud_writer) = [await asyncio.open_connection("127.0.0.1", port) for _ in "12"]
        for reader, writer in ((quiet, quiet_writer), (loud, loud_writer)):
            writer.write(PING)
            await asyncio.wait_for(reader.readexactly(len(PONG)), 20)
        for _ in range(STEADY + 1):
            quiet_writer.write(call(1, "echo", value="q"))
            await asyncio.wait_for(quiet.readuntil(b"q"), 20)
        order.clear()
        loud_writer.write(b"".join(call(n, "echo", value="l" * size) for n in range(count)))
        while not order:
            await asyncio.sleep(0)
        quiet_writer.write(call(2, "echo", value="q"))
        await asyncio.wait_for(quiet.readuntil(b"q"), 20)
        place = order.index("q")
        assert place < count // 2
        got: Any = 0
        while got < count * size:  # all the others are answered too
            got += len(await asyncio.wait_for(loud.read(1 << 20), 10))
        for writer in (quiet_writer, loud_writer):
            writer.close()


async def test_a_round_has_so_much_time_for_who_is_polite(monkeypatch: pytest.MonkeyPatch) -> None:
    now, all_turns = 100.0, Turns()
    monkeypatch.setattr(turns.time, "monotonic", lambda: now)
    assert not all_turns.over()
    assert not all_turns.over()
    now += 2 * QUICK
    assert all_turns.over()
    await asyncio.sleep(0)  # the loop goes on
    assert not all_turns.over()


async def test_of_many_who_come_at_once_all_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though most of what came is read in one turn and run in another."""
    monkeypatch.setattr(Turns, "over", lambda self: True)
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}) as server:
        port = server.endpoints[0].port
        quiet, *lines = [await asyncio.open_connection("127.0.0.1", port) for _ in range(9)]
        for reader, writer in (quiet, *lines):
            writer.write(PING)
            await asyncio.wait_for(reader.readexactly(len(PONG)), 5)
        for _ in range(STEADY + 1):
            quiet[1].write(call(1, "echo", value="q"))
            await asyncio.wait_for(quiet[0].readuntil(b"q"), 5)
        for _, writer in lines:
            writer.write(b"".join(call(n, "echo", value=f"{n}" * 100) for n in range(8)))
        for reader, _ in lines:
            for n in range(8):
                await asyncio.wait_for(reader.readuntil(f"{n}".encode() * 100), 5)
        for _, writer in (quiet, *lines):
            writer.close()
