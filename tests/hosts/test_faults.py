"""What faults cost a caller on a fourth host, who calls 200 times a second.

Prints a table, and keeps it in the file that SPLNODE_FIGURES names: benchmarks/hosts.json is one.
"""

import asyncio
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.hosts.calls import Calls
from tests.hosts.figures import Figures
from tests.hosts.network import Network, needs_namespaces
from tests.hosts.node import HostNode
from tests.require import require

SHOP = Path(__file__).with_name("shop")
ONE = f"{SHOP}/shop.avpr={SHOP}/shop.py:Shop"
TWO = f"{SHOP}/shop_2.avpr={SHOP}/shop.py:Shop2"
CALLER = 4
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def able() -> None:
    needs_namespaces()
    require(shutil.which("nft") is not None, "nft", "apt-get install nftables")


@pytest.fixture(scope="module")
def figures() -> Iterator[Figures]:
    made = Figures()
    yield made
    made.close()


@asynccontextmanager
async def shop(
    folder: Path,
    *,
    message: str = "where",
    services: tuple[str, ...] = (ONE, ONE, ONE),
    rate: float = 200,
) -> AsyncIterator[tuple[list[HostNode], Calls]]:
    """Three nodes that serve the shop, and the caller, once all three have answered it."""
    with Network(CALLER) as network:
        nodes = [
            HostNode(network, host, folder, "--service", service)
            for host, service in zip((1, 2, 3), services, strict=True)
        ]
        calls = Calls(network.command(CALLER, sys.executable), folder, message=message, rate=rate)
        try:
            await asyncio.gather(*(node.start() for node in nodes))
            async with calls:
                await calls.answered_by(*(node.name for node in nodes))
                yield nodes, calls
        finally:
            for node in nodes:
                await node.close()


async def test_killed(figures: Figures, tmp_path: Path) -> None:
    async with shop(tmp_path) as ((one, *_), calls):
        since = one.send(signal.SIGKILL)
        await one.ended()
        await calls.rest(5)
        assert all(call["started"] and "may have run" in call["text"] for call in calls.failed(since - 1))
        assert calls.last_failure(since) < 3
        assert len(calls.failed(since - 1)) <= 5  # what was in flight there: a call takes a millisecond
        await one.start()
        again = await calls.answered_by("n1", since=one.served, within=10)
        figures.add("kill -9 of one node", calls, since, found_again=again - one.served)


async def test_paused_and_resumed(figures: Figures, tmp_path: Path) -> None:
    async with shop(tmp_path) as ((one, *_), calls):
        since = one.send(signal.SIGSTOP)
        await calls.rest(9)
        resumed = one.send(signal.SIGCONT)
        again = await calls.answered_by("n1", since=resumed, within=20)
        await calls.rest(1)
        figures.add("pause of one node for 9 s", calls, since, found_again=again - resumed)
        assert calls.last_failure(since) < 4
        assert calls.gap(since) < 4


async def test_a_cable_cut_for_20_s(figures: Figures, tmp_path: Path) -> None:
    async with shop(tmp_path) as (nodes, calls):
        since = time.monotonic()
        nodes[0].network.cut(1)
        await calls.rest(20)
        nodes[0].network.heal(1)
        healed = time.monotonic()
        again = await calls.answered_by("n1", since=healed, within=20)
        await calls.rest(1)
        figures.add("cable of one node cut for 20 s", calls, since, found_again=again - healed)
        assert calls.last_failure(since) < 4  # clock: faults last in real time


async def test_dropped_in_silence(figures: Figures, tmp_path: Path) -> None:
    async with shop(tmp_path) as (nodes, calls):
        since = time.monotonic()
        nodes[0].network.drop(1)
        await calls.rest(10)
        nodes[0].network.clear(1)
        cleared = time.monotonic()
        again = await calls.answered_by("n1", since=cleared, within=20)
        await calls.rest(1)
        figures.add("packets of one node dropped for 10 s", calls, since, found_again=again - cleared)
        assert calls.last_failure(since) < 4  # clock: faults last in real time


async def test_a_third_of_the_packets_lost(figures: Figures, tmp_path: Path) -> None:
    async with shop(tmp_path) as (nodes, calls):
        since = time.monotonic()
        nodes[0].network.lose(1, 30)
        await calls.rest(10)
        nodes[0].network.clear(1)
        await calls.rest(1)
        figures.add("30 % of one node's packets lost for 10 s", calls, since)
        assert len(calls.failed(since)) < 0.02 * len(calls.since(since))  # clock: faults last in real time


async def test_disconnected_and_reconnected(figures: Figures, tmp_path: Path) -> None:
    async with shop(tmp_path) as (nodes, calls):
        since = time.monotonic()
        nodes[0].network.disconnect(1)
        await calls.rest(5)
        nodes[0].network.connect(1)
        connected = time.monotonic()
        again = await calls.answered_by("n1", since=connected, within=20)
        figures.add("network taken away and given back after 5 s", calls, since, found_again=again - connected)
        assert again - connected < 10  # clock: faults last in real time
        assert calls.last_failure(since) < 4  # clock: faults last in real time


async def test_another_address(figures: Figures, tmp_path: Path) -> None:
    async with shop(tmp_path) as (nodes, calls):
        since = time.monotonic()
        nodes[0].network.disconnect(1)
        nodes[0].network.connect(1, 77)
        again = await calls.answered_by("n1", since=since + 0.5, within=20)
        figures.add("another address for one node", calls, since, found_again=again - since)
        assert again - since < 10  # clock: faults last in real time


async def test_told_to_stop(figures: Figures, tmp_path: Path) -> None:
    async with shop(tmp_path) as ((one, *_), calls):
        since = one.send(signal.SIGTERM)
        assert await one.ended() == 0
        await calls.rest(1)
        figures.add("SIGTERM of one node", calls, since)
        assert calls.failed() == []


async def test_a_rolling_restart(figures: Figures, tmp_path: Path) -> None:
    async with shop(tmp_path) as (nodes, calls):
        since = time.monotonic()
        for node in nodes:
            node.send(signal.SIGTERM)
            assert await node.ended() == 0
            await node.start()
            await calls.answered_by(node.name, since=node.served, within=10)
        figures.add("rolling restart of all three", calls, since)
        assert calls.failed() == []


async def test_a_new_version_rolled_over_the_old(figures: Figures, tmp_path: Path) -> None:
    async with shop(tmp_path, message="buy") as (nodes, calls):
        since = time.monotonic()
        prices = Calls(calls.command, tmp_path, message="price", rate=50)
        async with prices:
            await prices.answered_by("2")
            for node in nodes:
                node.send(signal.SIGTERM)
                assert await node.ended() == 0
                node.options = ("--service", TWO)
                await node.start()
                await calls.answered_by(node.name, since=node.served, within=10)
            changed = time.monotonic()
            await prices.until(lambda found: len(found) > 20, since=changed)
        figures.add("a new version rolled: what resolves", calls, since)
        assert calls.failed() == []
        assert all(not call["started"] for call in prices.failed())
        assert all(  # clock: the fault's own
            "price" in call["text"] and "string" in call["text"] for call in prices.failed(changed)
        )  # clock: faults last in real time
        assert len(prices.failed(changed)) > 20  # no node has the old one any more  # clock: faults last in real time


async def test_frozen_by_a_handler_that_blocks(figures: Figures, tmp_path: Path) -> None:
    async with shop(tmp_path) as ((one, *_), calls):
        since = time.monotonic()
        blocking = asyncio.create_task(one.shell("call", "com.acme.Shop.block", "-d", '{"seconds": 8}'))
        await calls.rest(8)
        await blocking
        over = time.monotonic()
        again = await calls.answered_by("n1", since=over, within=20)
        figures.add("one node frozen by a handler for 8 s", calls, since, found_again=again - over)
        assert calls.last_failure(since) < 4  # clock: faults last in real time


@pytest.mark.parametrize("policy", ["least_request", "round_robin", "weighted"])
async def test_one_node_ten_times_slower(figures: Figures, tmp_path: Path, policy: str) -> None:
    with Network(CALLER) as network:
        # With few places what waits for something is load, and not only what computes.
        config = "[admission]\nrunning = 32\n"
        nodes = [HostNode(network, host, tmp_path, "--service", ONE, config=config) for host in (1, 2, 3)]
        for node in nodes:
            node.environ["SHOP_SLOW"] = "0.2" if node.host == 3 else "0.02"
        try:
            await asyncio.gather(*(node.start() for node in nodes))
            async with Calls(network.command(CALLER, sys.executable), tmp_path, policy=policy) as calls:
                await calls.answered_by("n1", "n2", "n3")
                await calls.rest(12 if policy == "weighted" else 0)  # reports count from the tenth second on
                since = time.monotonic()
                await calls.rest(5)
                share = calls.shares(since).get("n3", 0.0)
                figures.add(f"one ten times slower, {policy}", calls, since, share_of_slow=share, p99=calls.p99(since))
                assert calls.failed() == []
                assert share < (0.4 if policy == "round_robin" else 0.15)  # clock: faults last in real time
        finally:
            for node in nodes:
                await node.close()


async def test_all_gone_and_back(figures: Figures, tmp_path: Path) -> None:
    async with shop(tmp_path) as (nodes, calls):
        since = time.monotonic()
        for node in nodes:
            node.send(signal.SIGKILL)
            await node.ended()
        await calls.rest(4)
        assert all(  # clock: the fault's own
            "com.acme.Shop" in call["text"] for call in calls.failed(since + 1)
        )  # clock: faults last in real time
        await asyncio.gather(*(node.start() for node in nodes))
        back = min(node.served for node in nodes)
        again = await calls.answered_by("n1", "n2", "n3", since=back, within=20)
        await calls.rest(1)
        figures.add("all nodes gone for 4 s and back", calls, since, found_again=again - back)
        assert calls.failed(again) == []
