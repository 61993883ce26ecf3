"""Nodes in a file that somebody else writes: a ConfigMap, Ansible, a hand.

TOML with a list `peers`, or JSON that is such a list. A peer is an endpoint, or a table of more than that:

```toml
peers = [
    "tcp://10.0.0.1:9090",
    { endpoint = "tcp://10.0.0.2:9090", node = "kitchen", weight = 2.0, services = ["com.acme.Inventory"] },
]
```

The file is looked at once in half a second, which sees a rename over it and the links of a mounted ConfigMap too.
Content that cannot be used changes nothing: what stood there before goes on.
"""

import asyncio
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Final

import msgspec
import structlog

from splnode.discovery.resolver import ALL, NONE, Instance, Instances, Service, serving
from splnode.discovery.static import peer
from splnode.errors import ConfigError

EVERY: Final = 0.5
"""Seconds between two looks at the file."""
LARGEST: Final = 4 * 1024 * 1024
"""Bytes: ten thousand peers are a tenth of that."""

log = structlog.get_logger("splnode.discovery")


class Peer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table in the file."""

    endpoint: str
    node: str = ""
    weight: Annotated[float, msgspec.Meta(ge=0, le=1000)] = 1.0
    services: tuple[str, ...] | None = None


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    peers: list[str | Peer]


class File:
    """A Resolver of the peers in a file, which need not be there yet. `problem` says why it cannot be used now."""

    def __init__(self, path: Path, name: str = "file", every: float = EVERY) -> None:
        self.name = name
        self.problem = ""
        self._path = path
        self._every = every

    async def watch(self, service: str = ALL) -> AsyncIterator[Instances]:
        """The peers in it, and again when it has changed."""
        seen: object = None
        good, last = NONE, None
        while True:
            present = await asyncio.to_thread(self._stamp)
            if present != seen:
                seen = present
                good = await self._read(good)
                found = serving(good, service)
                if found != last:
                    last = found
                    yield found
            await asyncio.sleep(self._every)

    async def _read(self, before: Instances) -> Instances:
        try:
            instances = await asyncio.to_thread(read, self._path, self.name)
        except ConfigError as error:
            self.problem = str(error)
            log.warning("a file of peers cannot be used, what it said before is kept", reason=self.problem)
            return before
        if self.problem:
            log.info("a file of peers can be used again", file=str(self._path), peers=len(instances))
        self.problem = ""
        return instances

    def _stamp(self) -> object:
        try:
            info = self._path.stat()
        except OSError as error:
            return error.errno
        return info.st_mtime_ns, info.st_ino, info.st_size


def read(path: Path, source: str = "file") -> Instances:
    """The peers in a file. ConfigError names the file and what is wrong with it."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"{path}: it cannot be read: {error.strerror}") from None
    if len(content) > LARGEST:
        raise ConfigError(f"{path}: larger than {LARGEST} bytes")
    try:
        return frozenset(_instance(each, source) for each in _entries(content))
    except (ValueError, RecursionError, ConfigError) as error:  # ValueError: not UTF-8, not JSON, not TOML
        raise ConfigError(f"{path}: {error}") from None


def _entries(content: bytes) -> list[str | Peer]:
    if content.lstrip()[:1] in (b"[", b"{") and not content.lstrip().startswith(b"[["):
        if content.lstrip().startswith(b"{"):
            return msgspec.json.decode(content, type=_Document).peers
        return msgspec.json.decode(content, type=list[str | Peer])
    return msgspec.convert(tomllib.loads(content.decode("utf-8")), _Document).peers


def _instance(entry: str | Peer, source: str) -> Instance:
    if isinstance(entry, str):
        return peer(entry, source)
    services = None if entry.services is None else tuple(map(Service, sorted(set(entry.services))))
    found = peer(entry.endpoint, source)
    return msgspec.structs.replace(found, node=entry.node, weight=entry.weight, services=services)
