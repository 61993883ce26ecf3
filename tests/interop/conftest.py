"""The peers: each program starts once a session, and is told to open clients or to serve."""

import asyncio
import importlib
import importlib.util
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.peer import HERE, Peer
from tests.interop.service import Served, served
from tests.require import require, required


@pytest.fixture(scope="session")
def avsc() -> Iterator[Peer]:
    """avsc 5.7.9 under node."""
    node = shutil.which("node")
    installed = node is not None and (HERE / "node_modules" / "avsc").is_dir()
    require(installed, "avsc", "node and npm, then npm install --prefix tests/interop")
    peer = Peer([str(node), str(HERE / "peers" / "avsc_peer.js")])
    yield peer
    peer.end()


@pytest.fixture(scope="session")
def python_avro() -> Iterator[Peer]:
    """The Python avro package, which splnode itself depends on, in a process of its own."""
    peer = Peer([sys.executable, "-P", str(HERE / "peers" / "avro_peer.py")])
    yield peer
    peer.end()


@pytest.fixture
def peer_named(request: pytest.FixtureRequest) -> Callable[[str], Peer]:
    """The peer of a name, started when it is first asked for."""
    return request.getfixturevalue


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Served]:
    """A Depot on TCP and a Unix socket."""
    async with served(tmp_path) as found:
        yield found


@pytest.fixture(scope="session")
def yaqc() -> Iterator[Peer]:
    """yaqc, the client of the yaq instruments."""
    require(importlib.util.find_spec("yaqc") is not None, "yaqc", "pip install yaqc")
    peer = Peer([sys.executable, "-P", str(HERE / "peers" / "yaq_peer.py")])
    yield peer
    peer.end()


@pytest.fixture(scope="session")
def java() -> Iterator[Peer]:
    """Java's avro-ipc 1.11.4, compiled by the JVM that runs it."""
    jvm, home = shutil.which("java"), HERE / "java"
    ready = jvm is not None and shutil.which("javac") is not None and any((home / "lib").glob("avro-ipc-netty-*.jar"))
    require(ready, "java", f"a JDK and Maven, then mvn -f {home / 'pom.xml'} dependency:copy-dependencies")
    options = ["-XX:TieredStopAtLevel=1", "-Xmx256m", "-cp", str(home / "lib" / "*")]
    peer = Peer([str(jvm), *options, str(home / "Peer.java")])
    yield peer
    peer.end()


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[[], Any]]:
    """uvloop, which a node runs on where it is installed; in CI asyncio's own loop as well."""
    loops: dict[str, Callable[[], Any]] = {}
    if importlib.util.find_spec("uvloop") is not None:
        loops["uvloop"] = importlib.import_module("uvloop").new_event_loop
    if required("asyncio") or not loops:
        loops["asyncio"] = asyncio.new_event_loop
    return loops
