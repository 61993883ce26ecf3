"""Disks that are small, full, or cannot be written: real ones, since root is asked for no permission."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.require import require


@contextlib.contextmanager
def small_disk(folder: Path, size: str = "1m") -> Iterator[Path]:
    """A file system of that size at `folder`, which is made."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    mounted = subprocess.run(command, capture_output=True, check=False)
    require(mounted.returncode == 0, "mount", "run as root, with the right to mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def remount(folder: Path, options: str) -> None:
    """Changes it: `size=8m`, `ro`, `rw`."""
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def fill(folder: Path) -> Path:
    """Leaves no room on the disk of `folder`; removing the file that is given makes it."""
    path = folder / "filled"
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return path
