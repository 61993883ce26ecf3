"""Several hosts as network namespaces on one bridge, on this machine alone: no route leads out of them.

Host number 1 has 10.99.0.1 and fd99::1 on its `eth0`. What happens to them is done to the switch, as to a real host: a
cable is pulled, packets are lost.
"""

import contextlib
import ctypes
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tests.require import require

CLONE_NEWNET = 0x40000000


def needs_namespaces() -> None:
    """Skips the test where network namespaces cannot be made."""
    able = os.geteuid() == 0 and shutil.which("ip") is not None and _can_make()
    require(able, "netns", "apt-get install iproute2, and run as root")


def _can_make() -> bool:
    name = f"spltest{secrets.token_hex(2)}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode == 0
    if made:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return made


class Network:
    """`with Network(3) as network:` has three hosts, and leaves nothing behind."""

    def __init__(self, hosts: int) -> None:
        self.tag = f"spl{secrets.token_hex(2)}"
        self.hosts = range(1, hosts + 1)
        self._switch = f"{self.tag}sw"

    def __enter__(self) -> Self:
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in (self._switch, *map(self.name, self.hosts)):
            pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, check=False).stdout.split()
            for pid in pids:
                if int(pid) != os.getpid():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), 9)
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def name(self, host: int) -> str:
        """The namespace of a host."""
        return f"{self.tag}h{host}"

    def ip(self, host: int, *words: str) -> None:
        """`ip` on a host."""
        self._run("ip", "-n", self.name(host), *words)

    def command(self, host: int, *words: str) -> list[str]:
        """A command line that runs on a host."""
        return ["ip", "netns", "exec", self.name(host), *words]

    @contextlib.contextmanager
    def inside(self, host: int) -> Iterator[None]:
        """This thread is on the host: sockets made meanwhile are there, for good."""
        with Path("/proc/self/ns/net").open("rb") as home, Path(f"/run/netns/{self.name(host)}").open("rb") as away:
            _enter(away.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())

    def cut(self, host: int) -> None:
        """Pulls the cable: the host loses its carrier."""
        self._run("ip", "-n", self._switch, "link", "set", f"v{host}", "down")

    def heal(self, host: int) -> None:
        """Plugs it in."""
        self._run("ip", "-n", self._switch, "link", "set", f"v{host}", "up")

    def drop(self, host: int) -> None:
        """The switch forwards nothing from or to the host any more, and nobody is told."""
        self._filter(host, DROPPED)

    def lose(self, host: int, percent: int) -> None:
        """The switch loses so many in a hundred of the packets that the host sends."""
        self._filter(host, lost(percent), both=False)

    def clear(self, host: int) -> None:
        """Ends `drop` and `lose`."""
        self._run("ip", "netns", "exec", self._switch, "nft", "delete", "table", "netdev", f"f{host}")

    def _filter(self, host: int, rule: str, *, both: bool = True) -> None:
        self._run("ip", "netns", "exec", self._switch, "nft", filtering(f"f{host}", f"v{host}", rule, both=both))

    def disconnect(self, host: int) -> None:
        """Takes the interface away, as `docker network disconnect` does."""
        self._run("ip", "-n", self._switch, "link", "del", f"v{host}")

    def connect(self, host: int, address: int | None = None) -> None:
        """Gives the host an interface, with the address of its number or another one."""
        number = host if address is None else address
        self._run(
            "ip", "-n", self._switch, "link", "add", f"v{host}", "type", "veth",
            "peer", "name", "eth0", "netns", self.name(host),
        )  # fmt: skip
        self._run("ip", "-n", self._switch, "link", "set", f"v{host}", "master", "br0", "up")
        self.ip(host, "addr", "add", f"10.99.0.{number}/24", "brd", "+", "dev", "eth0")
        self.ip(host, "addr", "add", f"fd99::{number:x}/64", "dev", "eth0", "nodad")
        self.ip(host, "link", "set", "eth0", "up")
        self.ip(host, "route", "add", "default", "via", "10.99.0.254")

    def _make(self) -> None:
        self._run("ip", "netns", "add", self._switch)
        self._run("ip", "-n", self._switch, "link", "set", "lo", "up")
        self._run(
            "ip", "-n", self._switch, "link", "add", "br0", "type", "bridge",
            "stp_state", "0", "forward_delay", "0", "mcast_snooping", "0",
        )  # fmt: skip
        self._run("ip", "-n", self._switch, "addr", "add", "10.99.0.254/24", "dev", "br0")
        self._run("ip", "-n", self._switch, "link", "set", "br0", "up")
        for host in self.hosts:
            self._run("ip", "netns", "add", self.name(host))
            self.ip(host, "link", "set", "lo", "up")
            self.connect(host)

    def _run(self, *words: str) -> None:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise AssertionError(f"{' '.join(words)}: {done.stderr}")


DROPPED = "drop"


def lost(percent: int) -> str:
    """The rule by which so many in a hundred packets are lost."""
    return f"numgen random mod 100 < {percent} drop"


def filtering(table: str, device: str, rule: str, *, both: bool = True) -> str:
    """What nft is told to do with all that comes from an interface, and with what goes to it if `both`."""
    hooks = ("ingress", "egress") if both else ("ingress",)
    chains = "".join(
        f"chain {hook} {{ type filter hook {hook} device {device} priority 0; {rule}; }}; " for hook in hooks
    )
    return f"table netdev {table} {{ {chains} }}"


def _enter(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
