"""The memory that this process may have, where a container or a service manager bounds it, and limits that fit.

A process that goes beyond is killed by the kernel, with all calls of all peers: so what peers may make it hold must be
a part of that. (cgroups(7); kernel.org, "Memory Resource Controller" and "Control Group v2", memory.max)
"""

import ctypes
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Final

from splnode.limits import Limits

PART: Final = 8
"""A process holds at most one in so many for peers, and twice that of calls that run; itself it needs some 50 MB."""
CROWD: Final = 4
"""One in so many for the connections themselves, which cost it though they say nothing."""
COST: Final = 8 * 1024
"""Bytes of a connection that is idle: 4.5 kB were measured."""
COST_TLS: Final = 24 * 1024
"""The same over TLS: OpenSSL keeps 20 kB of each."""
_NONE: Final = 2**60
"""What is above is no limit: cgroups of version 1 show the largest number of pages."""


def memory_limit(root: Path = Path("/")) -> int | None:
    """Bytes; None where nothing is bounded, or the system does not tell. `root` is another one in tests."""
    groups = root / "sys/fs/cgroup"
    candidates = [groups / "memory.max", groups / "memory/memory.limit_in_bytes"]
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            candidates += [each / "memory.max" for each in _upwards(groups, path)]
        elif "memory" in controllers.split(","):
            candidates += [each / "memory.limit_in_bytes" for each in _upwards(groups / "memory", path)]
    found = [int(text) for text in map(_read, candidates) if text.strip().isdigit()]
    return min((size for size in found if size < _NONE), default=None)


def fitted(limits: Limits, memory: int | None, processes: int = 1, *, tls: bool = False) -> Limits:
    """The same, with `held_bytes` and `connection_bytes` lowered to what so many processes may hold in that memory, and
    `connections` to what all together may have there; `tls`: these may be encrypted.
    """
    if memory is None:
        return limits
    most = max(memory // (PART * processes), 1)
    held = min(limits.held_bytes, most)
    connections = max(memory // (CROWD * (COST_TLS if tls else COST)), 1)
    return limits.replace(
        held_bytes=held,
        connection_bytes=min(limits.connection_bytes, held),
        connections=min(limits.connections, connections),
    )


def give_back() -> None:
    """Gives memory that is free back to the system, also where it lies between what is in use.

    An allocator keeps it, in pieces that what comes next may not fit into: so a process may have twice what it holds.
    It takes up to a millisecond. Nothing happens where the C library is not glibc.
    """
    _trim()(0)


@functools.cache
def _trim() -> Callable[[int], object]:
    try:
        trim: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return id
    return trim


def _upwards(base: Path, path: str) -> list[Path]:
    """The group and those it is in: each of them may bound it."""
    parts = [part for part in path.split("/") if part]
    return [base.joinpath(*parts[:count]) for count in range(1, len(parts) + 1)]


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return ""
