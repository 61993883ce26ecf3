"""Nodes on several hosts find each other, lose each other, and say why not. What it took is printed as a table."""

import asyncio
import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.hosts.network import Network, needs_namespaces
from tests.hosts.node import HostNode, has, lacks
from tests.require import require


@pytest.fixture(autouse=True)
def able() -> None:
    needs_namespaces()


@asynccontextmanager
async def hosts(folder: Path, *options: str, config: str = "", count: int = 3) -> AsyncIterator[list[HostNode]]:
    with Network(count) as network:
        nodes = [HostNode(network, host, folder, *options, config=config) for host in network.hosts]
        try:
            yield nodes
        finally:
            for node in nodes:
                await node.close()


def table(title: str, **seconds: float) -> None:
    print(f"\n{title}")
    for what, took in seconds.items():
        print(f"  {what.replace('_', ' '):40} {took:6.2f} s")


async def live(nodes: list[HostNode]) -> dict[str, float]:
    """What happens to nodes in their lives, and how long it takes until the first host has seen it."""
    one, two, three = nodes
    await one.start()
    await one.watch()
    await two.start()
    took = {"a new node": await one.sees(has("n2")) - two.served}
    await three.start()
    took["those who were there before"] = await three.knows(has("n1", "n2")) - three.served
    await one.sees(has("n1", "n2", "n3"))
    one.blink()
    asked = two.send(signal.SIGTERM)
    took["that one drains"] = await one.sees(lambda known: known["n2"]["state"] == "DRAINING") - asked
    took["that it has gone, 0.5 s later"] = await one.sees(lacks("n2")) - asked
    assert await two.ended() == 0
    one.blink()
    await two.start()
    took["one that was restarted"] = await one.sees(has("n2")) - two.served
    await two.watch()
    two.network.disconnect(2)
    two.blink()
    two.network.connect(2)
    again = two.blink()
    code, _, said = await two.shell("call", "SPLNodeService.executeRemote", "-d", REMOTE)
    while code:
        code, _, said = await two.shell("call", "SPLNodeService.executeRemote", "-d", REMOTE)
        assert "Traceback" not in said
    took["its network taken away and given back"] = time.monotonic() - again
    return took


REMOTE = '{"targetNode": "n3", "request": {"module": "spl/void/noop"}}'


QUICK = "[discovery]\ncheck_interval = 1.0\ngone_seconds = 3.0\n"
"""Those that were only heard of are looked at more often than by default."""


async def test_without_any_configuration(tmp_path: Path) -> None:
    async with hosts(tmp_path) as nodes:
        took = await live(nodes)
        one, two, three = nodes
        one.blink()
        two.network.disconnect(2)
        two.network.connect(2, address=22)
        moved = one.blink()
        took["an address that changed"] = (
            await one.sees(lambda known: "tcp://10.99.0.22:9090" in [e["endpoint"] for e in known["n2"]["endpoints"]])
            - moved
        )
        three.send(signal.SIGKILL)
        await three.ended()
        for _ in range(10):  # on a busy machine a look at one that is there takes too long, now and then
            _, listed, _ = await one.shell("nodes")
            found = {row["nodeId"]: (row["state"], "refused" in row["problem"]) for row in listed}
            assert found["n3"] == ("GONE", True)
            if found["n2"][0] == "UP":
                break
        assert found == {"n1": ("UP", False), "n2": ("UP", False), "n3": ("GONE", True)}
        table("multicast DNS: seconds until it is seen", **{key.replace(" ", "_"): s for key, s in took.items()})


async def test_killed_and_nobody_asks(tmp_path: Path) -> None:
    async with hosts(tmp_path, config=QUICK) as nodes:
        one, two, three = nodes
        await asyncio.gather(*(node.start() for node in nodes))
        await one.watch()
        await one.sees(has("n2", "n3"))
        one.blink()
        killed = two.send(signal.SIGKILL)
        gone = await one.sees(lambda known: known["n2"]["state"] == "GONE" and "refused" in known["n2"]["problem"])
        forgotten = await one.sees(lambda known: "n2" not in known)
        assert (await one.shell("nodes"))[1][0]["nodeId"] == "n1"
        one.blink()
        three.network.drop(3)
        silent = time.monotonic()
        suspect = await one.sees(lambda known: known["n3"]["state"] == "SUSPECT")
        dropped = await one.sees(lambda known: known["n3"]["state"] == "GONE")
        await one.sees(lambda known: "n3" not in known)
        one.blink()
        three.network.clear(3)
        healed = time.monotonic()
        back = await one.sees(lambda known: has("n3")(known) and known["n3"]["state"] == "UP")
        table(
            "nobody calls them, and each is looked at once a second: seconds until it is seen", killed=gone - killed,
            listed_no_more=forgotten - killed, silent_and_suspect=suspect - silent, silent_and_gone=dropped - silent,
            back=back - healed,
        )  # fmt: skip


async def test_with_peers_and_no_multicast(tmp_path: Path) -> None:
    peers = [word for host in (1, 2, 3) for word in ("--peer", f"tcp://10.99.0.{host}:9090")]
    async with hosts(tmp_path, *peers, config='[discovery]\nmdns = "off"\n') as nodes:
        took = await live(nodes)
        one, _, three = nodes
        one.blink()
        killed = three.send(signal.SIGKILL)
        took["one that was killed"] = await one.sees(lacks("n3")) - killed
        table("static peers: seconds until it is seen", **{key.replace(" ", "_"): s for key, s in took.items()})


async def test_which_services_there_are(tmp_path: Path) -> None:
    async with hosts(tmp_path, count=2) as nodes:
        await asyncio.gather(*(node.start() for node in nodes))
        await nodes[0].watch()
        await nodes[0].sees(lambda known: has("n2")(known) and len(known["n2"]["services"]) >= 6)
        _, rows, _ = await nodes[0].shell("services", "SPLDataService")
        assert [(row["nodeId"], row["fit"], row["sources"]) for row in rows] == [
            ("n1", "SAME", []), ("n2", "SAME", ["mdns"]),
        ]  # fmt: skip
        code, found, _ = await nodes[0].shell("doctor")
        assert code == 0, found
        assert ("peers", "GOOD") in {(each["check"], each["grade"]) for each in found}


async def test_a_firewall_is_found(tmp_path: Path) -> None:
    require(shutil.which("nft") is not None, "nft", "apt-get install nftables")
    async with hosts(tmp_path, count=1) as (node,):
        rule = "chain in { type filter hook input priority 0; udp dport 5353 drop; }"
        command = node.network.command(1, "nft", "-f", "-")
        await asyncio.to_thread(subprocess.run, command, input=f"table inet fw {{ {rule}; }}", text=True, check=True)
        await node.start()
        code, found, _ = await node.shell("doctor")
        bad = [each for each in found if each["grade"] == "BAD"]
        assert code == 1 and bad
        assert all(each["check"] == "multicast" and "5353" in each["fix"] for each in bad)


async def test_peers_that_are_none(tmp_path: Path) -> None:
    talking: set[asyncio.Task[None] | None] = set()

    async def strange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talking.add(asyncio.current_task())
        writer.write(b"220 smtp.example.org ESMTP\r\n" * 100)
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    with Network(3) as network:
        with network.inside(3):
            mute, rude = (socket.create_server(("10.99.0.3", port)) for port in (1, 2))
        server = await asyncio.start_server(strange, sock=rude)
        options = [word for end in ("2:9090", "3:1", "3:2", "3:3") for word in ("--peer", f"tcp://10.99.0.{end}")]
        one = HostNode(network, 1, tmp_path, *options, config='[discovery]\nmdns = "off"\n')
        two = HostNode(network, 2, tmp_path)
        try:
            await asyncio.gather(one.start(), two.start())
            await one.watch()
            await one.sees(has("n2"))
            strangers = {
                "tcp://10.99.0.3:1": "no handshake within",
                "tcp://10.99.0.3:2": "",
                "tcp://10.99.0.3:3": "refused",
            }
            await one.sees(
                lambda known: all(why in known[at]["problem"] and known[at]["problem"] for at, why in strangers.items())
            )
            code, _, _ = await one.shell("call", "SPLNodeService.executeRemote", "-d", REMOTE.replace("n3", "n2"))
            assert code == 0
        finally:
            await one.close()
            await two.close()
            server.close()
            mute.close()
            await asyncio.gather(*filter(None, talking))
