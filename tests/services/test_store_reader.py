"""Reading beside the one who writes; that both are connections to one file is the same in two processes."""

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from splnode.errors import CallError
from splnode.services.store import Store
from splnode.services.store_format import FILE
from splnode.services.store_queries import Page, StoreFault
from splnode.services.store_reader import READERS, StoreReader

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


async def test_no_more_pages_are_read_than_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else threads would fill the memory with what nobody has taken yet, while the loop is busy."""
    store = Store.open(tmp_path)
    await store.write("t", "k", "value", None)
    given, go, pool = [], threading.Event(), store._readers

    def submit(call: Any, query: Any) -> Any:
        given.append(query)
        return ThreadPoolExecutor.submit(pool, lambda: (go.wait(10), call(query))[1])

    monkeypatch.setattr(pool, "submit", submit)
    reads = [asyncio.ensure_future(store.read("t")) for _ in range(5 * READERS)]
    await asyncio.sleep(0)
    assert len(given) == READERS
    reads[0].cancel()
    reads[-1].cancel()
    go.set()
    pages = await asyncio.gather(*reads, return_exceptions=True)
    assert sum(isinstance(page, Page) for page in pages) == 5 * READERS - 2
    await store.close()


def test_one_loop_after_another(tmp_path: Path) -> None:
    async def prepare() -> Store:
        store = Store.open(tmp_path)
        await store.write("t", "k", "value", None)
        return store

    async def many(store: Store) -> int:
        return len(await asyncio.gather(*(store.read("t") for _ in range(5 * READERS))))

    store = asyncio.run(prepare())
    assert [asyncio.run(many(store)) for _ in range(2)] == [5 * READERS] * 2
    asyncio.run(store.close())
