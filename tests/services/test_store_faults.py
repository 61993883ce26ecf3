"""The store where the system fails it: killed at every step, refused at every step, a disk that is full or read-only.

`strace` looks at each system call that touches one of the store's files, and at the n-th of them it kills the process,
or lets the call fail. What was answered before must be there afterwards; what was refused must not stop the next write.
"""

import asyncio
import collections
import contextlib
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import structlog

from splnode.modules.files import FileFault, Folder
from splnode.services.store import Store
from splnode.services.store_format import FILE
from splnode.services.store_queries import StoreFault
from tests.disks import remount, small_disk
from tests.require import require

ROOT = Path(__file__).parents[2]
CALLS: Final = "pwrite64,fsync,fdatasync,ftruncate,unlink"

CHILD = """
import asyncio, os, sys
from splnode.errors import ConfigError
from splnode.services.store import Store
from splnode.services.store_queries import StoreFault

def told(line):
    os.write(1, (line + "\\n").encode())

async def write(store, key, size=50):
    try:
        await store.write("t", key, key * size, None)
        told(f"kept {key}")
    except StoreFault as fault:
        told(f"refused {key} {fault.code}")

async def main(path):
    try:
        store = Store.open(path)
    except ConfigError as error:
        return told(f"unusable {error}")
    await write(store, "a0")
    await write(store, "a1")
    await asyncio.gather(*(write(store, f"b{n}", 3000) for n in range(3)))
    await write(store, "a0")
    await store.close()
    told("closed")

asyncio.run(main(sys.argv[1]))
"""


def traced(path: Path, watched: list[str], *inject: str) -> list[str]:
    """What the writer said until its end. Calls that touch a watched file are counted: each kind, in each thread."""
    files = [option for name in watched for option in ("-P", str(path / name))]
    options = [option for each in inject for option in ("-e", f"inject={each}")]
    command = [
        "strace", "-f", "-qq", "-o", f"{path}.calls", *files, "-e", f"trace={CALLS}", *options,
        sys.executable, "-c", CHILD, str(path),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.splitlines()


def steps(path: Path, watched: list[str]) -> list[tuple[str, int]]:
    """Each call of a writer that nothing happens to: its name, and the how manieth of its kind it is."""
    assert traced(path, watched)[-1] == "closed"
    lines = Path(f"{path}.calls").read_text().splitlines()
    counts = collections.Counter((line.split()[0], line.split()[1].partition("(")[0]) for line in lines)
    found = {(call, step) for (_, call), count in counts.items() for step in range(1, count + 1)}
    assert len(found) > 5, lines
    return sorted(found)


async def whole(path: Path, told: list[str]) -> None:
    """Whatever was said to be kept is there, in order and without gaps; and the store takes more."""
    store = Store.open(path)
    found = (await store.read("t", limit=1000, history=True)).items if (await store.topics()).total else []
    await store.write("t", "more", "more", None)
    await store.close()
    keys = [each["primaryKey"] for each in found if each["primaryKey"] != "before"]
    kept = [line.split()[1] for line in told if line.startswith("kept")]
    assert not collections.Counter(kept) - collections.Counter(keys), (told, keys)
    refused = {line.split()[1] for line in told if line.startswith("refused")}
    assert not [key for key in refused if keys.count(key) > kept.count(key)], (told, keys)
    versions = collections.Counter[str]()
    for each in found:
        key = each["primaryKey"]
        versions[key] += 1
        assert each["version"] == versions[key]
        assert key == "before" or each["data"] == key * (3000 if key.startswith("b") else 50)
    with contextlib.closing(sqlite3.connect(path / FILE)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """A store that has a record, and was closed."""

    async def use() -> None:
        store = Store.open(tmp_path / "used")
        await store.write("t", "before", "before", None)
        await store.close()

    asyncio.run(use())
    return tmp_path / "used"


NEW = [FILE, f"{FILE}-journal", f"{FILE}.lock", "."]
PARTS = pytest.mark.parametrize(
    ("watched", "new"),
    [(NEW, True), ([f"{FILE}-wal"], False), ([f"{FILE}-shm"], False), ([FILE], False)],
    ids=["made", "written", "shared", "closed"],
)


@pytest.mark.slow
@pytest.mark.timeout(400)
@PARTS
def test_killed_at_every_step(tmp_path: Path, used: Path, watched: list[str], new: bool) -> None:
    require(shutil.which("strace") is not None, "strace", "apt-get install strace")
    lived = 0
    for call, step in (found := steps(copied(used, tmp_path / "counted", new), watched)):
        path = copied(used, tmp_path / f"{call}-{step}", new)
        told = traced(path, watched, f"{call}:signal=KILL:when={step}")
        asyncio.run(whole(path, told))
        lived += "closed" in told
    assert lived <= len(found) // 4, "which writes share a transaction is not the same each time, but it was not killed"


@pytest.mark.slow
@pytest.mark.timeout(400)
@PARTS
def test_refused_at_every_step(tmp_path: Path, used: Path, watched: list[str], new: bool) -> None:
    """One call fails, as on a disk that is full, broken or read-only for a moment; the next one does not."""
    require(shutil.which("strace") is not None, "strace", "apt-get install strace")
    for number, (call, step) in enumerate(steps(copied(used, tmp_path / "counted", new), watched)):
        path = copied(used, tmp_path / f"{call}-{step}", new)
        error = ("ENOSPC", "EIO", "EROFS")[number % 3]
        told = traced(path, watched, f"{call}:error={error}:when={step}")
        asyncio.run(whole(path, told))
        assert told[-1] == "closed" or told[-1].startswith("unusable data store"), (call, step, error, told)
        refused = [line.split()[2] for line in told if line.startswith("refused")]
        assert len(refused) <= 3, (call, step, error, told)  # a batch at most
        assert set(refused) <= {"STORAGE_FAILED", "STORAGE_FULL"}, (call, step, error, told)


def copied(used: Path, path: Path, new: bool) -> Path:
    """Where a store is to be made, or is."""
    if not new:
        shutil.copytree(used, path)
    return path


# -- real disks


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    with small_disk(tmp_path / "disk") as folder:
        yield folder


async def test_a_full_disk_with_many_writers_and_space_again(small: Path) -> None:
    store = Store.open(small / "data")
    kept, refused = list[str](), list[str]()

    async def write(key: str, size: int) -> None:
        try:
            await store.write("t", key, b"x" * size, None)
            kept.append(key)
        except StoreFault as fault:
            assert fault.code == "STORAGE_FULL"
            refused.append(key)

    for block in range(30):
        await asyncio.gather(*(write(f"{block}-{number}", 5000) for number in range(10)))
    assert len(kept) > 50
    assert len(refused) > 50
    page = await store.read("t", limit=1000)
    assert [each["primaryKey"] for each in page.items] == kept
    remount(small, "size=8m")
    with structlog.testing.capture_logs() as said:
        await write("again", 5000)
        await write("and again", 5000)
    assert [each["event"] for each in said] == ["data store can be written again"]
    assert kept[-2:] == ["again", "and again"]
    await store.close()
    store = Store.open(small / "data")
    assert (await store.read("t")).total == len(kept)
    await store.close()


@pytest.fixture
def breaking(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A disk that becomes read-only when somebody writes to the second path, as ext4 does when it finds an error."""
    image, folder = tmp_path / "image", tmp_path / "ext4"
    folder.mkdir()
    image.write_bytes(bytes(8 << 20))
    broken = None
    if shutil.which("mkfs.ext4") and shutil.which("findmnt"):
        subprocess.run(["mkfs.ext4", "-q", image], check=True)
        command = ["mount", "-o", "loop,errors=remount-ro", image, folder]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            device = subprocess.run(["findmnt", "-no", "SOURCE", folder], capture_output=True, text=True, check=True)
            broken = Path("/sys/fs/ext4", Path(device.stdout.strip()).name, "trigger_fs_error")
    require(broken is not None and broken.exists(), "loop", "mount and e2fsprogs, as root with loop devices")
    assert broken is not None
    yield folder, broken
    subprocess.run(["umount", "-l", folder], check=True)


async def test_a_disk_that_becomes_read_only(breaking: tuple[Path, Path]) -> None:
    """Nobody can mend that under a running process: it says so, and goes on reading."""
    folder, broken = breaking
    store = Store.open(folder / "data")
    await store.write("t", "kept", "x", None)
    broken.write_text("now")
    for _ in range(2):
        with pytest.raises(StoreFault, match="make its disk and directory writable") as caught:
            await store.write("t", "lost", "x", None)
        assert caught.value.code == "READ_ONLY"
    assert [each["primaryKey"] for each in (await store.read("t")).items] == ["kept"]
    await store.close()


def test_the_files_of_modules_on_a_full_and_on_a_read_only_disk(small: Path) -> None:
    folder = Folder(small / "files")
    folder.write("a/b", b"old")
    with pytest.raises(FileFault, match="No space left"):
        folder.write("a/b", b"x" * 2_000_000)
    assert folder.read("a/b", 100) == (b"old", 3)
    assert [each["name"] for each in folder.entries("a")] == ["b"]
    remount(small, "ro")
    for path in ("a/b", "new"):
        with pytest.raises(FileFault, match="Read-only"):
            folder.write(path, b"new")
    assert folder.read("a/b", 100) == (b"old", 3)
    remount(small, "rw")
    folder.write("a/b", b"new")
    assert folder.read("a/b", 100) == (b"new", 3)
