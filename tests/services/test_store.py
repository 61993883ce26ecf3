import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splnode.errors import CallError, Code, ConfigError
from splnode.services.store import Store
from splnode.services.store_format import FILE
from splnode.services.store_queries import OtherSchema, StoreFault

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store.open(tmp_path / "data")
    yield store
    await store.close()


@pytest.mark.parametrize(
    "data", [None, b"", b"\x00\xff", "", "grüße \N{GRINNING FACE}", {"schema": "com.acme.User", "data": b"\xc3\x01"}]
)
async def test_data_comes_back_as_it_went_in(store: Store, data: object) -> None:
    written = await store.write("t", "k", data, None)
    page = await store.read("t", "k")
    expected = {"primaryKey": "k", "version": 1, "timestamp": written["timestamp"], "schema": None, "data": data}
    assert page.items == [expected]
    assert (page.total, page.next_offset) == (1, None)


async def test_read_gives_the_newest_and_history_all(store: Store) -> None:
    for number in range(3):
        result = await store.write("t", "a", f"a{number}", None)
        assert result["version"] == number + 1
        await store.write("t", "b", f"b{number}", None)
    newest = await store.read("t")
    assert [(each["primaryKey"], each["version"], each["data"]) for each in newest.items] == [
        ("a", 3, "a2"),
        ("b", 3, "b2"),
    ]
    assert newest.total == 2
    everything = await store.read("t", history=True)
    assert [each["data"] for each in everything.items] == ["a0", "b0", "a1", "b1", "a2", "b2"]
    of_key = await store.read("t", "b", history=True)
    assert [each["data"] for each in of_key.items] == ["b0", "b1", "b2"]
    assert of_key.total == 3


@pytest.mark.parametrize("key", [None, "k0"])
@pytest.mark.parametrize("history", [True, False])
async def test_pages_join_to_the_whole(store: Store, key: str | None, history: bool) -> None:
    for number in range(23):
        await store.write("t", f"k{number % 7}", str(number), None)
    whole = await store.read("t", key, 1000, 0, history)
    assert whole.next_offset is None
    assert whole.total == len(whole.items)
    joined, offset = [], 0
    while offset is not None:
        page = await store.read("t", key, 3, offset, history)
        assert page.total == whole.total
        joined += page.items
        offset = page.next_offset
    assert joined == whole.items


async def test_the_ends_of_a_page(store: Store) -> None:
    await store.write("t", "k", "x", None)
    assert (await store.read("t", limit=0)).next_offset == 0
    beyond = await store.read("t", offset=2**63 - 1)
    assert (beyond.items, beyond.total, beyond.next_offset) == ([], 1, None)
    assert (await store.read("t", "k", offset=1)).items == []
    assert (await store.read("t", "other")).total == 0
    with pytest.raises(StoreFault, match="no topic 'u'") as caught:
        await store.read("u")
    assert caught.value.code == "TOPIC_NOT_FOUND"


async def test_a_page_ends_before_it_is_too_large(store: Store) -> None:
    big = b"x" * (1024 * 1024 * 3 // 2)
    for number in range(3):
        await store.write("t", str(number), big, None)
    page = await store.read("t")
    assert (len(page.items), page.next_offset) == (1, 1)


async def test_topics_are_listed_by_name(store: Store) -> None:
    for topic in ("b", "c", "a"):
        await store.write(topic, "k", None, None)
    await store.write("a", "k", None, None)
    page = await store.topics(2, 0)
    assert [(each["name"], each["keyCount"], each["recordCount"]) for each in page.items] == [("a", 1, 2), ("b", 1, 1)]
    assert (page.total, page.next_offset) == (3, 2)
    assert [each["name"] for each in (await store.topics(2, 2)).items] == ["c"]


async def test_the_first_schema_is_the_topics(store: Store) -> None:
    await store.write("t", "k", None, None)
    assert await store.topic_schema("t") is None
    await store.write("t", "k", None, "S")
    assert await store.topic_schema("t") == "S"
    for other in (None, "T"):
        with pytest.raises(OtherSchema) as caught:
            await store.write("t", "k", None, other)
        assert caught.value.name == "S"
    assert (await store.read("t", "k")).items[0]["version"] == 2


async def test_one_refusal_leaves_the_others_of_its_transaction(store: Store) -> None:
    await store.write("t", "k", None, "S")
    jobs = [store.write("t", str(number), None, "S" if number % 3 else "T") for number in range(30)]
    results = await asyncio.gather(*jobs, return_exceptions=True)
    assert [isinstance(each, OtherSchema) for each in results] == [number % 3 == 0 for number in range(30)]
    assert (await store.read("t")).total == 21


async def test_schemas_keep_their_name(store: Store) -> None:
    info = await store.register("S", "00ff00ff00ff00ff", '"string"')
    assert info == {"name": "S", "fingerprint": "00ff00ff00ff00ff", "text": '"string"'}
    assert await store.register("S", "00ff00ff00ff00ff", ' "string"') == info
    with pytest.raises(StoreFault, match="another schema already") as caught:
        await store.register("S", "1111111111111111", '"long"')
    assert caught.value.code == "SCHEMA_CONFLICT"
    assert await store.schema("S") == info
    assert await store.schema("00FF00FF00FF00FF") == info
    assert await store.schema("nothing") is None
    assert await store.schemas() == ["S"]


async def test_concurrent_writes_of_one_key_are_numbered_without_gaps(store: Store) -> None:
    results = await asyncio.gather(*(store.write("t", "k", str(number), None) for number in range(200)))
    assert sorted(each["version"] for each in results) == list(range(1, 201))


async def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "data"
    for round_number in range(3):
        store = Store.open(path, "normal")
        await store.write("t", "k", str(round_number), None)
        await store.close()
        await store.close()
    store = Store.open(path)
    assert [each["data"] for each in (await store.read("t", history=True)).items] == ["0", "1", "2"]
    await store.close()


async def test_close_answers_what_waits_and_refuses_the_rest(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    waiting = [asyncio.ensure_future(store.write("t", str(number), None, None)) for number in range(50)]
    await asyncio.sleep(0)
    await store.close()
    assert all(each["version"] == 1 for each in await asyncio.gather(*waiting))
    for refused in (store.write("t", "k", None, None), store.read("t")):
        with pytest.raises(CallError) as caught:
            await refused
        assert caught.value.code is Code.UNAVAILABLE


async def test_a_cancelled_writer_harms_nobody(store: Store) -> None:
    jobs = [asyncio.ensure_future(store.write("t", str(number), None, None)) for number in range(10)]
    await asyncio.sleep(0)
    jobs[3].cancel()
    results = await asyncio.gather(*jobs, return_exceptions=True)
    assert [isinstance(each, dict) for each in results] == [number != 3 for number in range(10)]


async def test_a_second_node_is_refused(store: Store) -> None:
    with pytest.raises(ConfigError, match=r"in use by process \d+: stop that node"):
        Store.open(store.path.parent)


async def test_a_full_disk_keeps_what_was_answered(tmp_path: Path) -> None:
    path = tmp_path / "data"
    store = Store.open(path, max_bytes=256 * 1024)
    kept = 0
    with pytest.raises(StoreFault, match="is full") as caught:
        while True:
            await store.write("t", str(kept), b"x" * 8000, None)
            kept += 1
    assert caught.value.code == "STORAGE_FULL"
    assert kept > 10
    small = await asyncio.gather(
        store.write("t", "large", b"x" * 80000, None), store.write("u", "small", b"x", None), return_exceptions=True
    )
    assert [isinstance(each, StoreFault) for each in small] == [True, False]
    assert (await store.read("t")).total == kept
    await store.close()
    store = Store.open(path)
    assert (await store.read("t")).total == kept
    await store.write("t", "more", b"x" * 80000, None)
    await store.close()


async def test_a_reader_that_cannot_be_opened_once_is_opened_later(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.write("t", "k", "v", None)

    def no_descriptors(path: Path) -> sqlite3.Connection:
        raise sqlite3.OperationalError("unable to open database file")

    with monkeypatch.context() as patch:
        patch.setattr("splnode.services.store_format.connect", no_descriptors)
        with pytest.raises(StoreFault, match="unable to open"):
            await store.read("t")
    assert (await store.read("t")).total == 1


async def test_a_store_that_cannot_be_written_says_so(store: Store) -> None:
    await store.write("t", "k", None, None)
    store._connection.execute("PRAGMA query_only = 1")  # as root no file mode would stop us
    with pytest.raises(StoreFault, match="cannot be written") as caught:
        await store.write("t", "k", None, None)
    assert caught.value.code == "READ_ONLY"
    assert (await store.read("t", "k")).items[0]["version"] == 1


_WRITER = """
import asyncio, sys
from splnode.services.store import Store

async def main(path, sync):
    store = Store.open(path, sync)
    async def write(worker):
        number = 0
        while True:
            await store.write("t", f"{worker}-{number}", b"x" * 100, None)
            print(f"{worker}-{number}", flush=True)
            number += 1
    await asyncio.gather(*(write(worker) for worker in range(20)))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("sync", ["full", "normal"])
async def test_what_was_answered_survives_kill_9(tmp_path: Path, sync: str) -> None:
    path = tmp_path / "data"
    answered = _killed_writer(path, sync)
    store = Store.open(path)
    found: set[str] = set()
    offset: int | None = 0
    while offset is not None:
        page = await store.read("t", None, 1000, offset)
        found.update(each["primaryKey"] for each in page.items)
        offset = page.next_offset
    await store.close()
    assert set(answered) <= found
    assert len(answered) >= 1000
    connection = sqlite3.connect(path / FILE)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def _killed_writer(path: Path, sync: str) -> list[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path), sync], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    answered = [process.stdout.readline().strip() for _ in range(1000)]
    process.send_signal(signal.SIGKILL)
    answered += [line.strip() for line in process.stdout if line.endswith("\n")]
    process.stdout.close()
    process.wait(10)
    return answered


WRITES = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["x", "y", "é", "\N{GRINNING FACE}"]), st.text(max_size=3)),
    max_size=40,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=WRITES, limit=st.integers(0, 7), offset=st.integers(0, 45), together=st.booleans())
async def test_it_is_what_a_list_would_be(
    tmp_path_factory: pytest.TempPathFactory,
    writes: list[tuple[str, str, str]],
    limit: int,
    offset: int,
    together: bool,
) -> None:
    store = Store.open(tmp_path_factory.mktemp("data"), "normal")
    jobs = [store.write(topic, key, data, None) for topic, key, data in writes]
    if together:
        await asyncio.gather(*jobs)
    else:
        for job in jobs:
            await job
    for topic in {topic for topic, _, _ in writes}:
        everything = [(key, data) for name, key, data in writes if name == topic]
        newest = list({key: (key, data) for key, data in everything}.values())
        expected = {(None, True): everything, (None, False): newest}
        for key, _ in newest:
            expected[key, True] = [each for each in everything if each[0] == key]
            expected[key, False] = expected[key, True][-1:]
        for (key, history), records in expected.items():
            page = await store.read(topic, key, limit, offset, history)
            assert [(each["primaryKey"], each["data"]) for each in page.items] == records[offset : offset + limit]
            assert page.total == len(records)
            shown = offset + len(page.items)
            assert page.next_offset == (shown if shown < len(records) else None)
    await store.close()
