import asyncio
import datetime
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from splnode.avro.json_value import json_to_record, make_record, open_record
from splnode.avro.schema import parse_schema
from splnode.errors import DeclaredError
from splnode.rpc.client import Client
from splnode.services.data import RECORD_BYTES, DataReadError, DataService, DataWriteError
from splnode.services.store import Store
from splnode.wire.server import LONG_TEXT
from tests.services.conftest import Serve

USER = """{"type": "record", "name": "User", "namespace": "com.acme", "fields": [
  {"name": "name", "type": "string"}, {"name": "age", "type": "int", "default": 0}]}"""


@pytest.fixture
async def data(tmp_path: Path, serve: Serve) -> AsyncIterator[Client]:
    service = DataService(Store.open(tmp_path / "data", "normal"))
    yield serve("SPLDataService", service, DataWriteError, DataReadError)
    await service.close()


async def refused(error: type[DeclaredError], call: Any) -> Any:
    with pytest.raises(error) as caught:
        await call
    assert caught.value.message
    return caught.value


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"\x00\xff",
        "grüße",
        json_to_record({"a": [1, None, 0.5]}),
        {"schema": "x.Y", "data": b"\xc3\x01" + bytes(9)},
    ],
)
async def test_written_and_read(data: Client, value: Any) -> None:
    written = await data.write(topic="users", primaryKey="user123", data=value)
    assert written["version"] == 1
    assert abs(written["timestamp"] - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(minutes=1)
    page = await data.read(topic="users", primaryKey="user123")
    assert page["records"] == [
        {"primaryKey": "user123", "version": 1, "timestamp": written["timestamp"], "schema": None, "data": value}
    ]
    assert (page["totalCount"], page["nextOffset"]) == (1, None)


async def test_pages(data: Client) -> None:
    await asyncio.gather(*(data.write(topic="t", primaryKey=f"k{number}", data=str(number)) for number in range(120)))
    first = await data.read(topic="t")
    assert (len(first["records"]), first["totalCount"], first["nextOffset"]) == (100, 120, 100)
    last = await data.read(topic="t", offset=first["nextOffset"])
    assert (len(last["records"]), last["nextOffset"]) == (20, None)
    assert (await data.read(topic="t", limit=0))["records"] == []
    assert (await data.read(topic="t", primaryKey="never"))["totalCount"] == 0


async def test_history(data: Client) -> None:
    for number in range(3):
        await data.write(topic="t", primaryKey="k", data=str(number))
    assert [each["data"] for each in (await data.read(topic="t", primaryKey="k"))["records"]] == ["2"]
    page = await data.read(topic="t", primaryKey="k", history=True, limit=2)
    assert [(each["version"], each["data"]) for each in page["records"]] == [(1, "0"), (2, "1")]
    assert page["nextOffset"] == 2


async def test_topics(data: Client) -> None:
    for topic in ("b", "a"):
        await data.write(topic=topic, primaryKey="k")
    listed = await data.listTopics(limit=1)
    assert listed == {
        "topics": [{"name": "a", "schema": None, "keyCount": 1, "recordCount": 1}],
        "totalCount": 2,
        "nextOffset": 1,
    }


@pytest.mark.parametrize(
    ("topic", "key"),
    [("", "k"), ("x" * 256, "k"), ("a\nb", "k"), ("a\0", "k"), ("t", ""), ("t", "é" * 513), ("t", "\x7f")],
)
async def test_names_out_of_bounds(data: Client, topic: str, key: str) -> None:
    error = await refused(DataWriteError, data.write(topic=topic, primaryKey=key, data="x"))
    assert error.code == "INVALID_ARGUMENT"
    assert len(error.topic) <= 255
    await refused(DataReadError, data.read(topic="t"))  # nothing came into being


async def test_names_at_the_bounds(data: Client) -> None:
    await data.write(topic="x" * 255, primaryKey="é" * 512, data="x")
    assert (await data.read(topic="x" * 255, primaryKey="é" * 512))["totalCount"] == 1


@pytest.mark.parametrize("params", [{"limit": -1}, {"limit": 1001}, {"offset": -1}])
async def test_pages_out_of_bounds(data: Client, params: dict[str, int]) -> None:
    await data.write(topic="t", primaryKey="k")
    assert (await refused(DataReadError, data.read(topic="t", **params))).code == "INVALID_ARGUMENT"
    assert (await refused(DataReadError, data.listTopics(**params))).code == "INVALID_ARGUMENT"


async def test_an_unknown_topic(data: Client) -> None:
    error = await refused(DataReadError, data.read(topic="nothing"))
    assert (error.code, error.topic) == ("TOPIC_NOT_FOUND", "nothing")


async def test_the_largest_record_can_be_read_and_a_larger_one_is_refused(data: Client) -> None:
    key = "k" * 1024
    await data.write(topic="t" * 255, primaryKey=key, data=b"x" * RECORD_BYTES)
    assert len((await data.read(topic="t" * 255, primaryKey=key))["records"][0]["data"]) == RECORD_BYTES
    error = await refused(DataWriteError, data.write(topic="t", primaryKey="k", data="x" * (RECORD_BYTES + 1)))
    assert error.code == "TOO_LARGE"


async def test_schemas_by_name(data: Client) -> None:
    info = await data.registerSchema(name="UserSchema", text=USER)
    assert info["name"] == "UserSchema"
    assert len(info["fingerprint"]) == 16
    assert await data.registerSchema(name="UserSchema", text=USER) == info
    assert await data.getSchema(name="UserSchema") == info
    assert await data.getSchema(name=info["fingerprint"]) == info
    assert await data.listSchemas() == ["UserSchema"]
    error = await refused(DataWriteError, data.registerSchema(name="UserSchema", text='"string"'))
    assert error.code == "SCHEMA_CONFLICT"
    error = await refused(DataWriteError, data.registerSchema(name="Other", text='{"type": "recrod"}'))
    assert error.code == "INVALID_ARGUMENT"
    assert (await refused(DataReadError, data.getSchema(name="Other"))).code == "SCHEMA_NOT_FOUND"


async def test_a_write_that_names_an_unknown_schema(data: Client) -> None:
    call = data.write(topic="t", primaryKey="k", data="x", schema="UserSchema")
    error = await refused(DataWriteError, call)
    assert (error.code, "registerSchema" in error.message) == ("SCHEMA_NOT_FOUND", True)
    await refused(DataReadError, data.read(topic="t"))


async def test_a_long_schema(data: Client) -> None:
    symbols = [f"s{n}" for n in range(3000)]
    text = json.dumps({"type": "enum", "name": "Long", "symbols": symbols})
    assert len(text) > LONG_TEXT
    await data.registerSchema(name="Long", text=text)
    await data.write(topic="t", primaryKey="k", data=make_record(parse_schema(text), "s2999"), schema="Long")
    error = await refused(DataWriteError, data.registerSchema(name="Other", text=text[:-2] + "}"))
    assert (error.code, "no Avro schema" in error.message) == ("INVALID_ARGUMENT", True)


async def test_a_topic_with_a_schema_takes_nothing_else(data: Client) -> None:
    await data.registerSchema(name="UserSchema", text=USER)
    ada = json_to_record({"name": "Ada"})
    await data.write(topic="users", primaryKey="1", data=ada, schema="UserSchema")
    typed = make_record(parse_schema(USER), {"name": "Grace", "age": 85})
    await data.write(topic="users", primaryKey="2", data=typed)
    stored = (await data.read(topic="users"))["records"]
    assert [(each["schema"], each["data"]) for each in stored] == [("UserSchema", ada), ("UserSchema", typed)]
    assert open_record(stored[0]["data"], lambda _: None)[1] == {"name": "Ada"}
    cut = {"schema": typed["schema"], "data": typed["data"][:-1]}
    other = make_record(parse_schema(USER.replace("User", "Person")), {"name": "Grace", "age": 85})
    for bad in ("text", None, b"bytes", json_to_record({"name": 5}), json_to_record({"nam": "Ada"}), cut, other):
        error = await refused(DataWriteError, data.write(topic="users", primaryKey="3", data=bad))
        assert (error.code, error.topic, error.primaryKey) == ("INVALID_DATA", "users", "3")
        assert "UserSchema" in error.message
    assert (await data.listTopics())["topics"][0]["recordCount"] == 2
    assert (await data.listTopics())["topics"][0]["schema"] == "UserSchema"


@pytest.mark.parametrize(
    "record", [{"schema": "x.Y", "data": b"anything else"}, {"schema": "splnode.Json", "data": b"\xc3\x01" + bytes(9)}]
)
async def test_a_record_that_nobody_could_read(data: Client, record: Any) -> None:
    error = await refused(DataWriteError, data.write(topic="t", primaryKey="k", data=record))
    assert error.code == "INVALID_DATA"


async def test_a_topic_has_one_schema(data: Client) -> None:
    for name in ("A", "B"):
        await data.registerSchema(name=name, text='"string"')
    await data.write(topic="t", primaryKey="k", data=b"not yet")
    await data.write(topic="t", primaryKey="k", data="text", schema="A")
    for _ in range(2):
        error = await refused(DataWriteError, data.write(topic="t", primaryKey="k", data="text", schema="B"))
        assert error.code == "SCHEMA_CONFLICT"
    assert (await refused(DataWriteError, data.write(topic="t", primaryKey="k", data=b"x"))).code == "INVALID_DATA"


async def test_two_first_writes_at_once_agree(data: Client) -> None:
    await data.registerSchema(name="A", text='"string"')
    await data.registerSchema(name="B", text='"bytes"')
    jobs = [
        data.write(topic="t", primaryKey=str(number), data=b"x" if number % 2 else "x", schema="AB"[number % 2])
        for number in range(20)
    ]
    results = await asyncio.gather(*jobs, return_exceptions=True)
    kept = [each for each in results if isinstance(each, dict)]
    assert len(kept) == 10
    assert len({type(each["data"]) for each in (await data.read(topic="t"))["records"]}) == 1


async def test_the_caches_are_only_caches(data: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splnode.services.data.KNOWN", 2)
    for name in "abcde":
        await data.registerSchema(name=name, text='"string"')
        await data.write(topic=name, primaryKey="k", data="x", schema=name)
    for name in "abcde":
        assert (await refused(DataWriteError, data.write(topic=name, primaryKey="k", data=b"x"))).code == "INVALID_DATA"


async def test_large_data_is_checked_too(data: Client) -> None:
    await data.registerSchema(name="S", text='{"type": "array", "items": "long"}')
    await data.write(topic="t", primaryKey="k", data=json_to_record([1] * 20_000), schema="S")
    bad = json_to_record([1] * 20_000 + ["x"])
    error = await refused(DataWriteError, data.write(topic="t", primaryKey="k", data=bad))
    assert "[20000]" in error.message


async def test_schemas_survive(tmp_path: Path, serve: Serve) -> None:
    for expected in (None, "INVALID_DATA"):
        service = DataService(Store.open(tmp_path / "data"))
        data = serve("SPLDataService", service, DataWriteError)
        if expected is None:
            await data.registerSchema(name="S", text='"string"')
            await data.write(topic="t", primaryKey="k", data="x", schema="S")
        else:
            assert (await refused(DataWriteError, data.write(topic="t", primaryKey="k", data=b"x"))).code == expected
        await service.close()


async def test_a_full_store_says_so(tmp_path: Path, serve: Serve) -> None:
    service = DataService(Store.open(tmp_path / "data", max_bytes=1 << 16))
    data = serve("SPLDataService", service, DataWriteError)
    error = await refused(DataWriteError, data.write(topic="t", primaryKey="k", data=b"x" * (1 << 17)))
    assert error.code == "STORAGE_FULL"
    await service.close()


async def test_schema_texts_for_reflection(tmp_path: Path) -> None:
    service = DataService(Store.open(tmp_path / "data"))
    info = await service.registerSchema("S", '"string"')
    assert await service.schema_text(info["fingerprint"]) == '"string"'
    assert await service.schema_text("S") is None
    assert await service.schema_text("0" * 16) is None
    await service.close()
