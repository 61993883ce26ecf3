"""Reading beside the one who writes; that both are connections to one file is the same in two processes."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from splnode.errors import CallError
from splnode.services.store import Store
from splnode.services.store_format import FILE
from splnode.services.store_queries import StoreFault
from splnode.services.store_reader import StoreReader

READ = """
import asyncio, sys
from pathlib import Path
from splnode.services.store_reader import StoreReader

async def main():
    reader = StoreReader(Path(sys.argv[1]))
    for line in sys.stdin:
        page = await reader.read("t")
        print([record["data"] for record in page.items], flush=True)
    await reader.close()

asyncio.run(main())
"""


async def test_sees_every_write_that_was_answered(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    reader = StoreReader(tmp_path / FILE)
    with pytest.raises(StoreFault, match="no topic"):
        await reader.read("t")
    for number in range(20):
        await store.write("t", f"k{number}", str(number), None)
        assert (await reader.read("t")).total == number + 1
    assert [topic["name"] for topic in (await reader.topics()).items] == ["t"]
    await reader.close()
    await reader.close()
    with pytest.raises(CallError, match="closed"):
        await reader.read("t")
    await store.write("t", "k", "still", None)
    await store.close()


async def test_from_another_process_that_is_killed(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    await store.write("t", "k", "first", None)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", READ, str(tmp_path / FILE), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None and process.stdout is not None
    for number in range(5):
        await store.write("t", "k", f"write {number}", None)
        process.stdin.write(b"\n")
        assert f"write {number}".encode() in await process.stdout.readline()
    process.kill()
    await process.wait()
    await store.write("t", "k", "after", None)
    assert [record["data"] for record in (await store.read("t")).items] == ["after"]
    await store.close()
