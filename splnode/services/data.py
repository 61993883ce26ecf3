"""SPLDataService: the protocol's face of the store. Checks what comes in, and answers in the errors it declares."""

import asyncio
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NoReturn, TypeVar

from splnode.avro.fingerprint import crc64_avro
from splnode.avro.schema import Schema, parse_schema
from splnode.avro.single_object import show
from splnode.errors import DataError, DeclaredError, SchemaError
from splnode.services.data_check import check, check_record
from splnode.services.store import Store
from splnode.services.store_queries import Data, OtherSchema, Page, StoreFault
from splnode.services.store_reader import StoreReader
from splnode.wire.server import LONG_TEXT

TOPIC_BYTES: Final = 255
"""The longest name of a topic or a schema: what a file name may have, so that an export can use it."""
KEY_BYTES: Final = 1024
RECORD_BYTES: Final = 4 * 1024 * 1024 - 64 * 1024
"""The largest record: the largest message without room for names and numbers, so that what was written can be read."""
CHECKED_INLINE: Final = 32 * 1024
"""Bytes that are checked against a schema at once; more is checked in a thread, so that other calls go on."""
KNOWN: Final = 1000
"""Schemas, and topics with a schema, that are remembered."""
LIMIT: Final = 100
MAX_LIMIT: Final = 1000

T = TypeVar("T")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class DataWriteError(DeclaredError):
    """Nothing was written: fields `code` (a symbol of DataFault), `message`, `topic`, `primaryKey`."""


class DataReadError(DeclaredError):
    """Nothing could be read: fields `code` (a symbol of DataFault), `message`, `topic`, `primaryKey`."""


class DataReading:
    """The messages of SPLDataService that change nothing, over a store, which it closes with itself."""

    def __init__(self, store: StoreReader) -> None:
        self._reader = store

    async def close(self) -> None:
        """Closes the store."""
        await self._reader.close()

    async def read(
        self,
        topic: str,
        primaryKey: str | None = None,  # noqa: N803 - the protocol's word
        limit: int | None = None,
        offset: int | None = None,
        history: bool = False,
    ) -> dict[str, Any]:
        """The newest record of each key, of one key, or all of them; one page."""
        try:
            page = await self._reader.read(topic, primaryKey, *_page(limit, offset), history)
        except StoreFault as fault:
            _refuse(DataReadError, fault, topic, primaryKey)
        return _listed("records", page)

    async def listTopics(  # noqa: N802 - the protocol's word
        self, limit: int | None = None, offset: int | None = None
    ) -> dict[str, Any]:
        """The topics by name; one page."""
        try:
            page = await self._reader.topics(*_page(limit, offset))
        except StoreFault as fault:
            _refuse(DataReadError, fault)
        return _listed("topics", page)

    async def getSchema(self, name: str) -> dict[str, Any]:  # noqa: N802 - the protocol's word
        """A registered schema, by name or fingerprint."""
        try:
            found = await self._reader.schema(name)
            if found is None:
                raise StoreFault("SCHEMA_NOT_FOUND", _unknown_schema(name))
        except StoreFault as fault:
            _refuse(DataReadError, fault)
        return found

    async def listSchemas(self) -> list[str]:  # noqa: N802 - the protocol's word
        """The names of the registered schemas."""
        try:
            return await self._reader.schemas()
        except StoreFault as fault:
            _refuse(DataReadError, fault)

    async def schema_text(self, fingerprint: str) -> str | None:
        """The text of a registered schema by its fingerprint in hexadecimal, for splnode.Reflection."""
        found = await self._reader.schema(fingerprint)
        return found["text"] if found is not None and found["fingerprint"] == fingerprint else None


class DataService(DataReading):
    """Implements SPLDataService over an open store, which it closes with itself: what waits is committed first."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._store = store
        self._schemas: dict[str, Schema] = {}  # by name; a name is given once, so nothing here becomes old
        self._topics: dict[str, str] = {}  # topic -> its schema's name, for topics that have one

    async def write(
        self,
        topic: str,
        primaryKey: str,  # noqa: N803 - the protocol's word
        data: Data = None,
        schema: str | None = None,
    ) -> dict[str, Any]:
        """Adds the next version of a key; on disk on return."""
        try:
            _check_name("topic", topic, TOPIC_BYTES)
            _check_name("primaryKey", primaryKey, KEY_BYTES)
            _check_size(data)
            return await self._write(topic, primaryKey, data, schema)
        except StoreFault as fault:
            _refuse(DataWriteError, fault, topic, primaryKey)

    async def registerSchema(self, name: str, text: str) -> dict[str, Any]:  # noqa: N802 - the protocol's word
        """Gives a schema a name, for good."""
        try:
            _check_name("name", name, TOPIC_BYTES)
            try:
                fingerprint = await _of_text(_fingerprint, text)
            except SchemaError as error:
                raise StoreFault("INVALID_ARGUMENT", f"the text is no Avro schema: {error}") from None
            return await self._store.register(name, fingerprint, text)
        except StoreFault as fault:
            _refuse(DataWriteError, fault)

    async def _write(self, topic: str, key: str, data: Data, named: str | None) -> dict[str, Any]:
        """Checks against the schema that the topic probably has; the store says if it has another by now."""
        checked = self._topics.get(topic, named)
        for _ in range(2):
            if named is not None and checked != named:
                has = f"topic {topic!r} has the schema {checked!r}, and this write names {named!r}"
                raise StoreFault("SCHEMA_CONFLICT", f"{has}: write to another topic, or name the topic's")
            await self._check(checked, data)
            try:
                result = await self._store.write(topic, key, data, checked)
            except OtherSchema as other:
                checked = other.name
                continue
            if checked is not None:
                _keep(self._topics, topic, checked)
            return result
        raise StoreFault("SCHEMA_CONFLICT", f"topic {topic!r} has the schema {checked!r}")

    async def _check(self, name: str | None, data: Data) -> None:
        look = check_record if name is None else partial(check, await self._schema(name))
        try:
            if _size(data) > CHECKED_INLINE:
                await asyncio.to_thread(look, data)
            else:
                look(data)
        except (DataError, SchemaError) as error:
            what = "is no Record that could be read" if name is None else f"does not fit the schema {name!r}"
            raise StoreFault("INVALID_DATA", f"the data {what}: {error}") from None

    async def _schema(self, name: str) -> Schema:
        schema = self._schemas.get(name)
        if schema is None:
            found = await self._store.schema(name)
            if found is None or found["name"] != name:
                raise StoreFault("SCHEMA_NOT_FOUND", _unknown_schema(name))
            parse = partial(parse_schema, referee=False)  # it was asked when the text was registered
            schema = _keep(self._schemas, name, await _of_text(parse, found["text"]))
        return schema


async def _of_text(made: Callable[[str], T], text: str) -> T:
    """What is made of a schema's text; of a long one in a thread, since that takes up to 0.3 s."""
    return made(text) if len(text) < LONG_TEXT else await asyncio.to_thread(made, text)


def _fingerprint(text: str) -> str:
    return show(crc64_avro(parse_schema(text)))


def _keep(known: dict[str, T], name: str, value: T) -> T:
    if len(known) >= KNOWN:
        known.clear()  # it is only a cache, and so many in use at a time is churn
    known[name] = value
    return value


def _check_name(what: str, value: str, allowed: int) -> None:
    size = len(value.encode("utf-8", "surrogatepass"))
    if not 1 <= size <= allowed:
        raise StoreFault("INVALID_ARGUMENT", f"{what} has {size} bytes, and 1 to {allowed} are allowed")
    bad = _CONTROL.search(value)
    if bad:
        raise StoreFault("INVALID_ARGUMENT", f"{what} has the control character {bad.group()!r} at {bad.start()}")


def _size(data: Data) -> int:
    raw = data["data"] if isinstance(data, Mapping) else data
    return 0 if raw is None else len(raw.encode()) if isinstance(raw, str) else len(raw)


def _check_size(data: Data) -> None:
    size = _size(data)
    if size > RECORD_BYTES:
        raise StoreFault("TOO_LARGE", f"the record has {size} bytes (limit record_bytes = {RECORD_BYTES})")


def _page(limit: int | None, offset: int | None) -> tuple[int, int]:
    limit = LIMIT if limit is None else limit
    offset = 0 if offset is None else offset
    if not 0 <= limit <= MAX_LIMIT:
        raise StoreFault("INVALID_ARGUMENT", f"limit is {limit}, and 0 to {MAX_LIMIT} are allowed")
    if offset < 0:
        raise StoreFault("INVALID_ARGUMENT", f"offset is {offset}, and it may not be negative")
    return limit, offset


def _listed(name: str, page: Page) -> dict[str, Any]:
    return {name: page.items, "totalCount": page.total, "nextOffset": page.next_offset}


def _unknown_schema(name: str) -> str:
    return f"no schema is registered as {name!r}: register it with registerSchema"


def _refuse(
    error: type[DataWriteError] | type[DataReadError],
    fault: StoreFault,
    topic: str | None = None,
    key: str | None = None,
) -> NoReturn:
    shown = {"topic": topic and topic[:TOPIC_BYTES], "primaryKey": key and key[:KEY_BYTES]}
    raise error(code=fault.code, message=fault.message, **shown) from fault
