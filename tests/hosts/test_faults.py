"""What faults cost a caller on a fourth host, who calls 200 times a second.

In containers where there is an engine, else in network namespaces; SPLNODE_HOSTS=namespaces,containers says otherwise.
Prints a table, and keeps it in the file that SPLNODE_FIGURES names: benchmarks/hosts.json is one. Nobody is told of a
fault: that there is one, and that it is over, is found by those whom it hits.
"""

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.hosts.calls import Calls
from tests.hosts.containers import BUILDS, ContainerNode, Containers, build, has_engine, needs_engine
from tests.hosts.figures import Figures
from tests.hosts.network import Network, needs_namespaces
from tests.hosts.node import HostNode
from tests.require import require

SHOP = Path(__file__).with_name("shop")
ONE = f"{SHOP}/shop.avpr={SHOP}/shop.py:Shop"
TWO = f"{SHOP}/shop_2.avpr={SHOP}/shop.py:Shop2"
CALLER, ANOTHER = 4, 5
pytestmark = [pytest.mark.slow, pytest.mark.timeout(BUILDS)]


class Ground(NamedTuple):
    """Where the hosts are, what makes them, and the figures of all its tests."""

    network: Callable[[int], Any]
    node: type[HostNode]
    figures: Figures


GROUNDS = os.environ.get("SPLNODE_HOSTS") or ("containers" if has_engine() else "namespaces")


@pytest.fixture(scope="module", params=GROUNDS.split(","))
def ground(request: pytest.FixtureRequest) -> Iterator[Ground]:
    require(shutil.which("nft") is not None, "nft", "apt-get install nftables")
    if request.param == "namespaces":
        needs_namespaces()
        made = Ground(Network, HostNode, Figures())
    else:
        needs_engine()
        build()
        made = Ground(Containers, ContainerNode, Figures("containers: "))
    yield made
    made.figures.close()


class Shops:
    """Three nodes that serve the shop, and who calls them."""

    def __init__(self, ground: Ground, network: Any, nodes: list[HostNode], calls: Calls) -> None:
        self.network = network
        self.nodes = nodes
        self.one = nodes[0]
        self.calls = calls
        self._figures = ground.figures

    async def back(self, fault: str, since: float, mended: float, within: float = 20) -> None:
        """It is over: the first node is found again. What that cost is noted; no call was given to it for long."""
        again = await self.calls.answered_by("n1", since=mended, within=within)
        await self.calls.rest(1)
        self.note(fault, since, found_again=again - mended)
        assert self.calls.last_failure(since) < 4
        assert self.calls.gap(since) < 4

    def note(self, fault: str, since: float, **more: float) -> None:
        """What it has cost so far."""
        self._figures.add(fault, self.calls, since, **more)


@asynccontextmanager
async def shops(
    ground: Ground,
    folder: Path,
    *,
    message: str = "where",
    policy: str = "",
    slow: tuple[float, ...] = (0.0, 0.0, 0.0),
    config: str = "",
) -> AsyncIterator[Shops]:
    """Once all three nodes have answered the caller. `slow`: how many seconds each takes for an answer."""
    with ground.network(ANOTHER) as network:
        nodes = [ground.node(network, host, folder, "--service", ONE, config=config) for host in (1, 2, 3)]
        for node, seconds in zip(nodes, slow, strict=True):
            node.environ["SHOP_SLOW"] = str(seconds)
        calls = Calls(network.command(CALLER, sys.executable), folder, message=message, policy=policy)
        try:
            await asyncio.gather(*(node.start() for node in nodes))
            async with calls:
                await calls.answered_by(*(node.name for node in nodes))
                yield Shops(ground, network, nodes, calls)
        finally:
            for node in nodes:
                await node.close()


async def test_killed(ground: Ground, tmp_path: Path) -> None:
    async with shops(ground, tmp_path, slow=(0.1, 0.1, 0.1)) as made:  # so that some are running there
        one, calls = made.one, made.calls
        since = one.send(signal.SIGKILL)
        await one.ended()
        ended = time.monotonic()
        await calls.rest(5)
        failed = calls.failed(since - 1)
        assert 0 < len(failed) <= 3 * 200 * 0.1 / 3 + 10  # a third of the calls that were running
        assert all(call["started"] and "may have run" in call["text"] for call in failed)
        assert max(call["began"] for call in failed) <= ended  # clock: the fault's own
        await one.start()
        await made.back("kill -9 of one node", since, one.served, within=10)


FAULTS = {
    "pause of one node": (9.0, lambda made: made.one.send(signal.SIGSTOP), lambda made: made.one.send(signal.SIGCONT)),
    "cable of one node cut": (20.0, lambda made: made.network.cut(1), lambda made: made.network.heal(1)),
    "packets of one node dropped": (10.0, lambda made: made.network.drop(1), lambda made: made.network.clear(1)),
    "network taken away and given back": (
        5.0, lambda made: made.network.disconnect(1), lambda made: made.network.connect(1),
    ),
}  # fmt: skip
"""How long each lasts, how it begins, and how it ends."""


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_that_ends(ground: Ground, tmp_path: Path, fault: str) -> None:
    seconds, begin, end = FAULTS[fault]
    async with shops(ground, tmp_path) as made:
        since = time.monotonic()
        begin(made)
        await made.calls.rest(seconds)
        end(made)
        # Taken away and given back it is there within 10 s; a pause may have made it wait longer for its probe.
        within = 10.0 if "network" in fault else 20.0
        await made.back(f"{fault}, {seconds:g} s", since, time.monotonic(), within)


async def test_a_third_of_the_packets_lost(ground: Ground, tmp_path: Path) -> None:
    async with shops(ground, tmp_path) as made:
        since = time.monotonic()
        made.network.lose(1, 30)
        await made.calls.rest(10)
        made.network.clear(1)
        await made.calls.rest(1)
        made.note("30 % of one node's packets lost, 10 s", since)
        assert len(made.calls.failed(since)) < 0.02 * len(made.calls.since(since))  # clock: the fault's own


async def test_another_address(ground: Ground, tmp_path: Path) -> None:
    async with shops(ground, tmp_path) as made:
        since = time.monotonic()
        made.network.disconnect(1)
        made.network.connect(1, 77)
        await made.back("another address for one node", since, time.monotonic() + 0.5, within=10)


async def test_told_to_stop(ground: Ground, tmp_path: Path) -> None:
    async with shops(ground, tmp_path, slow=(0.1, 0.1, 0.1)) as made:
        since = made.one.send(signal.SIGTERM)
        assert await made.one.ended() == 0
        await made.calls.rest(1)
        made.note("SIGTERM of one node", since)
        assert made.calls.lost(since) == []


async def test_a_rolling_restart(ground: Ground, tmp_path: Path) -> None:
    async with shops(ground, tmp_path) as made:
        since = time.monotonic()
        for node in made.nodes:
            node.send(signal.SIGTERM)
            assert await node.ended() == 0
            await node.start()
            await made.calls.answered_by(node.name, since=node.served, within=10)
        made.note("rolling restart of all three", since)
        assert made.calls.lost(since) == []  # clock: the fault's own


async def test_a_new_version_rolled_over_the_old(ground: Ground, tmp_path: Path) -> None:
    async with shops(ground, tmp_path, message="buy") as made:
        since, network = time.monotonic(), made.network
        prices = Calls(network.command(ANOTHER, sys.executable), tmp_path, message="price", rate=50)
        async with prices:
            await prices.answered_by("2")
            for node in made.nodes:
                node.send(signal.SIGTERM)
                assert await node.ended() == 0
                node.options = ("--service", TWO)
                await node.start()
                await made.calls.answered_by(node.name, since=node.served, within=10)
            changed = time.monotonic()  # no node has the old one any more
            await prices.until(lambda found: len(found) > 20, since=changed)
        made.note("a new version rolled: what resolves", since)
        assert made.calls.lost(since) == []  # clock: the fault's own
        refused = prices.failed(changed)
        assert len(refused) > 20  # clock: the fault's own
        assert len(refused) == len(prices.since(changed))  # clock: the fault's own
        assert all("price" in call["text"] and "string" in call["text"] for call in refused)  # clock: the fault's own
        assert not any(call["started"] for call in prices.failed())  # clock: the fault's own


async def test_frozen_by_a_handler_that_blocks(ground: Ground, tmp_path: Path) -> None:
    async with shops(ground, tmp_path) as made:
        since = time.monotonic()
        await made.one.shell("call", "com.acme.Shop.block", "-d", '{"seconds": 8}')
        await made.back("one node frozen by a handler, 8 s", since, time.monotonic())


@pytest.mark.parametrize("policy", ["least_request", "round_robin", "weighted"])
async def test_one_node_ten_times_slower(ground: Ground, tmp_path: Path, policy: str) -> None:
    # With few places what waits for something is load, and not only what computes.
    config = "[admission]\nrunning = 32\n"
    async with shops(ground, tmp_path, policy=policy, slow=(0.02, 0.02, 0.2), config=config) as made:
        calls = made.calls
        await calls.rest(12 if policy == "weighted" else 0)  # reports count from the tenth second on
        since = time.monotonic()
        await calls.rest(5)
        share = calls.shares(since).get("n3", 0.0)
        made.note(f"one ten times slower, {policy}", since, share_of_slow=share, p99=calls.p99(since))
        assert calls.failed(since) == []  # clock: the fault's own
        assert 0 < share < (0.4 if policy == "round_robin" else 0.15)  # clock: the fault's own


async def test_all_gone_and_back(ground: Ground, tmp_path: Path) -> None:
    async with shops(ground, tmp_path) as made:
        calls, nodes = made.calls, made.nodes
        since = time.monotonic()
        for node in nodes:
            node.send(signal.SIGKILL)
            await node.ended()
        gone = time.monotonic()
        # Where the host is gone as well nobody refuses: then it takes as long as connecting may.
        await calls.until(lambda found: sum("error" in call for call in found) > 200, since=gone)
        failed = calls.failed(gone)
        codes = {call["error"] for call in failed}
        assert codes <= {"UNAVAILABLE", "DEADLINE_EXCEEDED"}  # clock: the fault's own; calls have 8 s
        refused = [call for call in failed if call["error"] == "UNAVAILABLE"]
        assert refused  # clock: the fault's own
        for call in refused:
            listed = all(f"{node.name}: " in call["text"] for node in nodes)
            assert listed or "no node serves com.acme.Shop" in call["text"]
        await asyncio.gather(*(node.start() for node in nodes))
        back = max(node.served for node in nodes)
        again = await calls.answered_by("n1", "n2", "n3", since=back, within=20)
        await calls.rest(1)
        made.note("all nodes gone and back", since, found_again=again - back, gone=back - gone)
        assert calls.failed(again) == []
