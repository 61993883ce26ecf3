"""Real multicast DNS: on the loopback, and between hosts of one bridge."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from splnode.discovery import mdns as module
from splnode.discovery import mdns_announcing, mdns_listening
from splnode.discovery.interfaces import Interface
from splnode.discovery.mdns import Mdns
from splnode.discovery.mdns_announcing import TYPE
from splnode.discovery.resolver import Address, Instance, Instances, Service
from splnode.discovery.txt import Txt, encode
from splnode.endpoint import Endpoint
from tests.hosts.network import Network, needs_namespaces
from tests.require import require

ROOT = Path(__file__).parents[2]
PRINT = b"w" * 16


def instance(node: str, *services: str, epoch: int = 1, listen: str = "tcp://127.0.0.1:9", **others: Any) -> Instance:
    addresses = (Address(Endpoint.parse(listen), ""),)
    return Instance(addresses, node, epoch, tuple(Service(each, "", PRINT) for each in services), **others)


def named() -> str:
    """A node id that nobody else on this network has."""
    return f"t{uuid.uuid4().hex[:12]}"


@asynccontextmanager
async def started(*interfaces: str) -> AsyncIterator[Mdns]:
    mdns = Mdns(interfaces or ("lo",))
    await mdns.start()
    assert mdns.problem == ""
    try:
        yield mdns
    finally:
        await mdns.close()


async def seen(mdns: Mdns, fits: Callable[[Instances], bool], service: str = "") -> Instances:
    """The first set of which something is true."""
    async with asyncio.timeout(20):
        async for found in mdns.watch(service):
            if fits(found):
                return found
    raise AssertionError("the watch has ended")


def has(node: str, state: str = "up") -> Callable[[Instances], bool]:
    return lambda found: any((each.node, each.state) == (node, state) for each in found)


def serves(node: str, services: int) -> Callable[[Instances], bool]:
    return lambda found: any(each.node == node and len(each.services or ()) == services for each in found)


def lives(node: str, epoch: int) -> Callable[[Instances], bool]:
    return lambda found: any((each.node, each.epoch) == (node, epoch) for each in found)


def lacks(node: str) -> Callable[[Instances], bool]:
    return lambda found: not any(each.node == node for each in found)


async def test_found_changed_and_gone() -> None:
    node = named()
    async with started() as here, started() as there:
        await there.announce(instance(node, "a.B", "a.C", weight=2.5))
        found = await seen(here, serves(node, 2))
        (one,) = (each for each in found if each.node == node)
        assert one.services == (Service("a.B", "", PRINT), Service("a.C", "", PRINT))
        assert (one.epoch, one.weight, [str(each) for each in one.endpoints]) == (1, 2.5, ["tcp://127.0.0.1:9"])
        assert one.sources == ("mdns",)
        assert await seen(here, has(node), "a.B")
        assert lacks(node)(here._board.present - found)
        assert lacks(node)(await seen(there, lambda found: True))  # nobody finds itself
        await there.announce(instance(node, "a.B", "a.C", state="drain"))
        await seen(here, has(node, "drain"))
        await there.announce(instance(node, "a.B", state="drain"))
        await seen(here, serves(node, 1))
        await there.withdraw()
        await seen(here, lacks(node))


async def test_one_who_comes_late_finds_those_who_are_there() -> None:
    node = named()
    async with started() as there:
        await there.announce(instance(node, "a.B"))
        async with started() as here:
            await seen(here, has(node))


async def test_two_nodes_of_one_name_are_renamed_and_both_found() -> None:
    node = named()
    async with started() as one, started() as two, started() as here:
        await one.announce(instance(node, "a.B", epoch=1))
        await two.announce(instance(node, "a.B", epoch=2, listen="tcp://127.0.0.1:10"))
        found = await seen(here, lambda found: sum(each.node == node for each in found) == 2)
        assert {each.epoch for each in found if each.node == node} == {1, 2}
        assert two._announcing.names["a.B"].startswith(f"a-B@{node}-2.")


async def test_two_of_one_name_that_start_in_the_same_moment_are_both_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mdns_announcing, "PROBE_PAUSE", 0.0)  # neither hears of the other before it announces
    node = named()
    async with started() as one, started() as two, started() as here:
        await asyncio.gather(
            one.announce(instance(node, "a.B", epoch=1)),
            two.announce(instance(node, "a.B", epoch=2, listen="tcp://127.0.0.1:10")),
        )
        await seen(here, lambda found: sum(each.node == node for each in found) == 2)
        assert one._announcing.names["a.B"] == f"a-B@{node}.{TYPE}"  # the older keeps it
        while "a.B" not in two._announcing.names:
            await asyncio.sleep(0.01)  # clock: it is claiming another name, on a real network
        assert two._announcing.names["a.B"] == f"a-B@{node}-2.{TYPE}"


async def test_a_restart_keeps_its_names_and_has_a_new_epoch() -> None:
    node = named()
    async with started() as here:
        for epoch in (1, 2):
            async with started() as there:
                await there.announce(instance(node, "a.B", epoch=epoch))
                assert there._announcing.names["a.B"] == f"a-B@{node}.{TYPE}"
                found = await seen(here, lives(node, epoch))
                assert sum(each.node == node for each in found) == 1


async def test_records_that_lie_harm_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mdns_listening, "ASK_MS", 100)
    good, evil = named(), named()
    true = encode(Txt(good, 1, Service("a.B")))
    texts = {
        "empty": b"", "binary": bytes(range(256)), "huge": b"\xff" + b"x" * 255 + (b"\xff" + b"y" * 255) * 4,
        "twice": b"\x05id=xx" + true + true, "other": true, "version": true.replace(b"txtvers=1", b"txtvers=9"),
        "strange": b"\x05id=\xff\xfe\x05p=a.B", "cut": true[:-3],
    }  # fmt: skip
    liar = AsyncZeroconf(interfaces=["127.0.0.1"])
    async with started() as here, started() as there:
        await there.announce(instance(good, "a.B"))
        for name, text in texts.items():
            server = f"{evil}.local."
            info = AsyncServiceInfo(
                TYPE, f"{name}-{evil}.{TYPE}", 6, properties=text, server=server, parsed_addresses=["127.0.0.66"]
            )
            await liar.async_register_service(info, cooperating_responders=True)
        found = await seen(here, lambda found: sum(each.node == good for each in found) == 2)
        await there.announce(instance(good, "a.B", "a.C"))
        assert {e for each in found if each.node == good for e in map(str, each.endpoints)} == {
            "tcp://127.0.0.1:9", "tcp://127.0.0.66:6",
        }  # fmt: skip
        bad = {name.partition("-")[0]: why for name, why in here.rejected.items() if evil in name}
        assert bad.keys() >= {"binary", "version", "strange", "cut"}
        assert "txtvers" in bad["version"]
    await liar.async_close()


async def test_without_a_network_it_waits_for_one() -> None:
    lo = Interface("lo", 1, ("127.0.0.1",), True, "")
    present: list[tuple[Interface, ...]] = [()]
    mdns = Mdns(("lo",), look=lambda wanted: present[-1])
    await mdns.start()
    assert "no interface" in mdns.problem
    node = named()
    await mdns.announce(instance(node, "a.B"))
    present.append((lo,))
    await mdns._reopen(present[-1])
    assert mdns.problem == ""
    async with started() as here:
        await seen(here, has(node))
        await mdns._reopen((msgspec.structs.replace(lo, reason="again"),))
        await seen(here, has(node))
    await mdns.close()


async def test_what_is_not_heard_after_a_change_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FORGET", 1.5)
    stays, leaves = named(), named()
    async with started() as here, started() as there:
        async with started() as gone:
            await asyncio.gather(there.announce(instance(stays, "a.B")), gone.announce(instance(leaves, "a.B")))
            await seen(here, lambda found: has(stays)(found) and has(leaves)(found))
            async with gone._changing:
                await gone._shut()  # it dies without a word
            await here._reopen(here.interfaces)
            assert has(leaves)(here._board.present)
            assert has(stays)(await seen(here, lacks(leaves)))


async def test_stock_tools_see_it() -> None:
    needed = all(map(shutil.which, ("avahi-browse", "avahi-daemon", "dbus-daemon")))
    require(needed and os.geteuid() == 0, "avahi", "apt-get install avahi-daemon avahi-utils, and run as root")
    needs_namespaces()
    node = named()
    with Network(2) as network:
        announcer = await asyncio.create_subprocess_exec(
            *network.command(1, sys.executable, str(ROOT / "tests/discovery/announcing.py"), node),
            env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        script = (
            "mount -t tmpfs none /run && mkdir -p /run/dbus /run/avahi-daemon && chown avahi /run/avahi-daemon"
            " && dbus-daemon --system --fork && avahi-daemon --daemonize --no-drop-root --no-rlimits --no-chroot"
            " && for i in $(seq 40); do avahi-browse -rpt _splnode._tcp > /run/out; cat /run/out;"
            " grep -q '^=.*test-Other' /run/out && grep -q '^=.*test-Echo' /run/out && break; sleep 0.3; done;"
            " avahi-daemon --kill; kill $(cat /run/dbus/pid)"
        )
        command = network.command(2, "unshare", "-m", "sh", "-c", script)
        done = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        out, _ = await asyncio.wait_for(done.communicate(), 120)
        announcer.terminate()
        await announcer.wait()
    lines = [line.split(";") for line in out.decode().splitlines() if line.startswith("=;")]
    ipv4 = next(line for line in lines if line[2] == "IPv4" and "test-Echo" in line[3])
    assert ipv4[3].replace(r"\064", "@") == f"test-Echo@{node}"
    assert ipv4[7:9] == ["10.99.0.1", "9090"]
    assert {f'"id={node}"', '"p=test.Echo:1"', '"s=up"', '"txtvers=1"'} <= set(ipv4[9].split())


class Announcing:
    """A process that announces and listens, on a host."""

    def __init__(self, network: Network, host: int, node: str) -> None:
        self.node = node
        self._command = network.command(host, sys.executable, str(ROOT / "tests/discovery/announcing.py"), node)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = await asyncio.create_subprocess_exec(*self._command, env=env, stdout=subprocess.PIPE)

    async def sees(self, *nodes: str, at: str = "") -> None:
        """Returns when it sees exactly these nodes; `at` is an endpoint that one of them must have."""
        assert self._process is not None and self._process.stdout is not None
        last = ""
        try:
            async with asyncio.timeout(40):
                while line := await self._process.stdout.readline():
                    last = line.decode()
                    found = json.loads(line)
                    endpoints = {endpoint for each in found for endpoint in each[2]}
                    if {each[0] for each in found} == set(nodes) and (not at or at in endpoints):
                        return
        except TimeoutError:
            pass
        raise AssertionError(f"{self.node} saw {last}, not {nodes} {at}")

    def send(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self) -> None:
        assert self._process is not None
        await self._process.wait()


async def reaches(network: Network, host: int, address: str) -> None:
    """Returns once packets go there from that host, and come back: at a port where nobody listens."""
    process = await asyncio.create_subprocess_exec(*network.command(host, sys.executable, "-c", KNOCK, address))
    assert await asyncio.wait_for(process.wait(), 40) == 0


KNOCK = """
import socket, sys
while True:
    try:
        socket.create_connection((sys.argv[1], 9), 1)
    except ConnectionRefusedError:
        break
    except OSError:
        pass
"""


async def test_hosts_find_each_other_again_after_whatever_happens() -> None:
    needs_namespaces()
    with Network(2) as network:
        one, two = Announcing(network, 1, "one"), Announcing(network, 2, "two")
        await asyncio.gather(one.start(), two.start())
        await asyncio.gather(one.sees("two", at="tcp://10.99.0.2:9090"), two.sees("one", at="tcp://[fd99::1]:9090"))
        network.disconnect(2)
        network.connect(2, address=22)
        await asyncio.gather(one.sees("two", at="tcp://10.99.0.22:9090"))
        network.cut(1)
        network.heal(1)
        await reaches(network, 1, "10.99.0.22")  # the switch lets some of the first packets fall, maybe its goodbye
        two.send(signal.SIGTERM)
        await two.ended()
        await one.sees()
        await two.start()
        await asyncio.gather(one.sees("two"), two.sees("one"))
        one.send(signal.SIGTERM)
        await one.ended()
        await two.sees()
        two.send(signal.SIGKILL)
        await two.ended()


async def test_ipv6_is_enough() -> None:
    needs_namespaces()
    with Network(2) as network:
        for host in network.hosts:
            network.ip(host, "-4", "addr", "flush", "dev", "eth0")
        one, two = Announcing(network, 1, "one"), Announcing(network, 2, "two")
        await asyncio.gather(one.start(), two.start())
        await asyncio.gather(one.sees("two", at="tcp://[fd99::2]:9090"), two.sees("one", at="tcp://[fd99::1]:9090"))
        for each in (one, two):
            each.send(signal.SIGKILL)
            await each.ended()


async def test_two_on_one_host_hear_the_others_at_once() -> None:
    node = named()
    async with started() as there:
        assert module._port_is_shared()
        await there.announce(instance(node, "a.B"))
        for _ in range(2):
            async with started() as here:
                await seen(here, has(node))
