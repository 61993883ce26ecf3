"""The records of SPLDataService in one SQLite file.

- Nothing is changed once it is written: a write adds the next version of its key.
- One thread writes. It takes all that waits, commits it as one transaction and only then answers, so that
  an answered write survives `kill -9`, and with `sync="full"` a power loss, and many callers share one sync.
- Readers have connections of their own and never wait for the writer (WAL).
- Records and keys are numbered without gaps within their topic, so that a page is found by its number.

Whoever opens a store closes it.
"""

import asyncio
import contextlib
import fcntl
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import msgspec

from splnode.errors import CallError, Code, ConfigError, SplnodeError
from splnode.services import store_format

T = TypeVar("T")

READERS: Final = 4
"""Threads that read. SQLite is in C and lets go of the interpreter, so a few are enough for a small machine."""
BATCH: Final = 1000
"""Writes in one transaction at most: what one failing sync can take down with it."""
WAITING: Final = 10_000
"""Writes that may wait for the writer before the next one is refused."""
PAGE_BYTES: Final = 2 * 1024 * 1024
"""A page of records ends before it grows past this: half of the largest message."""

Data = None | bytes | str | Mapping[str, Any]
"""What a record holds; the Mapping is a splnode.Record, `{"schema": name, "data": bytes}`."""

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


class _Job:
    __slots__ = ("apply", "error", "future", "loop", "result")

    def __init__(self, apply: Callable[[sqlite3.Connection], Any]) -> None:
        self.apply = apply
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.result: Any = None
        self.error: Exception | None = None


class Store:
    """An open store. Made by `Store.open`; its methods belong to one event loop at a time."""

    def __init__(self, path: Path, lock: int, sync: str, max_bytes: int | None) -> None:
        self.path = path
        self._lock = lock
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._connection = store_format.prepare(path, sync, max_bytes)
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._readers = ThreadPoolExecutor(READERS, "splnode-store-read", self._open_reader)
        self._writer = threading.Thread(target=self._write_all, name="splnode-store-write", daemon=True)
        self._closing = False
        self._writer.start()

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], sync: Literal["full", "normal"] = "full", *, max_bytes: int | None = None
    ) -> "Store":
        """Opens the store at `path`, a file, which is made if it is not there, as is its directory.

        `sync`: "full" keeps an answered write through a power loss, "normal" through the death of this
        process alone. `max_bytes` bounds the file. Blocks shortly. ConfigError if the file is in use by
        another node, is no store of ours, or one of a newer splnode.
        """
        file = Path(path).expanduser().absolute()
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = _lock(file)
        except OSError as error:
            raise ConfigError(f"data store {file}: {error.strerror}: {error.filename}") from None
        try:
            return cls(file, lock, sync, max_bytes)
        except BaseException:
            os.close(lock)
            raise

    async def write(self, topic: str, key: str, data: Data, schema: str | None) -> dict[str, Any]:
        """Adds a record and returns when it is on disk: `{"version", "timestamp"}`.

        `schema` is the name of the registered schema that `data` was checked against. OtherSchema if the
        topic has another one. Cancelling gives up the answer, not the write.
        """
        kind, named, raw = _split(data)
        return await self._submit(lambda connection: _write(connection, topic, key, schema, (kind, named, raw)))

    async def register(self, name: str, fingerprint: str, text: str) -> dict[str, Any]:
        """Keeps a schema under `name`. StoreFault if the name has another fingerprint already."""
        return await self._submit(lambda connection: _register(connection, name, fingerprint, text))

    async def read(
        self, topic: str, key: str | None = None, limit: int = 100, offset: int = 0, history: bool = False
    ) -> Page:
        """A page of records as the protocol's StoredRecord. StoreFault if there is no such topic."""
        return await self._read(lambda connection: _read(connection, topic, key, (limit, offset), history))

    async def topics(self, limit: int = 100, offset: int = 0) -> Page:
        """A page of topics as the protocol's Topic, by name."""
        return await self._read(lambda connection: _topics(connection, limit, offset))

    async def topic_schema(self, topic: str) -> str | None:
        """The name of the topic's schema; None if it has none, or is not there."""
        return await self._read(lambda connection: _topic_schema(connection, topic))

    async def schema(self, name: str) -> dict[str, Any] | None:
        """A registered schema by name or fingerprint, as the protocol's SchemaInfo; None if there is none."""
        return await self._read(lambda connection: _schema(connection, name))

    async def schemas(self) -> list[str]:
        """The names of the registered schemas, sorted."""
        return await self._read(lambda connection: _column(connection, "SELECT name FROM schemas ORDER BY name"))

    async def close(self) -> None:
        """Refuses new work, commits what waits, closes the file and lets go of it. Twice is allowed."""
        if self._closing:
            return
        self._closing = True
        self._queue.put(None)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._shut)

    def _shut(self) -> None:
        self._writer.join()
        self._readers.shutdown()
        for connection in self._opened:
            connection.close()
        with contextlib.suppress(sqlite3.Error):  # only tidies up: all is in the WAL already
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()
        os.close(self._lock)

    # -- reading

    def _open_reader(self) -> None:
        connection = store_format.connect(self.path)
        connection.execute("PRAGMA query_only = 1")
        self._local.connection = connection
        self._opened.append(connection)

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        self._refuse_closed()
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._query, query)

    def _query(self, query: Callable[[sqlite3.Connection], T]) -> T:
        connection: sqlite3.Connection = self._local.connection
        try:
            connection.execute("BEGIN")  # the count and the page see the same moment
            return query(connection)
        except sqlite3.Error as error:
            raise self._fault(error) from error
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    # -- writing

    async def _submit(self, apply: Callable[[sqlite3.Connection], T]) -> T:
        self._refuse_closed()
        if self._queue.qsize() >= WAITING:
            text = f"{WAITING} writes wait for the data store already"
            raise CallError(Code.RESOURCE_EXHAUSTED, text, retry_after=1.0, started=False)
        job = _Job(apply)
        self._queue.put(job)
        result: T = await job.future
        return result

    def _refuse_closed(self) -> None:
        if self._closing:
            raise CallError(Code.UNAVAILABLE, "the data store is closed: this node is stopping", started=False)

    def _write_all(self) -> None:
        going = True
        while going:
            jobs = self._take()
            going = None not in jobs
            work = [job for job in jobs if job is not None and not job.future.cancelled()]
            if work:
                self._commit(work)
                _deliver(work)

    def _take(self) -> list[_Job | None]:
        jobs = [self._queue.get()]
        with contextlib.suppress(queue.Empty):
            while jobs[-1] is not None and len(jobs) < BATCH:
                jobs.append(self._queue.get_nowait())
        return jobs

    def _commit(self, jobs: Sequence[_Job]) -> None:
        """One transaction for all; if that fails each is tried alone, so that one cannot spoil the others."""
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for job in jobs:
                _apply(job, connection)
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - the thread must live; the callers get what happened
            self._roll_back()
            if len(jobs) > 1:
                for job in jobs:
                    self._commit([job])
            else:
                jobs[0].error = self._fault(error) if isinstance(error, sqlite3.Error) else error

    def _roll_back(self) -> None:
        if self._connection.in_transaction:  # some errors have ended it already
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def _fault(self, error: sqlite3.Error) -> StoreFault:
        # The primary result code is the low byte (sqlite.org/rescode.html).
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return StoreFault("STORAGE_FULL", f"the data store {self.path} is full: free disk space or raise its limit")
        if code == sqlite3.SQLITE_READONLY:
            return StoreFault("READ_ONLY", f"the data store {self.path} cannot be written: make its directory writable")
        return StoreFault("STORAGE_FAILED", f"the data store {self.path} failed: {error}")


def _apply(job: _Job, connection: sqlite3.Connection) -> None:
    job.error = None
    try:
        job.result = job.apply(connection)
    except (StoreFault, OtherSchema) as error:  # refused before it changed anything: the others go on
        job.error = error


def _deliver(jobs: Sequence[_Job]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in jobs:
        by_loop.setdefault(job.loop, []).append(job)
    for loop, mine in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, mine)


def _settle(jobs: Sequence[_Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)


def _lock(path: Path) -> int:
    """An open file that holds the lock on the store; closing it lets go, as does the death of the process."""
    name = f"{path}.lock"
    lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
        os.close(lock)
        who = f"process {owner}" if owner else "another process"
        text = f"data store {path} is in use by {who}: stop that node, or give this one another data directory"
        raise ConfigError(text) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


# -- the statements


def _split(data: Data) -> tuple[int, str | None, bytes | None]:
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


def _write(
    connection: sqlite3.Connection, topic: str, key: str, schema: str | None, data: tuple[int, str | None, bytes | None]
) -> dict[str, Any]:
    execute = connection.execute
    found = execute("SELECT id, schema FROM topics WHERE name = ?", (topic,)).fetchone()
    if found is None:
        place = execute("INSERT INTO topics (name, schema) VALUES (?, ?)", (topic, schema)).lastrowid
    else:
        place, has = found
        if has is not None and has != schema:
            raise OtherSchema(has)
        if has is None and schema is not None:
            execute("UPDATE topics SET schema = ? WHERE id = ?", (schema, place))
    known = execute("SELECT ordinal, version FROM keys WHERE topic = ? AND key = ?", (place, key)).fetchone()
    number, version = known if known else (_next(connection, "keys", place), 0)
    version += 1
    now = time.time_ns() // 1_000_000
    record = execute(
        "INSERT INTO records (topic, ordinal, key, version, time, schema, kind, named, data) VALUES (?,?,?,?,?,?,?,?,?)",
        (place, _next(connection, "records", place), number, version, now, schema, *data),
    ).lastrowid
    execute(
        "INSERT INTO keys (topic, ordinal, key, version, newest) VALUES (?,?,?,?,?)"
        " ON CONFLICT (topic, key) DO UPDATE SET version = excluded.version, newest = excluded.newest",
        (place, number, key, version, record),
    )
    return {"version": version, "timestamp": now}


def _next(connection: sqlite3.Connection, table: str, topic: int) -> int:
    found = connection.execute(f"SELECT max(ordinal) FROM {table} WHERE topic = ?", (topic,)).fetchone()[0]
    return 0 if found is None else found + 1


def _register(connection: sqlite3.Connection, name: str, fingerprint: str, text: str) -> dict[str, Any]:
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


def _read(
    connection: sqlite3.Connection, topic: str, key: str | None, page: tuple[int, int], history: bool
) -> Page:
    limit, offset = page
    found = connection.execute("SELECT id FROM topics WHERE name = ?", (topic,)).fetchone()
    if found is None:
        raise StoreFault("TOPIC_NOT_FOUND", f"there is no topic {topic!r}: nothing was ever written to it")
    values: dict[str, Any] = {"topic": found[0], "limit": limit, "offset": offset}
    if key is None:
        total = _next(connection, "records" if history else "keys", found[0])
        return _page(connection, _ALL if history else _NEWEST, values, total)
    row = connection.execute("SELECT ordinal, version FROM keys WHERE topic = ? AND key = ?", (found[0], key)).fetchone()
    if row is None:
        return Page([], 0, None)
    number, version = row
    if history:
        return _page(connection, _VERSIONS, {**values, "name": key, "key": number}, version)
    newest = {**values, "name": key, "key": number, "offset": version - 1}
    return _page(connection, _VERSIONS, newest, 1, offset)


def _page(connection: sqlite3.Connection, query: str, values: dict[str, Any], total: int, past: int | None = None) -> Page:
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


def _topics(connection: sqlite3.Connection, limit: int, offset: int) -> Page:
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


def _topic_schema(connection: sqlite3.Connection, topic: str) -> str | None:
    row = connection.execute("SELECT schema FROM topics WHERE name = ?", (topic,)).fetchone()
    return row[0] if row else None


def _schema(connection: sqlite3.Connection, name: str) -> dict[str, Any] | None:
    row = connection.execute(
        "SELECT name, fingerprint, text FROM schemas WHERE name = :name OR fingerprint = lower(:name)"
        " ORDER BY name != :name LIMIT 1",
        {"name": name},
    ).fetchone()
    return dict(zip(("name", "fingerprint", "text"), row, strict=True)) if row else None


def _column(connection: sqlite3.Connection, query: str) -> list[str]:
    return [row[0] for row in connection.execute(query)]
