"""Nodes on the same host: whoever is known by an address of this host is called over its Unix socket, where it has one.

A node that listens on a Unix socket puts up a sign in a folder of its user's own: a symbolic link to the socket, named

    ID.EPOCH.PLACE

where PLACE is a hash of this boot and of the network namespace, so that a folder which containers or several hosts
share misleads nobody. Nothing of it is ever sent, and no path is dialled that came from elsewhere: a sign is looked up
for a node that was found in another way, and followed only if

1. the node's address is one of this host;
2. the sign, its folder and the socket belong to this user (the socket may be root's), and nobody else may write there;
3. whoever answers at the socket says that it is that node, in that life.

Another user's nodes are called over TCP: their folder cannot be read. So is a node whose socket goes away.
"""

import asyncio
import contextlib
import hashlib
import os
import re
import socket
import stat
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final

from splnode.discovery.resolver import Address, Instance
from splnode.endpoint import Endpoint
from splnode.errors import SplnodeError

SOURCE: Final = "host"
AGAIN: Final = 10.0
"""Seconds after which a socket is asked again that did not answer as it should."""
KEPT: Final = 4096
"""Lives of nodes of which it is known whether they have a sign here; the oldest are looked up anew."""
SWEPT: Final = 256
"""Signs of nodes that were killed which the start of another takes down, at most."""

_NODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_ADDRESS: Final = re.compile(r"[\d.]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(%.+)?")

Ask = Callable[[Endpoint], Awaitable[tuple[str, int]]]
"""The id and the epoch of the node at an endpoint, as it says itself. SplnodeError, within some seconds."""


class SameHost:
    """The signs in `folder`, which need not exist. `changed` is called when one was found to be true.

    `put_up` the own sign while the node listens, and `take_down` it; `close` in the end.
    """

    def __init__(self, folder: Path, ask: Ask, changed: Callable[[], None] = lambda: None) -> None:
        self.changed = changed
        self._folder = folder
        self._ask = ask
        self._place = place()
        self._own: Path | None = None
        self._known: dict[tuple[str, int], Endpoint | None] = {}
        self._asking: dict[tuple[str, int], asyncio.Task[None]] = {}

    def put_up(self, node: str, epoch: int, endpoints: Iterable[Endpoint]) -> str:
        """Says where the node's own socket is; takes signs down whose nodes were killed. Blocks shortly.

        Why there is no sign; empty if there is one, or the node has no Unix socket.
        """
        sockets = [each for each in endpoints if each.scheme == "unix" and each.framing in (None, "netty")]
        if not sockets or not epoch or not _NODE.fullmatch(node):
            return ""
        sign = self._folder / self._name(node, epoch)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._is_ours():
                return f"{self._folder} can be written by others: chmod 700, and chown it to this user"
            self._sweep()
            sign.symlink_to(sockets[0].path)
        except OSError as error:
            return f"{sign}: {error.strerror}"
        self._own = sign
        return ""

    def take_down(self) -> None:
        """The node listens no more. May be repeated."""
        own, self._own = self._own, None
        if own is not None:
            with contextlib.suppress(OSError):
                own.unlink()

    async def close(self) -> None:
        """Takes the sign down, and asks nobody any more. May be repeated."""
        self.take_down()
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def nearer(self, instance: Instance) -> Instance:
        """The instance with its socket as its first address, once that is known to be true; else as it is."""
        life = (instance.node, instance.epoch)
        if not all(life):
            return instance
        found = self._known[life] if life in self._known else self._look_up(instance, life)
        if found is None or found in instance.endpoints or not any(map(is_here, instance.endpoints)):
            return instance
        return Instance(
            (Address(found, SOURCE), *instance.addresses),
            instance.node,
            instance.epoch,
            instance.services,
            instance.state,
            instance.weight,
            instance.problem,
        )

    def _look_up(self, instance: Instance, life: tuple[str, int]) -> Endpoint | None:
        """Looks whether there is a sign. What it says is asked for, and used from when that was answered."""
        path = self._read(self._folder / self._name(*life)) if _NODE.fullmatch(instance.node) else ""
        if path and not any(map(is_here, instance.endpoints)):
            return None  # nothing is kept: somebody else may find it at an address of this host
        self._known[life] = None
        while len(self._known) > KEPT:
            self._known.pop(next(iter(self._known)))
        if path and life not in self._asking:
            task = asyncio.ensure_future(self._verify(life, Endpoint("unix", path=path)))
            self._asking[life] = task
            task.add_done_callback(lambda _: self._asking.pop(life, None))
        return None

    async def _verify(self, life: tuple[str, int], endpoint: Endpoint) -> None:
        while True:
            with contextlib.suppress(SplnodeError):
                if await self._ask(endpoint) == life:
                    self._known[life] = endpoint
                    self.changed()
                return  # somebody else answers there
            await asyncio.sleep(AGAIN)
            if life not in self._known or self._read(self._folder / self._name(*life)) != endpoint.path:
                return

    def _name(self, node: str, epoch: int) -> str:
        return f"{node}.{epoch}.{self._place}"

    def _is_ours(self) -> bool:
        info = self._folder.lstat()
        return stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid() and not info.st_mode & 0o022

    def _read(self, sign: Path) -> str:
        """Where a sign leads; empty if it leads nowhere, or somebody else may have put it there."""
        try:
            if not self._is_ours() or sign.lstat().st_uid != os.geteuid():
                return ""
            path = str(sign.readlink())
            info = Path(path).lstat()
        except OSError:
            return ""
        return path if stat.S_ISSOCK(info.st_mode) and info.st_uid in (os.geteuid(), 0) else ""

    def _sweep(self) -> None:
        """Takes down the signs of this place at whose sockets nobody listens."""
        signs = [each for each in self._folder.iterdir() if each.name.endswith(f".{self._place}")]
        for sign in signs[:SWEPT]:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.setblocking(False)
                try:
                    probe.connect(str(sign.readlink()))
                except (ConnectionRefusedError, FileNotFoundError):
                    sign.unlink()


def place() -> str:
    """This boot and this network namespace, as a word that says nothing about either. (random(4), namespaces(7))"""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii")
        network = str(Path("/proc/self/ns/net").readlink())
    except OSError:  # not Linux: one namespace, and names that others may have too
        boot, network = socket.gethostname(), ""
    return hashlib.sha256(f"splnode {boot} {network}".encode()).hexdigest()[:12]


def is_here(endpoint: Endpoint) -> bool:
    """Whether an endpoint has an address of this host (network namespace). No name is looked up: that takes time."""
    if endpoint.scheme == "unix" or endpoint.host == "localhost":
        return True
    if not _ADDRESS.fullmatch(endpoint.host):
        return False
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((endpoint.host, 0))  # the kernel binds what is its own, and nothing else
    except OSError:
        return False
    return True
