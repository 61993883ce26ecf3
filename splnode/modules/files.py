"""The folder that gp/fs/* works in. No path leaves it: not by `..`, not by an absolute path, not by a link.

Every step of a path is opened from the one before (openat) and no link is followed, so that nothing can be
swapped between the check and the use.
"""

import contextlib
import os
import re
import secrets
import stat
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

MAX_PATH: Final = 4096
"""Bytes of a path (PATH_MAX of Linux)."""

STALE: Final = 3600.0
"""Seconds after which a file that was being written belongs to nobody: its writer was killed."""

LOOKED_AT: Final = 100_000
"""Entries, and steps to them, that `tidy` looks at: a tenth of a second's work."""

_UNFINISHED: Final = re.compile(r"\.[0-9a-f]{16}\.tmp")
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class FileFault(Exception):
    """The path, or what is there, cannot be used; the text says which and why."""


class Folder:
    """Files below `root`, which is made when it is first written to. All methods block."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).expanduser().absolute()

    def entries(self, path: str = "") -> list[dict[str, Any]]:
        """What is in a folder, by name: `{"name", "type": "file" | "folder" | "other", "size" (bytes)}`."""
        parts = _parts(path)
        if not parts and not self.root.exists():
            return []
        with _told(path), self._folder(parts) as handle, os.scandir(handle) as entries:
            found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
        return [{"name": name, "type": _type(status), "size": status.st_size} for name, status in sorted(found)]

    def read(self, path: str, limit: int, offset: int = 0) -> tuple[bytes, int]:
        """At most `limit` bytes of a file from `offset` on, and the size of the whole file."""
        parts = _file_parts(path)
        with _told(path), self._folder(parts[:-1]) as folder:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a fifo must not make us wait
            handle = os.open(parts[-1], flags, dir_fd=folder)
            try:
                status = os.fstat(handle)
                if not stat.S_ISREG(status.st_mode):
                    raise FileFault(f"{path!r} is not a file")
                return _read_all(handle, limit, offset), status.st_size
            finally:
                os.close(handle)

    def write(self, path: str, data: bytes) -> None:
        """Puts a file there, with the folders on the way: the whole new file, or the old one. On disk on return."""
        parts = _file_parts(path)
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _told(path), self._folder(parts[:-1], make=True) as folder:
            self._refuse_folder(path, parts[-1], folder)
            name = f".{secrets.token_hex(8)}.tmp"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            handle = os.open(name, flags, 0o600, dir_fd=folder)
            try:
                try:
                    _write_all(handle, data)
                    os.fsync(handle)
                finally:
                    os.close(handle)
                os.rename(name, parts[-1], src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=folder)
                raise
            os.fsync(folder)

    def tidy(self, now: float | None = None) -> int:
        """Removes what writers left unfinished that were killed more than STALE seconds ago; how many files.

        `now` is in seconds since 1970 (the present moment). It looks at LOOKED_AT entries at most, those nearest to the
        root first, and passes over what it may not open.
        """
        before = (time.time() if now is None else now) - STALE
        waiting: deque[list[str]] = deque([[]])
        looked = removed = 0
        while waiting and looked < LOOKED_AT:
            parts = waiting.popleft()
            looked += len(parts) + 1
            with contextlib.suppress(OSError), self._folder(parts) as folder, os.scandir(folder) as entries:
                for entry in entries:
                    looked += 1
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append([*parts, entry.name])
                    elif _UNFINISHED.fullmatch(entry.name) and entry.stat(follow_symlinks=False).st_mtime < before:
                        os.unlink(entry.name, dir_fd=folder)
                        removed += 1
                    if looked >= LOOKED_AT:
                        break
        return removed

    @staticmethod
    def _refuse_folder(path: str, name: str, folder: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
            if not stat.S_ISREG(mode):
                raise FileFault(f"{path!r} is a {'link' if stat.S_ISLNK(mode) else 'folder or no ordinary file'}")

    @contextlib.contextmanager
    def _folder(self, parts: list[str], make: bool = False) -> Iterator[int]:
        """The open folder that `parts` lead to."""
        handle = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parts:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o700, dir_fd=handle)
                below = os.open(part, _DIRECTORY, dir_fd=handle)
                os.close(handle)
                handle = below
            yield handle
        finally:
            os.close(handle)


def _parts(path: str) -> list[str]:
    if "\0" in path or len(path.encode("utf-8", "surrogatepass")) > MAX_PATH:
        raise FileFault(f"a path has at most {MAX_PATH} bytes and no NUL")
    if path.startswith("/"):
        raise FileFault(f"{path!r} is absolute: paths are relative to the node's files folder")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise FileFault(f"{path!r} has .. in it: paths stay inside the node's files folder")
    return parts


def _file_parts(path: str) -> list[str]:
    parts = _parts(path)
    if not parts or path.endswith("/"):
        raise FileFault(f"{path!r} names no file")
    return parts


@contextlib.contextmanager
def _told(path: str) -> Iterator[None]:
    """Says what the system's refusal means here."""
    try:
        yield
    except FileNotFoundError:
        raise FileFault(f"there is no {path!r} in the node's files folder") from None
    except NotADirectoryError:
        raise FileFault(f"{path!r} goes through something that is no folder (a link is none)") from None
    except OSError as error:
        if error.errno == 40:  # ELOOP: O_NOFOLLOW met a link
            raise FileFault(f"{path!r} is a link, and links are not followed") from None
        raise FileFault(f"{path!r}: {error.strerror}") from None
    except UnicodeError:
        raise FileFault(f"{path!r} is no name that a file can have") from None


def _type(status: os.stat_result) -> str:
    if stat.S_ISREG(status.st_mode):
        return "file"
    return "folder" if stat.S_ISDIR(status.st_mode) else "other"


def _read_all(handle: int, limit: int, offset: int) -> bytes:
    chunks: list[bytes] = []
    while limit > 0 and (chunk := os.pread(handle, min(limit, 1 << 20), offset)):
        chunks.append(chunk)
        limit -= len(chunk)
        offset += len(chunk)
    return b"".join(chunks)


def _write_all(handle: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(handle, left) :]
