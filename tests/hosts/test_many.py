"""Many announcers on one bridge, and what they cost each other. SPLNODE_CROWD says how many (default: 30)."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.network import Network, needs_namespaces

ROOT = Path(__file__).parents[2]
HOSTS = 5
RESTING = 10.0


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_crowd_knows_itself() -> None:
    needs_namespaces()
    total = int(os.environ.get("SPLNODE_CROWD", "30"))
    share = total // HOSTS
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with Network(HOSTS) as network:
        script = str(ROOT / "tests/hosts/crowd.py")
        crowd = [
            await asyncio.create_subprocess_exec(
                *network.command(host, sys.executable, script, str((host - 1) * share), str(share), str(share * HOSTS)),
                env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )
            for host in network.hosts
        ]  # fmt: skip
        known = await said(crowd)
        packets = await received(network)
        await asyncio.sleep(RESTING)  # clock: the figure is what they send in so many seconds of rest
        rest = [(after - before) / RESTING for before, after in zip(packets, await received(network), strict=True)]
        rested = await said(crowd, b"\n")
        gone = await said(crowd)
        for process in crowd:
            process.stdin.write(b"\n")  # type: ignore[union-attr]  # it is a pipe
        assert [await process.wait() for process in crowd] == [0] * HOSTS
    print(f"\n{share * HOSTS} announcers on {HOSTS} hosts of one machine, at {time.strftime('%H:%M')}")
    print(f"  all know all after                   {max(each['seconds'] for each in known):8.2f} s")
    print(f"  that cost each                       {max(each['cpu'] for each in known):8.2f} s of a CPU")
    print(f"  memory of each, with all it stands on {max(each['memory'] for each in rested):7.1f} MiB")
    print(f"  at rest, on each host                {rest[0]:8.1f} packets/s, {rest[1]:.0f} bytes/s")
    print(f"  half of them gone, seen by the others after {max(each['seconds'] for each in gone):.2f} s")


async def said(crowd: list[asyncio.subprocess.Process], word: bytes = b"") -> list[dict[str, Any]]:
    """The next thing that each of them says, after it was told a word."""
    for process in crowd:
        if word and process.stdin is not None:
            process.stdin.write(word)
    lines = [await process.stdout.readline() for process in crowd if process.stdout is not None]
    return [json.loads(line) for line in lines]


async def received(network: Network) -> tuple[int, int]:
    """Packets and bytes that the first host has received."""
    command = ["ip", "-n", network.name(1), "-s", "-j", "link", "show", "eth0"]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    out, _ = await process.communicate()
    counted = json.loads(out)[0]["stats64"]["rx"]
    return counted["packets"], counted["bytes"]
