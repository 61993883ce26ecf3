"""What a node does where its host has no more to give: descriptors, memory; and where its own handlers take it all."""

import contextlib
import os
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from splnode.avro.protocol import Protocol
from tests.hostile.test_frames import HELLO, PING, UNFINISHED
from tests.hostile.victim import MB, Victim, execute
from tests.hostile.watch import dial, hello, netty_reply
from tests.require import require
from tests.wire.conftest import handshake, long, netty, string

MANY = 20_000
GREETING = netty(0, HELLO, PING)


def allow(pid: int, files: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (files, resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]))


def test_descriptors_that_are_used_up_by_something_else(tmp_path: Path) -> None:
    """Who comes waits, and is not told that the node has gone; who is there is served; nothing spins."""
    with Victim(tmp_path) as victim, hello(victim.tcp) as there:
        victim.serves()
        before, _ = resource.prlimit(victim.pid, resource.RLIMIT_NOFILE)
        allow(victim.pid, victim.descriptors)
        socks = [dial(victim.tcp) for _ in range(50)]
        for sock in socks:
            sock.sendall(GREETING)
        for _ in range(20):
            there.sendall(execute("spl/void/noop"))
            assert netty_reply(there)[1].startswith(b"\0\0")
        cpu = victim.cpu()
        time.sleep(1.0)  # clock: whether it spins shows only in time
        assert victim.cpu() - cpu < 0.5
        allow(victim.pid, before)
        for sock in socks:
            assert netty_reply(sock)[0] == 0
            sock.close()
        victim.stays_well()


def test_who_comes_waits_while_few_descriptors_are_left(tmp_path: Path) -> None:
    """Of 128 connections have 64, but for the operator's; whoever comes then waits until one of them has gone."""
    with Victim(tmp_path, shell="ulimit -n 128;") as victim:
        there = [hello(victim.tcp) for _ in range(64)]
        late = [dial(victim.tcp) for _ in range(20)]
        for sock in late:
            sock.sendall(GREETING)
        assert victim.met("open_files") > 0  # which the operator sees, by the Unix socket
        late[0].settimeout(0.5)
        with pytest.raises(TimeoutError):
            late[0].recv(1)
        for sock in there[:20]:
            sock.close()
        for sock in late:
            sock.settimeout(20)
            assert netty_reply(sock)[0] == 0
        for sock in (*there[20:], *late):
            sock.close()
        victim.stays_well()


def send_unfinished(where: str, count: int) -> list[socket.socket]:
    """Large messages, all but their ends, as far as the kernel takes them; who is dropped meanwhile is dropped."""
    socks = []
    for _ in range(count):
        with contextlib.suppress(OSError):
            socks.append(hello(where))
            socks[-1].setblocking(False)
            socks[-1].sendall(UNFINISHED)
    return socks


def test_memory_that_the_system_does_not_give(tmp_path: Path) -> None:
    """Connections that need it are lost, and nothing else."""
    with Victim(tmp_path) as victim:
        victim.serves()
        room = int(victim.memory("VmSize") * MB) + 20 * MB
        _, most = resource.prlimit(victim.pid, resource.RLIMIT_AS)
        resource.prlimit(victim.pid, resource.RLIMIT_AS, (room, most))
        socks = send_unfinished(victim.tcp, 20)
        for sock in socks:
            sock.close()
        victim.serves()
        assert victim.process.poll() is None


CGROUP = Path("/sys/fs/cgroup")


@pytest.fixture
def group(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A memory cgroup with 128 MiB, of either version."""
    old = (CGROUP / "memory").is_dir()
    folder = (CGROUP / "memory" if old else CGROUP) / f"splnode-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / ("memory.limit_in_bytes" if old else "memory.max")).write_text(str(128 * 2**20))
    except OSError as error:
        require(False, "a memory cgroup", f"run as root where cgroups can be made: {error}")
    yield folder
    until = time.monotonic() + 10
    while folder.exists() and time.monotonic() < until:
        with contextlib.suppress(OSError):
            folder.rmdir()
        time.sleep(0.05)  # clock: the kernel takes the group down when its last process is gone


def test_the_memory_limit_of_its_container(tmp_path: Path, group: Path) -> None:
    """It holds an eighth of that for peers, and so is not killed: not by messages that do not end, nor by answers.

    What handlers hold while they run is theirs, and bounded only by how many may run.
    """
    joins = f"echo $$ > {group}/cgroup.procs;"
    with Victim(tmp_path, shell=joins) as victim:
        metrics = victim.metrics()
        assert metrics['splnode_limit{limit="held_bytes"}'] == 16 * 2**20
        with victim.attacked("messages that do not end, in 128 MiB"):
            socks = send_unfinished(victim.tcp, 60)
        assert victim.met("held_bytes") > 0
        record = {"topic": "t", "primaryKey": "large"}
        with hello(victim.tcp) as sock:
            sock.sendall(execute("spl/data/write", record, b"\x04" + string("x" * 4_000_000)))
            netty_reply(sock)
            readers = [hello(victim.tcp) for _ in range(64)]
            for reader in readers:
                with contextlib.suppress(OSError):  # some are dropped while others still ask
                    reader.sendall(execute("spl/data/read", record) * 10)
            sock.sendall(netty(1, b"\0\0"))
            netty_reply(sock)
        for each in (*socks, *readers):
            each.close()
        assert victim.process.poll() is None
        victim.stays_well()


LEAKY = """
import asyncio

class Leaky:
    def __init__(self):
        self.kept = []

    async def leak(self, count: int) -> int:
        self.kept += [asyncio.create_task(asyncio.Event().wait()) for _ in range(count)]
        return len(self.kept)
"""
PROTOCOL = """{"protocol": "Leaky", "namespace": "test", "messages": {
  "leak": {"request": [{"name": "count", "type": "int"}], "response": "int"}}}
"""


def test_a_handler_that_leaks_tasks(tmp_path: Path) -> None:
    """They show in the metrics, keep no place and no other caller waiting, and end with the node, in time."""
    tmp_path.joinpath("leaky.py").write_text(LEAKY)
    tmp_path.joinpath("test.Leaky.avpr").write_text(PROTOCOL)
    service = f"{tmp_path}/test.Leaky.avpr={tmp_path}/leaky.py:Leaky"
    config = f'drain_seconds = 0.0\nstop_seconds = 5.0\nservices = ["{service}"]'
    with Victim(tmp_path, config=config) as victim:
        before = victim.metrics()["splnode_tasks"]
        with victim.attacked("20,000 tasks left behind"), hello(victim.tcp, "splnode.Health") as sock:
            md5 = Protocol.parse(PROTOCOL).md5
            leak = netty(1, handshake(md5, b"?" * 16, PROTOCOL), b"\0" + string("leak") + long(MANY // 10))
            with dial(victim.tcp) as leaking:
                for _ in range(10):
                    leaking.sendall(leak)
                    netty_reply(leaking)
            sock.sendall(netty(1, b"\0\0"))
            netty_reply(sock)
        assert victim.metrics()["splnode_tasks"] >= before + MANY
        assert victim.metrics()["splnode_handlers_running"] == 0
        assert victim.peak < 100
        victim.stays_well()
