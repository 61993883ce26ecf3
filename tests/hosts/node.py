"""A node on a host of a Network, and what the shell says there."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from splnode.net.channel import connect
from tests.hosts.network import Network

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0
"""Seconds in which anything that is waited for has happened, on a slow day too."""

Known = dict[str, dict[str, Any]]
"""The nodes that one sees, by id; those whose id is not known by their endpoint."""


class HostNode:
    """`splnode serve` on a host, with no configuration but its address; `options` are more flags of it.

    Several on one host need a `name` and a `port` each.
    """

    exposed: tuple[str, ...] = ("--insecure",)
    """What lets it listen for other hosts."""

    def __init__(
        self, network: Network, host: int, folder: Path, *options: str, config: str = "", name: str = "",
        port: int = 9090,
    ) -> None:  # fmt: skip
        self.network = network
        self.host = host
        self.port = port
        self.name = name or f"n{host}"
        self.folder = folder / (name or str(host))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.served = 0.0
        self.environ: dict[str, str] = {}
        self.options = options
        text = f'[node]\nid = "{self.name}"\ndirectory = "state"\ndrain_seconds = 0.5\n{config}'
        (self.folder / "c.toml").write_text(text)
        self._node: asyncio.subprocess.Process | None = None
        self._watch: asyncio.subprocess.Process | None = None
        self._seen: list[tuple[float, Known]] = []
        self._news = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    @property
    def unix(self) -> str:
        return f"unix://{self.folder}/s"

    async def start(self) -> None:
        """Returns when it serves."""
        words = ["serve", "--config", str(self.folder / "c.toml"), *self.exposed, "--listen", self.unix]
        listen = ["--listen", f"tcp://0.0.0.0:{self.port}"]
        with (self.folder / "log").open("ab") as log:
            self._node = await self._splnode(*words, *listen, *self.options, stderr=log)
        assert self._node.stdout is not None
        line = await asyncio.wait_for(self._node.stdout.readline(), PATIENCE)
        assert line, (self.folder / "log").read_text()
        self.served = time.monotonic()

    async def watch(self) -> None:
        """Begins to note what it sees."""
        self._watch = await self._splnode("nodes", "--watch", "--to", self.unix)
        self._reading = asyncio.ensure_future(self._read(self._watch))

    async def sees(self, fits: Callable[[Known], bool]) -> float:
        """The moment at which it saw something of which that is true, since the last `blink`."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for when, known in self._seen:
                    if fits(known):
                        return when
                self._news.clear()
                await self._news.wait()

    async def knows(self, fits: Callable[[Known], bool]) -> float:
        """The moment at which it knew something of which that is true, as it tells who is connected already."""
        async with asyncio.timeout(PATIENCE), connect(self.unix, "SPLNodeService") as client:
            revision = None
            while True:
                said = await client.call("watchNodes", {"revision": revision, "timeoutMs": 5000}, timeout=10)
                if fits({each["nodeId"] or each["endpoint"]: each for each in said["nodes"]}):
                    return time.monotonic()
                revision = said["revision"]

    def blink(self) -> float:
        """Forgets what it has seen until now, but for the last; gives the moment."""
        del self._seen[:]
        return time.monotonic()

    async def shell(self, *words: str) -> tuple[int, list[Any], str]:
        """The exit code of a command on its host, its results, and what it said besides. `--to` is another node."""
        to = () if "--scan" in words or "--to" in words else ("--to", self.unix)
        process = await self._splnode(*words, *to, stderr=subprocess.PIPE, SPLNODE_TO=self.unix)
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
        return process.returncode or 0, [json.loads(line) for line in out.splitlines()], err.decode()

    def send(self, number: signal.Signals) -> float:
        """A signal to the node; gives the moment."""
        assert self._node is not None
        self._node.send_signal(number)
        return time.monotonic()

    def memory(self) -> float:
        """MiB that the node's process holds."""
        assert self._node is not None
        status = Path(f"/proc/{self._node.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024

    def cpu(self) -> float:
        """Seconds of a CPU that the node's process has used."""
        assert self._node is not None
        fields = Path(f"/proc/{self._node.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # proc(5): utime, stime

    async def ended(self) -> int:
        assert self._node is not None
        return await asyncio.wait_for(self._node.wait(), PATIENCE)

    async def close(self) -> None:
        for process in (self._watch, self._node):
            if process is not None and process.returncode is None:
                process.kill()
                await process.wait()
        if self._reading is not None:
            await asyncio.wait([self._reading])

    async def _splnode(self, *words: str, stderr: Any = None, **environ: str) -> asyncio.subprocess.Process:
        own = {"HOME": str(self.folder), "PYTHONPATH": str(ROOT), "SHOP_NAME": self.name}
        env = {**os.environ, **own, **self.environ, **environ}
        env.pop("SPLNODE_PEERS", None)
        command = self.network.command(self.host, sys.executable, "-m", "splnode", *words)
        return await asyncio.create_subprocess_exec(
            *command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, limit=1 << 24
        )

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            known = {each["nodeId"] or each["endpoint"]: each for each in json.loads(line)}
            self._seen.append((time.monotonic(), known))
            self._news.set()


def has(*names: str) -> Callable[[Known], bool]:
    """All of these are there, and nothing speaks against them."""
    return lambda known: all(name in known and not known[name]["problem"] for name in names)


def lacks(name: str) -> Callable[[Known], bool]:
    """It is not there, or something speaks against it."""
    return lambda known: name not in known or bool(known[name]["problem"])
