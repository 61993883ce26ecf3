"""What the store asks of SQLite. Each function runs inside a transaction that its caller opened.

A function that refuses (StoreFault, OtherSchema) does so before its first change, so that the others in the
same transaction can go on.
"""

import sqlite3
import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from splnode.errors import SplnodeError

PAGE_BYTES: Final = 2 * 1024 * 1024
"""A page of records ends before it grows past this: half of the largest message."""

Data = None | bytes | str | Mapping[str, Any]
"""What a record holds; the Mapping is a splnode.Record, `{"schema": name, "data": bytes}`."""

Row = tuple[int, str | None, bytes | None]
"""Data as it stands in the file: kind, name of the Record's schema, bytes."""

NULL, BYTES, STRING, RECORD = range(4)


class StoreFault(SplnodeError):
    """The store refused or could not. `code` is a symbol of the protocol's DataFault."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class OtherSchema(SplnodeError):
    """A write was checked against another schema than its topic has by now; `name` is the topic's."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Page(msgspec.Struct, frozen=True):
    """One page of a listing; `next_offset` is None on the last."""

    items: list[dict[str, Any]]
    total: int
    next_offset: int | None


def split(data: Data) -> Row:
    """Data as a row has it."""
    if data is None:
        return NULL, None, None
    if isinstance(data, str):
        return STRING, None, data.encode()
    if isinstance(data, bytes):
        return BYTES, None, data
    return RECORD, data["schema"], data["data"]


def _join(kind: int, named: str | None, raw: bytes | None) -> Data:
    if kind == NULL or raw is None:
        return None
    if kind == STRING:
        return raw.decode()
    return raw if kind == BYTES else {"schema": named, "data": raw}


def write(connection: sqlite3.Connection, topic: str, key: str, schema: str | None, data: Row) -> dict[str, Any]:
    """The next version of a key; see `Store.write`."""
    execute = connection.execute
    place: int
    found = execute("SELECT id, schema FROM topics WHERE name = ?", (topic,)).fetchone()
    if found is None:
        query = "INSERT INTO topics (name, schema) VALUES (?, ?) RETURNING id"
        (place,) = execute(query, (topic, schema)).fetchone()
    else:
        place, has = found
        if has is not None and has != schema:
            raise OtherSchema(has)
        if has is None and schema is not None:
            execute("UPDATE topics SET schema = ? WHERE id = ?", (schema, place))
    known = _key(connection, place, key)
    number, version = known if known else (_next(connection, "keys", place), 0)
    version += 1
    now = time.time_ns() // 1_000_000
    record = execute(
        "INSERT INTO records (topic, ordinal, key, version, time, schema, kind, named, data)"
        " VALUES (?,?,?,?,?,?,?,?,?)",
        (place, _next(connection, "records", place), number, version, now, schema, *data),
    ).lastrowid
    execute(
        "INSERT INTO keys (topic, ordinal, key, version, newest) VALUES (?,?,?,?,?)"
        " ON CONFLICT (topic, key) DO UPDATE SET version = excluded.version, newest = excluded.newest",
        (place, number, key, version, record),
    )
    return {"version": version, "timestamp": now}


def _key(connection: sqlite3.Connection, topic: int, key: str) -> tuple[int, int] | None:
    query = "SELECT ordinal, version FROM keys WHERE topic = ? AND key = ?"
    found: tuple[int, int] | None = connection.execute(query, (topic, key)).fetchone()
    return found


def _next(connection: sqlite3.Connection, table: str, topic: int) -> int:
    found = connection.execute(f"SELECT max(ordinal) FROM {table} WHERE topic = ?", (topic,)).fetchone()[0]
    return 0 if found is None else found + 1


def register(connection: sqlite3.Connection, name: str, fingerprint: str, text: str) -> dict[str, Any]:
    """See `Store.register`."""
    found = connection.execute("SELECT name, fingerprint, text FROM schemas WHERE name = ?", (name,)).fetchone()
    if found is None:
        connection.execute("INSERT INTO schemas (name, fingerprint, text) VALUES (?, ?, ?)", (name, fingerprint, text))
        found = (name, fingerprint, text)
    elif found[1] != fingerprint:
        has = f"the name {name!r} has another schema already, fingerprint {found[1]} and not {fingerprint}"
        raise StoreFault("SCHEMA_CONFLICT", f"{has}: register this one under a new name")
    return dict(zip(("name", "fingerprint", "text"), found, strict=True))


_NEWEST: Final = (
    "SELECT k.key, r.version, r.time, r.schema, r.kind, r.named, r.data FROM keys k JOIN records r ON r.id = k.newest"
    " WHERE k.topic = :topic AND k.ordinal >= :offset ORDER BY k.ordinal LIMIT :limit"
)
_ALL: Final = (
    "SELECT k.key, r.version, r.time, r.schema, r.kind, r.named, r.data"
    " FROM records r JOIN keys k ON k.topic = r.topic AND k.ordinal = r.key"
    " WHERE r.topic = :topic AND r.ordinal >= :offset ORDER BY r.ordinal LIMIT :limit"
)
_VERSIONS: Final = (
    "SELECT :name, r.version, r.time, r.schema, r.kind, r.named, r.data FROM records r"
    " WHERE r.topic = :topic AND r.key = :key AND r.version > :offset ORDER BY r.version LIMIT :limit"
)


def read(connection: sqlite3.Connection, topic: str, key: str | None, page: tuple[int, int], history: bool) -> Page:
    """See `Store.read`."""
    limit, offset = page
    found = connection.execute("SELECT id FROM topics WHERE name = ?", (topic,)).fetchone()
    if found is None:
        raise StoreFault("TOPIC_NOT_FOUND", f"there is no topic {topic!r}: nothing was ever written to it")
    values: dict[str, Any] = {"topic": found[0], "limit": limit, "offset": offset}
    if key is None:
        total = _next(connection, "records" if history else "keys", found[0])
        return _page(connection, _ALL if history else _NEWEST, values, total)
    row = _key(connection, found[0], key)
    if row is None:
        return Page([], 0, None)
    number, version = row
    if history:
        return _page(connection, _VERSIONS, {**values, "name": key, "key": number}, version)
    newest = {**values, "name": key, "key": number, "offset": version - 1}
    return _page(connection, _VERSIONS, newest, 1, offset)


def _page(
    connection: sqlite3.Connection, query: str, values: dict[str, Any], total: int, past: int | None = None
) -> Page:
    """Runs a query of records. `past` is the caller's offset where the query's own is not it."""
    offset: int = values["offset"] if past is None else past
    records: list[dict[str, Any]] = []
    size = 0
    if offset < total:
        for key, version, moment, schema, kind, named, raw in connection.execute(query, values):
            size += len(raw or b"") + 4 * len(key) + 64
            if records and size > PAGE_BYTES:
                break
            data = _join(kind, named, raw)
            records.append({"primaryKey": key, "version": version, "timestamp": moment, "schema": schema, "data": data})
    return Page(records, total, _following(offset, len(records), total))


def topics(connection: sqlite3.Connection, limit: int, offset: int) -> Page:
    """See `Store.topics`."""
    total: int = connection.execute("SELECT count(*) FROM topics").fetchone()[0]
    rows = connection.execute(
        "SELECT name, schema, (SELECT coalesce(max(ordinal), -1) + 1 FROM keys WHERE topic = t.id),"
        " (SELECT coalesce(max(ordinal), -1) + 1 FROM records WHERE topic = t.id)"
        " FROM topics t ORDER BY name LIMIT ? OFFSET ?",
        (limit, offset),
    )
    names = ("name", "schema", "keyCount", "recordCount")
    items = [dict(zip(names, row, strict=True)) for row in rows]
    return Page(items, total, _following(offset, len(items), total))


def _following(offset: int, count: int, total: int) -> int | None:
    return offset + count if offset + count < total else None


def topic_schema(connection: sqlite3.Connection, topic: str) -> str | None:
    """See `Store.topic_schema`."""
    row = connection.execute("SELECT schema FROM topics WHERE name = ?", (topic,)).fetchone()
    return row[0] if row else None


def schema(connection: sqlite3.Connection, name: str) -> dict[str, Any] | None:
    """See `Store.schema`."""
    row = connection.execute(
        "SELECT name, fingerprint, text FROM schemas WHERE name = :name OR fingerprint = lower(:name)"
        " ORDER BY name != :name LIMIT 1",
        {"name": name},
    ).fetchone()
    return dict(zip(("name", "fingerprint", "text"), row, strict=True)) if row else None


def schemas(connection: sqlite3.Connection) -> list[str]:
    """The names of the registered schemas, sorted."""
    return [row[0] for row in connection.execute("SELECT name FROM schemas ORDER BY name")]
