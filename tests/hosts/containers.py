"""The same hosts as containers on one Docker network: what `network` and `node` do to namespaces, on an engine.

A cable is cut, and packets are lost, on the host's side of a container's veth. That one is found through netlink alone,
and nothing is done to an interface that is no veth: the machine's own uplink is on the same list.
"""

import asyncio
import functools
import os
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Self

from tests.hosts.network import DROPPED, filtering, lost
from tests.hosts.node import ROOT, HostNode
from tests.require import require

IMAGE = "splnode"
SHOP = ROOT / "tests/hosts/shop"
BUILDS = 600
_SIGNALS = {signal.SIGSTOP: ("pause",), signal.SIGCONT: ("unpause",)}


def docker(*words: str, check: bool = True) -> str:
    done = subprocess.run(["docker", *words], cwd=ROOT, capture_output=True, text=True, timeout=BUILDS, check=False)
    assert not check or done.returncode == 0, f"docker {' '.join(words)}: {done.stderr}"
    return done.stdout.strip()


def has_engine() -> bool:
    """Whether there is a Docker engine whose interfaces are ours to change."""
    if os.geteuid() or not all(map(shutil.which, ("docker", "nsenter"))):
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


def needs_engine() -> None:
    """Skips the test where there is none."""
    require(has_engine(), "docker", "start a Docker engine, and run as root on its machine, with nsenter")


@functools.cache
def build() -> None:
    """The image, of what there was here when it was first asked for."""
    docker("build", "--network", "host", "--tag", IMAGE, ".")


class Containers:
    """`with Containers(3) as network:` has a Docker network for three hosts, and leaves nothing behind."""

    def __init__(self, hosts: int) -> None:
        self.tag = f"spl{secrets.token_hex(2)}"
        self.hosts = range(1, hosts + 1)

    def __enter__(self) -> Self:
        docker("network", "create", "--subnet", "10.97.0.0/24", "--label", self.tag, self.tag)
        return self

    def __exit__(self, *_: object) -> None:
        left = docker("ps", "--all", "--quiet", "--filter", f"label={self.tag}", check=False).split()
        if left:
            docker("rm", "--force", "--volumes", *left, check=False)
        docker("network", "rm", self.tag, check=False)

    def name(self, host: int) -> str:
        """The container of a host."""
        return f"{self.tag}h{host}"

    def run(self, host: int, *words: str) -> list[str]:
        """A command line that starts the container of a host; options of `docker run`, the image, and its command."""
        at = ("--network", self.tag, "--ip", f"10.97.0.{10 + host}")
        return ["docker", "run", "--rm", "--init", "--name", self.name(host), "--label", self.tag, *at, *words]

    def command(self, host: int, program: str, *words: str) -> list[str]:
        """A command line of Python that runs on a host of its own."""
        mounts = ("--volume", f"{ROOT}/tests:/caller/tests:ro", "--env", "PYTHONPATH=/caller")
        return self.run(host, *mounts, "--entrypoint", Path(program).name, IMAGE, *words)

    def cut(self, host: int) -> None:
        """Pulls the cable: the container loses its carrier."""
        _run("ip", "link", "set", self._veth(host), "down")

    def heal(self, host: int) -> None:
        """Plugs it in."""
        _run("ip", "link", "set", self._veth(host), "up")

    def drop(self, host: int) -> None:
        """Nothing goes from or to the container any more, and nobody is told."""
        _run("nft", filtering(self._table(host), self._veth(host), DROPPED))

    def lose(self, host: int, percent: int) -> None:
        """So many in a hundred of the packets that the container sends are lost."""
        _run("nft", filtering(self._table(host), self._veth(host), lost(percent), both=False))

    def clear(self, host: int) -> None:
        """Ends `drop` and `lose`."""
        _run("nft", "delete", "table", "netdev", self._table(host))

    def disconnect(self, host: int) -> None:
        """Takes the container out of the network."""
        docker("network", "disconnect", self.tag, self.name(host))

    def connect(self, host: int, address: int | None = None) -> None:
        """Puts it into the network, with the address of its number or another one."""
        number = 10 + host if address is None else address
        docker("network", "connect", "--ip", f"10.97.0.{number}", self.tag, self.name(host))

    def _table(self, host: int) -> str:
        return f"{self.tag}f{host}"

    def _veth(self, host: int) -> str:
        process = docker("inspect", "--format", "{{.State.Pid}}", self.name(host))
        inside = _run("nsenter", "--target", process, "--net", "ip", "-o", "link", "show", "eth0")
        number = inside.split("@if")[1].split(":")[0]  # 2: eth0@if17: ...
        names = [line.split(":")[1].split("@")[0].strip() for line in _run("ip", "-o", "link").splitlines()
                 if line.split(":")[0] == number]  # fmt: skip
        assert len(names) == 1, f"no interface {number} here: the engine has a network namespace of its own"
        assert names[0].startswith("veth"), names
        return names[0]


class ContainerNode(HostNode):
    """`splnode serve` in a container; the signals that halt a node and resume it do that to its container."""

    network: Containers  # type: ignore[assignment]  # the same to whoever only breaks it

    def send(self, number: signal.Signals) -> float:
        """A signal to the node; gives the moment before."""
        began = time.monotonic()
        docker(*_SIGNALS.get(number, ("kill", "--signal", number.name)), self.network.name(self.host))
        return began

    async def close(self) -> None:
        docker("rm", "--force", "--volumes", self.network.name(self.host), check=False)
        await super().close()

    async def _splnode(self, *words: str, stderr: Any = None, **environ: str) -> asyncio.subprocess.Process:
        variables = {"HOME": str(self.folder), "SHOP_NAME": self.name, **self.environ, **environ}
        given = [word for key, value in variables.items() for word in ("--env", f"{key}={value}")]
        name = self.network.name(self.host)
        if words[0] == "serve":
            docker("rm", "--force", name, check=False)
            self.folder.chmod(0o777)  # the node has a user of its own there
            mounts = ("--volume", f"{self.folder}:{self.folder}", "--volume", f"{SHOP}:{SHOP}:ro")
            command = self.network.run(self.host, *given, *mounts, IMAGE, *words)
        else:
            command = ["docker", "exec", *given, name, "splnode", *words]
        return await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, limit=1 << 24
        )


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout
