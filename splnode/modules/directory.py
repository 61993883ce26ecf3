"""From a URI to the files of a module, and never out of the directory.

`package/api/method` is looked for at `apps/package/modules/api/method.py` and then at
`package/api/method.py`. Beside it there may be a contract, `method.avsc`.
"""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from splnode.modules.errors import fault

MAX_PARTS: Final = 3
_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")

Stamp = tuple[tuple[int, int, int], ...]


class ModuleFile(msgspec.Struct, frozen=True):
    """A module as it is on the disk now. Two with the same `stamp` have the same text."""

    uri: str
    path: str
    contract: str | None
    stamp: Stamp


def check_uri(uri: str) -> tuple[str, ...]:
    """The parts of a URI. ExecutionError(INVALID_NAME) says what one looks like."""
    parts = tuple(uri.split("/"))
    if len(parts) > MAX_PARTS or not all(_PART.fullmatch(part) for part in parts):
        rule = f"1 to {MAX_PARTS} names with / between them, each of letters, digits, _ and -"
        raise fault(uri[:300], "INVALID_NAME", f"{uri[:300]!r} is no module URI: package/api/method, {rule}")
    return parts


class ModuleDirectory:
    """The modules below `root`, found anew at each call. None: there are none."""

    def __init__(self, root: str | os.PathLike[str] | None) -> None:
        self.root = None if root is None else Path(root).expanduser().absolute()
        self._inside: dict[str, tuple[int, int, int]] = {}  # files that were found to be inside, and what they were

    def find(self, uri: str) -> ModuleFile | None:
        """The module's files, or None. ExecutionError if the URI is none, or leads out of the directory.

        A few calls of the system on local files: fast enough for the event loop.
        """
        parts = check_uri(uri)
        for path in self._places(parts):
            stamp = _stamp(path)
            if stamp is None:
                continue
            self._check_inside(uri, path, stamp)
            contract = path.removesuffix(".py") + ".avsc"
            stamp_beside = _stamp(contract)
            if stamp_beside is None:
                return ModuleFile(uri, path, None, (stamp,))
            self._check_inside(uri, contract, stamp_beside)
            return ModuleFile(uri, path, contract, (stamp, stamp_beside))
        return None

    def list(self) -> list[str]:
        """The URIs of all modules, sorted. Reads the directory: slow on a slow disk."""
        if self.root is None:
            return []
        found = set(_uris_below(self.root, MAX_PARTS))
        for app in _directories(self.root / "apps"):
            found.update(f"{app.name}/{rest}" for rest in _uris_below(app / "modules", MAX_PARTS - 1))
        return sorted(found)

    def _places(self, parts: tuple[str, ...]) -> Iterator[str]:
        if self.root is None:
            return
        first, *rest = parts
        if rest:
            yield f"{self.root}/apps/{first}/modules/{'/'.join(rest)}.py"
        yield f"{self.root}/{'/'.join(parts)}.py"

    def _check_inside(self, uri: str, path: str, stamp: tuple[int, int, int]) -> None:
        """The names cannot lead out, so only a symbolic link can. Looked at again when another file is there."""
        assert self.root is not None
        if self._inside.get(path) == stamp:
            return
        if not Path(path).resolve().is_relative_to(self.root.resolve()):
            text = f"{Path(path).name} is, or is behind, a link out of the module directory: put the file itself there"
            raise fault(uri, "INVALID_NAME", text)
        self._inside[path] = stamp


def _stamp(path: str) -> tuple[int, int, int] | None:
    """What changes when the file does; None if it is no regular file."""
    try:
        found = os.stat(path)  # noqa: PTH116 - on the way of every call, and three times as fast
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _uris_below(directory: Path, depth: int) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        stem = entry.name.removesuffix(".py")
        if stem != entry.name and _PART.fullmatch(stem) and entry.is_file():
            yield stem
        elif depth > 1 and _PART.fullmatch(entry.name) and entry.is_dir():
            for rest in _uris_below(Path(entry.path), depth - 1):
                yield f"{entry.name}/{rest}"


def _directories(directory: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(directory) if _PART.fullmatch(entry.name) and entry.is_dir()]
    except OSError:
        return []
