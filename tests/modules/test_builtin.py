from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from splnode.avro.json_value import json_to_record, open_record
from splnode.avro.protocol import Protocol
from splnode.avro.schema import parse_schema
from splnode.modules.catalogue import Modules
from splnode.modules.errors import ExecutionError
from splnode.rpc.client import Client
from splnode.rpc.server import Server
from splnode.services.data import DataService
from splnode.services.store import Store

PROTOCOL = Path(__file__).parents[2] / "protocols" / "SPLDataService.avpr"
URIS = [f"gp/fs/{name}" for name in ("list", "read", "write")] + ["spl/console/log"]
URIS += [f"spl/data/{name}" for name in ("list", "read", "write")] + ["spl/void/noop"]


@pytest.fixture
async def modules(tmp_path: Path) -> AsyncIterator[Modules]:
    service = DataService(Store.open(tmp_path / "data", "normal"))
    protocol = Protocol.load(PROTOCOL)
    modules = Modules(None, data=Client(Server(protocol, service), protocol), files=tmp_path / "files")
    yield modules
    await modules.close()
    await service.close()


def plain(value: Any) -> Any:
    return open_record(value, lambda _: None)[1]


async def test_all_are_there_and_have_contracts(modules: Modules) -> None:
    assert await modules.uris() == URIS
    for uri in URIS:
        contract = parse_schema(await modules.contract(uri))
        assert contract.doc
        assert [field.name for field in contract.fields] == ["headers"]
        assert all(field.doc for field in contract.fields[0].schema.fields)


@pytest.mark.parametrize(
    "value", [None, b"\xff", "text", json_to_record({"a": [1]}), {"schema": "x.Y", "data": b"\xc3\x01" + bytes(9)}]
)
async def test_data_written_and_read_by_uri(modules: Modules, value: Any) -> None:
    headers = {"topic": "users", "primaryKey": "user123"}
    written = await modules.execute("spl/data/write", headers, value)
    assert written.value is None
    assert (written.headers["version"], written.headers["topic"]) == ("1", "users")
    read = await modules.execute("spl/data/read", headers, None)
    assert read.value == value
    assert read.headers == {**written.headers, "totalCount": "1"}


async def test_pages_and_history_by_uri(modules: Modules) -> None:
    values = ["one", b"\xff", json_to_record({"a": 1}), {"schema": "x.Y", "data": b"\xc3\x01" + bytes(8)}]
    for value in values:
        await modules.execute("spl/data/write", {"topic": "t", "primaryKey": "k"}, value)
    page = plain((await modules.execute("spl/data/read", {"topic": "t"}, None)).value)
    assert (page["totalCount"], page["nextOffset"], len(page["records"])) == (1, None, 1)
    headers = {"topic": "t", "primaryKey": "k", "history": "true", "limit": "3", "offset": "1"}
    page = plain((await modules.execute("spl/data/read", headers, None)).value)
    shown = [record["data"] for record in page["records"]]
    assert shown[:2] == [{"base64": "/w=="}, {"a": 1}]
    assert shown[2]["schema"] == "x.Y"
    assert [record["version"] for record in page["records"]] == [2, 3, 4]
    listed = plain((await modules.execute("spl/data/list", {"limit": "5"}, None)).value)
    assert listed["topics"] == [{"name": "t", "schema": None, "keyCount": 1, "recordCount": 4}]


async def test_a_key_that_was_never_written(modules: Modules) -> None:
    await modules.execute("spl/data/write", {"topic": "t", "primaryKey": "k"}, "x")
    read = await modules.execute("spl/data/read", {"topic": "t", "primaryKey": "other"}, None)
    assert (read.value, read.headers) == (None, {"totalCount": "0"})


async def test_the_schema_by_its_header(modules: Modules) -> None:
    headers = {"topic": "t", "primaryKey": "k", "schema": "S"}
    with pytest.raises(ExecutionError, match="SCHEMA_NOT_FOUND") as caught:
        await modules.execute("spl/data/write", headers, "x")
    assert caught.value.code == "FAILED"


@pytest.mark.parametrize(
    ("uri", "headers", "text"),
    [
        ("spl/data/write", {"topic": "t"}, "needs the header primaryKey"),
        ("spl/data/write", {}, "topic and primaryKey"),
        ("spl/data/read", {"topic": "t", "limit": "ten"}, "limit is 'ten'"),
        ("spl/data/read", {"topic": "t", "offset": "-1"}, "a whole number"),
        ("spl/data/read", {"topic": "t", "history": "yes"}, "true or false"),
        ("spl/data/list", {"limit": "1e3"}, "a whole number"),
        ("gp/fs/read", {}, "needs the header path"),
        ("gp/fs/read", {"path": "x", "limit": "99999999"}, "read in pieces"),
        ("gp/fs/read", {"path": "../secret"}, "has .. in it"),
        ("gp/fs/write", {"path": "/etc/passwd"}, "is absolute"),
        ("gp/fs/list", {"path": "missing"}, "there is no 'missing'"),
    ],
)
async def test_wrong_arguments(modules: Modules, uri: str, headers: dict[str, str], text: str) -> None:
    await modules.execute("gp/fs/write", {"path": "there"}, "x")
    with pytest.raises(ExecutionError) as caught:
        await modules.execute(uri, headers, None)
    assert caught.value.code == "INVALID_INPUT"
    assert text in caught.value.message


@pytest.mark.parametrize(
    ("value", "raw"),
    [
        (None, b""),
        (b"\xff\0", b"\xff\0"),
        ("grüße", "grüße".encode()),
        (json_to_record({"a": [1, "é"]}), '{"a": [1, "é"]}'.encode()),
    ],
)
async def test_files(modules: Modules, value: Any, raw: bytes) -> None:
    written = await modules.execute("gp/fs/write", {"path": "a/b.txt"}, value)
    assert written.headers == {"path": "a/b.txt", "size": str(len(raw))}
    read = await modules.execute("gp/fs/read", {"path": "a/b.txt"}, None)
    assert (read.value, read.headers["size"]) == (raw, str(len(raw)))
    listed = plain((await modules.execute("gp/fs/list", {"path": "a"}, None)).value)
    assert listed == [{"name": "b.txt", "type": "file", "size": len(raw)}]


async def test_a_large_file_is_read_in_pieces(modules: Modules, tmp_path: Path) -> None:
    data = bytes(range(256)) * (5 << 12)
    await modules.execute("gp/fs/write", {"path": "large"}, data)
    with pytest.raises(ExecutionError, match="in pieces"):
        await modules.execute("gp/fs/read", {"path": "large"}, None)
    pieces = b""
    while len(pieces) < len(data):
        headers = {"path": "large", "limit": str(3 << 20), "offset": str(len(pieces))}
        piece = await modules.execute("gp/fs/read", headers, None)
        assert piece.headers["size"] == str(len(data))
        pieces += piece.value
    assert pieces == data


async def test_noop_and_log_give_back_what_they_got(modules: Modules) -> None:
    for value in (None, "text", b"\xff", json_to_record({"a": 1})):
        for uri in ("spl/void/noop", "spl/console/log"):
            with structlog.testing.capture_logs() as logs:
                result = await modules.execute(uri, {"level": "x", "event": "y"}, value)
            assert (result.value, result.headers) == (value, {"level": "x", "event": "y"})
    assert logs[0]["text"] == '{"a": 1}'
    assert logs[0]["header.level"] == "x"
