"""Many announcers on one bridge, each on a host of its own, and a node among them. SPLNODE_CROWD says how many (30).

With SPLNODE_FIGURES what was measured is kept. Two hundred take some minutes: each packet reaches two hundred sockets
of this one machine. SPLNODE_CROWD_REST is how many seconds it rests before it is measured what that costs (0).
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hosts import figures
from tests.hosts.network import Network, needs_namespaces
from tests.hosts.node import ROOT, HostNode, Known

PROCESSES = 2
RESTING = 20.0
PATIENCE = 420.0
LISTED = "crowd-"


class Crowd:
    """The processes of the announcers."""

    def __init__(self, network: Network, total: int) -> None:
        self.network = network
        self.total = total
        self._processes: list[asyncio.subprocess.Process] = []

    async def start(self, stagger: float) -> None:
        share = self.total // PROCESSES
        for number in range(PROCESSES):
            words = (self.network.tag, 1 + number * share, share, self.total, stagger)
            self._processes.append(
                await asyncio.create_subprocess_exec(
                    sys.executable,
                    str(ROOT / "tests/hosts/crowd.py"),
                    *map(str, words),
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )

    async def said(self) -> float:
        """The moment at which the last of them has done what it does next."""
        lines = [await process.stdout.readline() for process in self._processes if process.stdout is not None]
        assert all(lines), "one of the crowd has ended"
        return float(max(json.loads(line)["at"] for line in lines))

    def go_on(self) -> float:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(b"\n")
        return time.monotonic()

    async def close(self) -> None:
        for process in self._processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


@contextlib.contextmanager
def room_for_packets() -> Iterator[None]:
    """One packet to the group is a packet for each host, all at once: more than a kernel expects. (sysctl net)"""
    path = Path("/proc/sys/net/core/netdev_max_backlog")
    before = path.read_text()
    try:
        path.write_text("200000")
    except OSError:  # another's machine: some are lost, and said again
        yield
        return
    try:
        yield
    finally:
        path.write_text(before)


def listed(known: Known) -> list[dict[str, Any]]:
    return [each for name, each in known.items() if name.startswith(LISTED)]


async def seen(node: HostNode, fits: Callable[[Known], bool]) -> float:
    while True:
        try:
            return await node.sees(fits)
        except TimeoutError:  # the test has an end of its own
            continue


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_crowd_knows_itself(tmp_path: Path) -> None:
    needs_namespaces()
    total = int(os.environ.get("SPLNODE_CROWD", "30")) // PROCESSES * PROCESSES
    with room_for_packets(), Network(total + 1) as network:
        crowd, node = Crowd(network, total), HostNode(network, total + 1, tmp_path)
        try:
            async with asyncio.timeout(2 * PATIENCE):
                await node.start()
                await node.watch()
                took = await lives(crowd, node)
        finally:
            await crowd.close()
            await node.close()
    print(f"\n{total} announcers and a node on one bridge of one machine, at {time.strftime('%H:%M')}")
    for what, figure in took.items():
        print(f"  {what.replace('_', ' '):44} {figure:10.2f}")
    figures.keep({f"{total} announcers on one bridge": took})


async def lives(crowd: Crowd, node: HostNode) -> dict[str, float]:
    """What happens to the crowd, and what that takes, in seconds, MiB and packets a second."""
    began = time.monotonic()
    await crowd.start(stagger=crowd.total / 10)
    announced, known = await crowd.said(), await crowd.said()
    listing = await seen(node, lambda known: sum(not each["problem"] for each in listed(known)) == crowd.total)
    took = {"started_in": announced - began, "all_know_all_after": known - announced}
    took["the_node_knows_all_after"] = listing - announced
    await asyncio.sleep(float(os.environ.get("SPLNODE_CROWD_REST", "0")))  # clock: what is said once has been said
    took |= await rest(crowd.network, node)
    assert took["packets_a_second"] < 2 * crowd.total  # clock: a slow machine sends fewer
    node.blink()
    gone = crowd.go_on()
    took["half_gone_known_after"] = await crowd.said() - gone
    took["half_gone_known_to_the_node_after"] = (
        await seen(node, lambda known: len(listed(known)) <= crowd.total // 2) - gone
    )
    node.blink()
    killed = crowd.go_on()
    took["one_killed_known_to_the_node_after"] = (
        await seen(node, lambda known: known.get("crowd-2", {"state": "GONE"})["state"] == "GONE") - killed
    )
    took["load_average_of_the_machine"] = os.getloadavg()[1]  # two cores, and who else used them
    return {what: round(figure, 3) for what, figure in took.items()}


async def rest(network: Network, node: HostNode) -> dict[str, float]:
    """What a host receives while nothing happens, and what that costs a node."""
    packets, cpu = await received(network, node.host), node.cpu()
    await asyncio.sleep(RESTING)  # clock: the figure is what comes in so many seconds of rest
    more = [
        (after - before) / RESTING for before, after in zip(packets, await received(network, node.host), strict=True)
    ]
    return {
        "packets_a_second": more[0],
        "bytes_a_second": more[1],
        "cpu_of_the_node_percent": (node.cpu() - cpu) / RESTING * 100,
        "memory_of_the_node_mib": node.memory(),
    }


async def received(network: Network, host: int) -> tuple[int, int]:
    """Packets and bytes that a host has received."""
    command = ["ip", "-n", network.name(host), "-s", "-j", "link", "show", "eth0"]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    out, _ = await process.communicate()
    counted = json.loads(out)[0]["stats64"]["rx"]
    return counted["packets"], counted["bytes"]
