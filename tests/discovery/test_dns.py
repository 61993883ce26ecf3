"""Against a real DNS server, dnsmasq, on the loopback."""

import asyncio
import importlib.util
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from splnode.discovery import dns as module
from splnode.discovery.dns import Dns, Found, Host, LibraryLookup, Name, SystemLookup
from splnode.discovery.resolver import Instances
from splnode.errors import ConfigError
from tests.require import require

SRV = "_splnode._tcp.mesh.test"


def free_port() -> int:
    """One that nobody has for UDP or TCP."""
    while True:
        with socket.socket(type=socket.SOCK_DGRAM) as udp, socket.socket(type=socket.SOCK_STREAM) as tcp:
            udp.bind(("127.0.0.1", 0))
            port: int = udp.getsockname()[1]
            try:
                tcp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Server:
    """dnsmasq, whose hosts file is read again on demand."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._hosts = folder / "hosts"
        self._hosts.touch()
        self._log = folder / "log"
        self._process = subprocess.Popen(
            [
                "dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", f"--addn-hosts={self._hosts}",
                f"--port={self.port}", "--listen-address=127.0.0.1", "--bind-interfaces", "--local=/test/",
                "--local-ttl=1", "--conf-file=/dev/null", "--user=root", f"--log-facility={self._log}", "--pid-file=",
                f"--srv-host={SRV},one.mesh.test,9090,10,3", f"--srv-host={SRV},two.mesh.test,9191,10,1",
                f"--srv-host={SRV},spare.mesh.test,9292,20,1", "--srv-host=_dead._tcp.mesh.test,none.mesh.test,1,0,0",
            ]
        )  # fmt: skip
        self._wait("started")

    def has(self, hosts: str) -> None:
        """Its hosts from now on."""
        self._hosts.write_text(hosts)
        before = self._log.read_text().count("read ")
        self._process.send_signal(signal.SIGHUP)
        while self._log.read_text().count("read ") == before:
            assert self._process.poll() is None

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def _wait(self, word: str) -> None:
        while word not in (self._log.read_text() if self._log.exists() else ""):
            assert self._process.poll() is None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    require(shutil.which("dnsmasq") is not None, "dnsmasq", "apt-get install dnsmasq-base")
    require(importlib.util.find_spec("dns") is not None, "dnspython", "pip install 'splnode[dns]'")
    running = Server(tmp_path)
    yield running
    running.stop()


def shown(found: Instances) -> set[tuple[tuple[str, ...], float]]:
    return {(tuple(map(str, each.endpoints)), each.weight) for each in found}


async def upcoming(sets: AsyncIterator[Instances]) -> Instances:
    return await asyncio.wait_for(anext(sets), 20)


async def test_the_addresses_of_a_name_are_nodes(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHORTEST", 0.01)
    server.has("10.0.0.1 pods.test\n10.0.0.2 pods.test\nfd00::1 pods.test\n")
    resolver = Dns("pods.test:9090", lookup=LibraryLookup(["127.0.0.1"], server.port))
    sets = resolver.watch("any.Service")
    found = await upcoming(sets)
    assert shown(found) == {
        (("tcp://10.0.0.1:9090",), 1.0), (("tcp://10.0.0.2:9090",), 1.0), (("tcp://[fd00::1]:9090",), 1.0),
    }  # fmt: skip
    assert all(each.sources == ("dns",) and each.services is None for each in found)
    server.has("10.0.0.2 pods.test\n10.0.0.3 pods.test\n")
    assert shown(await upcoming(sets)) == {(("tcp://10.0.0.2:9090",), 1.0), (("tcp://10.0.0.3:9090",), 1.0)}
    server.has("")
    assert await upcoming(sets) == frozenset()  # the last one has gone
    assert resolver.problem == ""


async def test_srv_records_bring_port_and_weight(server: Server) -> None:
    server.has("10.0.0.1 one.mesh.test\nfd00::1 one.mesh.test\n10.0.0.2 two.mesh.test\n10.0.0.9 spare.mesh.test\n")
    resolver = Dns(SRV, lookup=LibraryLookup(["127.0.0.1"], server.port))
    assert shown(await upcoming(resolver.watch())) == {
        (("tcp://10.0.0.1:9090", "tcp://[fd00::1]:9090"), 1.5), (("tcp://10.0.0.2:9191",), 0.5),
    }  # fmt: skip
    server.has("10.0.0.9 spare.mesh.test\n")  # nobody of the better priority has an address
    assert shown(await upcoming(resolver.watch())) == {(("tcp://10.0.0.9:9292",), 1.0)}
    dead = Dns("_dead._tcp.mesh.test", lookup=LibraryLookup(["127.0.0.1"], server.port))
    assert await upcoming(dead.watch()) == frozenset()


async def test_the_ttl_is_the_records_own(server: Server) -> None:
    server.has("10.0.0.1 pods.test\n")
    lookup = LibraryLookup(["127.0.0.1"], server.port)
    assert await lookup.addresses("pods.test", 1) == Found((Host(("10.0.0.1",), 1),), 1.0)


async def test_a_server_that_has_gone_changes_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHORTEST", 0.01)
    monkeypatch.setattr(module, "LIFETIME", 0.1)
    server.has("10.0.0.1 pods.test\n")
    resolver = Dns("pods.test:9090", lookup=LibraryLookup(["127.0.0.1"], server.port))
    sets = resolver.watch()
    assert len(await upcoming(sets)) == 1
    server.stop()
    following = asyncio.ensure_future(upcoming(sets))
    while not resolver.problem:
        await asyncio.wait([following], timeout=0.01)
        assert not following.done()
    assert "pods.test" in resolver.problem
    following.cancel()


async def test_without_the_library_the_system_is_asked() -> None:
    found = await SystemLookup().addresses("localhost", 9090)
    assert Host(("127.0.0.1",), 9090) in found.hosts
    assert found.ttl == module.FIXED
    assert (await SystemLookup().addresses("no-such-name.invalid", 1)).hosts == ()


async def test_srv_needs_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"splnode\[dns\]"):
        Dns(SRV)
    assert isinstance(Dns("localhost:9090")._lookup, SystemLookup)


def test_names() -> None:
    assert Name.parse(SRV) == Name(SRV, None)
    assert Name.parse("pods.test:9090") == Name("pods.test", 9090)
    for bad in ("pods.test", "pods.test:", "pods.test:0", ":9090", "pods.test:70000", "_splnode._tcp.x:1:2"):
        with pytest.raises(ConfigError, match=r"HOST:PORT"):
            Name.parse(bad)
