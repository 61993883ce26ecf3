"""The modules that every node has. They run in the node's process: none of them is anybody else's code.

`headers` carries the scalar arguments by name, `value` the data. spl/data/* call SPLDataService through the
client they are given, so they reach the node's own store or another's, as that client does.
"""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final

import structlog

from splnode.avro.json_value import JSON_NAME, json_to_record, open_record
from splnode.avro.plain_json import record_to_json
from splnode.errors import DataError, DeclaredError, EncodeError
from splnode.modules.contract import ContractFault, ModuleContract, Value
from splnode.modules.errors import fault
from splnode.modules.files import FileFault, Folder
from splnode.modules.result import Result
from splnode.rpc.client import Client

log = structlog.get_logger("splnode.modules")

FILE_BYTES: Final = 4 * 1024 * 1024 - 64 * 1024
"""The largest piece of a file in one answer: the largest message, with room for the rest of it."""
READING: Final = 4
"""Files that are read at a time: the next one begins when one of them is taken, so that threads do not read ahead."""
LOG_CHARACTERS: Final = 16_000

Headers = Mapping[str, str]
Body = Callable[[Headers, Value], Awaitable[Result]]


class BuiltIn:
    """One of them: its contract and what it does."""

    def __init__(self, contract: str, body: Body) -> None:
        self.contract = ModuleContract(contract)
        self._body = body

    async def call(self, uri: str, headers: Headers, value: Value) -> Result:
        """Runs it. ExecutionError if it cannot do what is asked."""
        try:
            self.contract.check_headers(headers)
            return await self._body(headers, value)
        except ContractFault as wrong:
            raise fault(uri, wrong.code, wrong.message) from None
        except (FileFault, EncodeError) as wrong:
            raise fault(uri, "INVALID_INPUT", str(wrong)) from None
        except DeclaredError as error:
            text = f"{error.value.get('code', error.schema_name)}: {error.value.get('message', error)}"
            raise fault(uri, "FAILED", text) from error


def built_in_modules(data: Client | None, files: Folder | None) -> dict[str, BuiltIn]:
    """Those whose service is there, by URI."""
    modules = {"spl/void/noop": BuiltIn(_NOOP, _noop), "spl/console/log": BuiltIn(_LOG, _log)}
    if data is not None:
        of_data = _Data(data)
        modules["spl/data/write"] = BuiltIn(_WRITE, of_data.write)
        modules["spl/data/read"] = BuiltIn(_READ, of_data.read)
        modules["spl/data/list"] = BuiltIn(_LIST, of_data.list)
    if files is not None:
        of_files = _Files(files)
        modules["gp/fs/list"] = BuiltIn(_FILES_LIST, of_files.list)
        modules["gp/fs/read"] = BuiltIn(_FILES_READ, of_files.read)
        modules["gp/fs/write"] = BuiltIn(_FILES_WRITE, of_files.write)
    return modules


async def _noop(headers: Headers, value: Value) -> Result:
    return Result(value, headers=headers)


async def _log(headers: Headers, value: Value) -> Result:
    shown = value
    if isinstance(value, Mapping) and value["schema"] == JSON_NAME:
        shown = json.dumps(open_record(value, lambda _: None)[1], ensure_ascii=False)
    text = shown if isinstance(shown, str) else repr(shown)
    log.info("spl/console/log", text=text[:LOG_CHARACTERS], **{f"header.{key}": each for key, each in headers.items()})
    return Result(value, headers=headers)


class _Data:
    """spl/data/*: each message of SPLDataService by the headers' names."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def write(self, headers: Headers, value: Value) -> Result:
        params = {"topic": headers["topic"], "primaryKey": headers["primaryKey"], "data": value}
        written: Any = await self._client.call("write", {**params, "schema": headers.get("schema")})
        return Result(headers={"topic": headers["topic"], "primaryKey": headers["primaryKey"], **_facts(written)})

    async def read(self, headers: Headers, value: Value) -> Result:
        key, history = headers.get("primaryKey"), _flag(headers, "history")
        params = {"topic": headers["topic"], "primaryKey": key, "history": history, **_page(headers)}
        page: Any = await self._client.call("read", params)
        if key is None or history:
            return _listed("records", page, [_shown(record) for record in page["records"]])
        if not page["records"]:
            return Result(headers=_counts(page))
        record = page["records"][0]
        facts = {"topic": headers["topic"], "primaryKey": key, **_facts(record)}
        if record["schema"] is not None:
            facts["schema"] = record["schema"]
        return Result(record["data"], headers={**facts, **_counts(page)})

    async def list(self, headers: Headers, value: Value) -> Result:
        page: Any = await self._client.call("listTopics", _page(headers))
        return _listed("topics", page, page["topics"])


class _Files:
    """gp/fs/*: inside of the node's files folder."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._turns = asyncio.Semaphore(READING)

    async def list(self, headers: Headers, value: Value) -> Result:
        return Result(json_to_record(await asyncio.to_thread(self._folder.entries, headers.get("path", ""))))

    async def read(self, headers: Headers, value: Value) -> Result:
        limit, offset = _whole(headers, "limit"), _whole(headers, "offset") or 0
        asked = FILE_BYTES if limit is None else limit
        if asked > FILE_BYTES:
            raise EncodeError(f"limit is {asked} bytes, and one answer takes {FILE_BYTES}: read in pieces, with offset")
        async with self._turns:
            data, size = await asyncio.to_thread(self._folder.read, headers["path"], asked, offset)
        if limit is None and offset + len(data) < size:
            path = f"{headers['path']!r} has {size} bytes, and one answer takes {FILE_BYTES}"
            raise EncodeError(f"{path}: read it in pieces, with the headers limit and offset")
        return Result(data, headers={"path": headers["path"], "size": str(size)})

    async def write(self, headers: Headers, value: Value) -> Result:
        data = _bytes(value)
        await asyncio.to_thread(self._folder.write, headers["path"], data)
        return Result(headers={"path": headers["path"], "size": str(len(data))})


def _bytes(value: Value) -> bytes:
    if value is None:
        return b""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return value
    if value["schema"] != JSON_NAME:
        return bytes(value["data"])
    try:
        return json.dumps(open_record(value, lambda _: None)[1], ensure_ascii=False).encode()
    except DataError as error:
        raise EncodeError(f"the value cannot be read: {error}") from None


def _facts(record: Mapping[str, Any]) -> dict[str, str]:
    return {"version": str(record["version"]), "timestamp": _moment(record["timestamp"])}


def _moment(value: datetime) -> str:
    """As plain JSON writes a timestamp."""
    return f"{value:%Y-%m-%dT%H:%M:%S.%f}Z"


def _shown(record: Mapping[str, Any]) -> dict[str, Any]:
    """A stored record as JSON; bytes and Records as `plain_json` writes them."""
    return {**record, "timestamp": _moment(record["timestamp"]), "data": _json(record["data"])}


def _json(value: Value) -> Any:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        return record_to_json(value)
    return value


def _counts(page: Mapping[str, Any]) -> dict[str, str]:
    return {"totalCount": str(page["totalCount"])}


def _listed(name: str, page: Mapping[str, Any], items: Any) -> Result:
    return Result(json_to_record({name: items, "totalCount": page["totalCount"], "nextOffset": page["nextOffset"]}))


def _page(headers: Headers) -> dict[str, int | None]:
    return {"limit": _whole(headers, "limit"), "offset": _whole(headers, "offset")}


def _whole(headers: Headers, name: str) -> int | None:
    text = headers.get(name)
    if text is None or text == "":
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise EncodeError(f"the header {name} is {text[:100]!r}, and a whole number is needed")
    return int(text)


def _flag(headers: Headers, name: str) -> bool:
    text = headers.get(name, "false")
    if text not in ("true", "false"):
        raise EncodeError(f"the header {name} is {text[:100]!r}: true or false is needed")
    return text == "true"


def _contract(name: str, doc: str, headers: Mapping[str, str]) -> str:
    """The text of a built-in module's contract; a header that ends in ? need not be there."""
    fields = [
        {"name": key.rstrip("?"), "doc": text}
        | ({"type": ["null", "string"], "default": None} if key.endswith("?") else {"type": "string"})
        for key, text in headers.items()
    ]
    described = [{"name": "headers", "type": {"type": "record", "name": f"{name}Headers", "fields": fields}}]
    return json.dumps({"type": "record", "name": name, "doc": doc, "fields": described})


_NOOP: Final = _contract("Noop", "Gives back the headers and the value that it got.", {})
_LOG: Final = _contract("ConsoleLog", "Writes the headers and the value to the node's log, and gives them back.", {})
_WRITE: Final = _contract(
    "DataWrite",
    "Writes the value as the next version of a primary key; see SPLDataService.write. Gives version and timestamp as"
    " headers.",
    {
        "topic": "Where it belongs.",
        "primaryKey": "What it is called there.",
        "schema?": "The name of the registered schema that the value is checked against.",
    },
)
_READ: Final = _contract(
    "DataRead",
    "Reads; see SPLDataService.read. With a primaryKey the value is that key's newest data, and version, timestamp and"
    " schema are headers. Without one, or with history, it is JSON: records, totalCount, nextOffset.",
    {
        "topic": "The topic to read.",
        "primaryKey?": "Only this key.",
        "limit?": "How many records at most.",
        "offset?": "How many records to pass over first.",
        "history?": "true for older versions too.",
    },
)
_LIST: Final = _contract(
    "DataList",
    "Lists the topics as JSON: topics, totalCount, nextOffset; see SPLDataService.listTopics.",
    {"limit?": "How many topics at most.", "offset?": "How many topics to pass over first."},
)
_FILES_LIST: Final = _contract(
    "FilesList",
    "Lists a folder below the node's files folder, as JSON: name, type (file, folder, other) and size of each entry.",
    {"path?": "The folder, relative; the files folder itself if it is missing."},
)
_FILES_READ: Final = _contract(
    "FilesRead",
    "Gives the bytes of a file below the node's files folder; the header size is that of the whole file.",
    {
        "path": "The file, relative.",
        "limit?": "How many bytes at most; without it the whole file, if one answer takes it.",
        "offset?": "How many bytes to pass over first.",
    },
)
_FILES_WRITE: Final = _contract(
    "FilesWrite",
    "Writes the value to a file below the node's files folder: bytes as they are, text as UTF-8, JSON as its text.",
    {"path": "The file, relative; folders on the way are made."},
)
