"""Reading the records of SPLDataService, beside whoever writes them, in this process or another.

SQLite's WAL lets many read while one writes, also across the processes of one host: a read sees every write that was
answered before it began. (sqlite.org/wal.html) Nothing here locks the store against another node: who writes does.
"""

import asyncio
import errno
import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog

from splnode.errors import CallError, Code
from splnode.services import store_format, store_queries
from splnode.services.store_queries import Page, StoreFault

T = TypeVar("T")

log = structlog.get_logger("splnode.services")

READERS: Final = 4
"""Threads that read. SQLite is in C and lets go of the interpreter, so a few are enough for a small machine."""


class StoreReader:
    """The store in the file `path`, which `Store.open` has prepared, here or in another process, and keeps open.

    Its methods belong to one event loop at a time. Whoever made it closes it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._readers = ThreadPoolExecutor(READERS, "splnode-store-read")
        self._turns = asyncio.Semaphore(READERS)
        self._loop: asyncio.AbstractEventLoop | None = None  # the one that `_turns` are of
        self._closing = False
        self._failing: str | None = None

    async def read(
        self, topic: str, key: str | None = None, limit: int = 100, offset: int = 0, history: bool = False
    ) -> Page:
        """A page of records as the protocol's StoredRecord. StoreFault if there is no such topic."""
        return await self._read(lambda connection: store_queries.read(connection, topic, key, (limit, offset), history))

    async def topics(self, limit: int = 100, offset: int = 0) -> Page:
        """A page of topics as the protocol's Topic, by name."""
        return await self._read(lambda connection: store_queries.topics(connection, limit, offset))

    async def topic_schema(self, topic: str) -> str | None:
        """The name of the topic's schema; None if it has none, or is not there."""
        return await self._read(lambda connection: store_queries.topic_schema(connection, topic))

    async def schema(self, name: str) -> dict[str, Any] | None:
        """A registered schema by name or fingerprint, as the protocol's SchemaInfo; None if there is none."""
        return await self._read(lambda connection: store_queries.schema(connection, name))

    async def schemas(self) -> list[str]:
        """The names of the registered schemas, sorted."""
        return await self._read(store_queries.schemas)

    async def close(self) -> None:
        """Refuses new work, waits for what is being read, closes the file. Twice is allowed."""
        if not self._closing:
            self._closing = True
            await asyncio.get_running_loop().run_in_executor(None, self._shut_readers)

    def _shut_readers(self) -> None:
        self._readers.shutdown()
        for connection in self._opened:
            connection.close()

    def _reader(self) -> sqlite3.Connection:
        """This thread's connection. Not made by the pool's initializer: one that fails once ends the pool for ever."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = store_format.connect(self.path)
            connection.execute("PRAGMA query_only = 1")
            self._local.connection = connection
            self._opened.append(connection)
        return connection

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Reads in a thread, which begins the next page when this one is taken: else it would go ahead of the loop,
        and fill the memory with pages, each as large as a message may be.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._turns, self._loop = asyncio.Semaphore(READERS), loop
        async with self._turns:
            self._refuse_closed()
            return await loop.run_in_executor(self._readers, self._query, query)

    def _query(self, query: Callable[[sqlite3.Connection], T]) -> T:
        connection: sqlite3.Connection | None = None
        try:
            connection = self._reader()
            connection.execute("BEGIN")  # the count and the page see the same moment
            return query(connection)
        except sqlite3.Error as error:
            raise self._fault(error) from error
        finally:
            if connection is not None and connection.in_transaction:
                connection.execute("ROLLBACK")

    def _refuse_closed(self) -> None:
        if self._closing:
            raise CallError(Code.UNAVAILABLE, "the data store is closed: this node is stopping", started=False)

    def _fault(self, error: sqlite3.Error) -> StoreFault:
        """For the caller what failed and how; for the log where, once for each change of what fails."""
        # The primary result code is the low byte (sqlite.org/rescode.html).
        number = self._cause(getattr(error, "sqlite_errorcode", 0) & 0xFF)
        code, text = _FAULTS.get(number, ("STORAGE_FAILED", f"the node's data store failed: {error}"))
        if code != self._failing:
            self._failing = code
            log.error("data store failed", path=str(self.path), code=code, error=str(error))
        return StoreFault(code, text)

    def _cause(self, number: int) -> int:
        """SQLite tells only of a write that there was no space: of a sync, or of a disk that has become read-only since
        it was opened, it knows no more than that the system refused."""
        if number not in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
            return number
        try:  # of the lock, as closing another descriptor of SQLite's own files would let go of its locks on them
            os.close(os.open(f"{self.path}.lock", os.O_WRONLY | os.O_CLOEXEC))
            if os.statvfs(self.path.parent).f_bavail == 0:
                return sqlite3.SQLITE_FULL
        except OSError as refused:
            if refused.errno == errno.EROFS:
                return sqlite3.SQLITE_READONLY
        return number


_FAULTS: Final = {
    sqlite3.SQLITE_FULL: ("STORAGE_FULL", "the node's data store is full: free disk space, or raise its limit"),
    sqlite3.SQLITE_READONLY: (
        "READ_ONLY",
        "the node's data store cannot be written: make its disk and directory writable",
    ),
}
