"""The records of SPLDataService in one SQLite file.

- Nothing is changed once it is written: a write adds the next version of its key.
- One thread writes. It takes all that waits, commits it as one transaction and only then answers, so that
  an answered write survives `kill -9`, and with `sync="full"` a power loss, and many callers share one sync.
- Readers have connections of their own and never wait for the writer (WAL): see `store_reader`.
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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import structlog

from splnode.errors import CallError, Code, ConfigError
from splnode.services import store_format, store_queries
from splnode.services.store_queries import Data, OtherSchema, StoreFault
from splnode.services.store_reader import StoreReader

T = TypeVar("T")

log = structlog.get_logger("splnode.services")

BATCH: Final = 1000
"""Writes in one transaction at most: what one failing sync can take down with it."""
WAITING: Final = 10_000
"""Writes that may wait for the writer before the next one is refused."""


class _Job:
    __slots__ = ("apply", "error", "future", "loop", "result")

    def __init__(self, apply: Callable[[sqlite3.Connection], Any]) -> None:
        self.apply = apply
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.result: Any = None
        self.error: Exception | None = None


class Store(StoreReader):
    """An open store. Made by `Store.open`; its methods belong to one event loop at a time."""

    def __init__(self, path: Path, lock: int, sync: str, max_bytes: int | None) -> None:
        super().__init__(path)
        self._lock = lock
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._connection = store_format.prepare(path, sync, max_bytes)
        self._writer = threading.Thread(target=self._write_all, name="splnode-store-write", daemon=True)
        self._writer.start()

    @classmethod
    def open(
        cls,
        directory: str | os.PathLike[str],
        sync: Literal["full", "normal"] = "full",
        *,
        max_bytes: int | None = None,
    ) -> "Store":
        """Opens the store in `directory`, which is made if it is not there; the file is `store_format.FILE` in it.

        `sync`: "full" keeps an answered write through a power loss, "normal" through the death of this
        process alone. `max_bytes` bounds the file. Blocks shortly. ConfigError if the file is in use by
        another node, is no store of ours, or one of a newer splnode.
        """
        file = Path(directory).expanduser().absolute() / store_format.FILE
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
        row = store_queries.split(data)
        return await self._submit(lambda connection: store_queries.write(connection, topic, key, schema, row))

    async def register(self, name: str, fingerprint: str, text: str) -> dict[str, Any]:
        """Keeps a schema under `name`. StoreFault if the name has another fingerprint already."""
        return await self._submit(lambda connection: store_queries.register(connection, name, fingerprint, text))

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
        self._shut_readers()
        with contextlib.suppress(sqlite3.Error):  # only tidies up: all is in the WAL already
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()
        os.close(self._lock)

    async def _submit(self, apply: Callable[[sqlite3.Connection], T]) -> T:
        self._refuse_closed()
        if self._queue.qsize() >= WAITING:
            text = f"{WAITING} writes wait for the data store already"
            raise CallError(Code.RESOURCE_EXHAUSTED, text, retry_after=1.0, started=False)
        job = _Job(apply)
        self._queue.put(job)
        result: T = await job.future
        return result

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
            if self._failing is not None:
                self._failing = None
                log.info("data store can be written again", path=str(self.path))
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
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    except OSError:
        os.close(lock)
        raise
    return lock
