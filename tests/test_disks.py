"""Every file that a node keeps, on a disk that is full or read-only, and on one that has room again.

The records are in tests/services/test_store_faults.py.
"""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from splnode.access.audit import Audit
from splnode.access.tokens import TokenFile
from splnode.config import node_id, parse
from splnode.errors import ConfigError
from splnode.modules.files import Folder
from splnode.node import Node
from tests.disks import fill, remount, small_disk
from tests.require import require

ROOT = Path(__file__).parents[1]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as folder:
        yield folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_tokens(disk: Path) -> None:
    """The change is refused, and what stood there before stays."""
    file = TokenFile(disk / "tokens.json")
    file.create("old", ["com.acme.Press"], [], 0.0, None)
    before = names(disk)
    filled = fill(disk)
    for change in (lambda: file.create("new", ["*"] * 2000, [], 0.0, None), lambda: file.create("x", ["*"], [], 0, 1)):
        with pytest.raises(ConfigError, match=r"tokens\.json' cannot be written: No space left"):
            change()
    assert [token.name for token in file.read()] == ["old"]
    filled.unlink()
    assert names(disk) == before
    remount(disk, "ro")
    for change in (lambda: file.create("new", ["*"], [], 0.0, None), lambda: file.revoke("old")):  # type: ignore[assignment,return-value]  # either
        with pytest.raises(ConfigError, match=r"tokens\.json' cannot be written: Read-only"):
            change()
    assert [token.name for token in file.read()] == ["old"]
    remount(disk, "rw")
    file.revoke("old")
    assert file.read() == []


def test_the_audit_log(disk: Path) -> None:
    """No call waits for it. What was lost is counted in it as soon as there is room, and every line is whole."""
    path = disk / "audit.jsonl"
    audit = Audit(path)
    audit.put("allowed", {"number": -1})
    wait_for(lambda: path.exists() and path.stat().st_size > 0)
    filled = fill(disk)
    for number in range(300):
        audit.put("allowed", {"number": number, "more": "x" * 100})
    wait_for(lambda: audit._failing and not audit._lines)
    filled.unlink()
    audit.put("allowed", {"number": 300})
    wait_for(lambda: b'"number":300' in path.read_bytes())
    audit.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lost = sum(line["lines"] for line in lines if line["verdict"] == "lost")
    kept = [line["number"] for line in lines if line["verdict"] == "allowed"]
    assert kept[0] == -1
    assert kept[-1] == 300
    assert lost > 0
    assert lost + len(kept) == 302


def wait_for(true: Callable[[], Any]) -> None:
    """Until it is: a thread writes."""
    event = threading.Event()
    for _ in range(2000):
        if true():
            return
        event.wait(0.005)  # clock: nobody tells when a line was written
    raise AssertionError("it never came")


async def test_the_id_of_a_node(disk: Path) -> None:
    """A node that could not keep its id would be another one at each start: it does not start."""
    folder = disk / "node"
    config = parse(f'[node]\ndirectory = "{folder}"\nlisten = ["unix://{disk.parent}/s"]\ndrain_seconds = 0.0\n')
    folder.mkdir()
    filled = fill(disk)
    with pytest.raises(ConfigError, match=r"cannot be used: .*No space left"):
        async with Node(config):
            pass
    assert names(folder) == set()
    filled.unlink()
    remount(disk, "ro")
    with pytest.raises(ConfigError, match=r"cannot be used: .*Read-only"):
        async with Node(config):
            pass
    remount(disk, "rw")
    async with Node(config) as node:
        assert (folder / "id").read_text() == f"{node.id}\n"


CHANGES = {
    "file": """
from splnode.modules.files import Folder
Folder(path).write("kept", b"new" * 1000)
""",
    "token": """
from pathlib import Path
from splnode.access.tokens import TokenFile
TokenFile(Path(path, "kept")).create("new", ["com.acme.Press"], [], 0.0, None)
""",
    "id": """
from pathlib import Path
from splnode.config import node_id, parse
Path(path, "id").unlink(missing_ok=True)
node_id(parse(f'[node]\\ndirectory = "{path}"'))
""",
}


WRITING = "write,fsync,rename,renameat,renameat2,unlink,unlinkat,flock"


def known(kind: str, path: Path) -> Any:
    """What is there, for who reads it next."""
    if kind == "file":
        return Folder(path).read("kept", 5000)[0]
    if kind == "token":
        return [token.name for token in TokenFile(path / "kept").read()]
    return len(node_id(parse(f'[node]\ndirectory = "{path}"')))


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("kind", CHANGES)
def test_killed_at_every_step_of_a_change(tmp_path: Path, kind: str) -> None:
    """What was there before is there, or what was to be: whole, and another change is made as ever."""
    require(shutil.which("strace") is not None, "strace", "apt-get install strace")
    old, new = {"file": (b"old", b"new" * 1000), "token": (["old"], ["old", "new"]), "id": (12, 12)}[kind]
    path, calls, lived = tmp_path / "kept", list[str](), 0
    for step in range(40):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        if kind == "file":
            Folder(path).write("kept", b"old")
        elif kind == "token":
            TokenFile(path / "kept").create("old", ["*"], [], 0.0, None)
        killed = []
        if step:  # of its kind it is the how manieth
            call = calls[step - 1]
            killed = ["-e", f"inject={call}:signal=KILL:when={calls[:step].count(call)}"]
        command = ["strace", "-f", "-qq", "-o", str(tmp_path / "calls"), "-e", f"trace={WRITING}", *killed]
        program = [sys.executable, "-B", "-c", f"path = {str(path)!r}\n{CHANGES[kind]}"]
        done = subprocess.run([*command, *program], cwd=ROOT, capture_output=True, check=False, timeout=60)
        if step == 0:
            calls = [line.split()[1].partition("(")[0] for line in (tmp_path / "calls").read_text().splitlines()]
            assert known(kind, path) == new, done.stderr
            continue
        lived += done.returncode == 0
        assert known(kind, path) in (old, new), (step, calls)
        if step == len(calls):
            break
    assert len(calls) - lived > 2, calls
