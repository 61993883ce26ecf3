"""The file behind the store: its tables, its version, and how a connection to it is set up."""

import os
import sqlite3
from pathlib import Path
from typing import Final

from splnode.errors import ConfigError

APPLICATION: Final = 0x53504C44
"""`SPLD` in the file's header (sqlite.org/fileformat.html, "Application ID"): this is a store of ours."""

FILE: Final = "records.sqlite"
"""The file in the data directory; SQLite keeps its WAL beside it, and we the lock."""

BUSY_SECONDS: Final = 10.0

MIGRATIONS: Final = (
    # Ordinals count from 0 within their topic, without gaps; keys.newest is the id of the newest record.
    # `kind`: 0 null, 1 bytes, 2 string, 3 a splnode.Record whose schema name is in `named`.
    """
    CREATE TABLE schemas (name TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, text TEXT NOT NULL) WITHOUT ROWID;
    CREATE INDEX schemas_fingerprint ON schemas (fingerprint);
    CREATE TABLE topics (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, schema TEXT);
    CREATE TABLE keys (
        topic INTEGER NOT NULL, ordinal INTEGER NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL,
        newest INTEGER NOT NULL, PRIMARY KEY (topic, ordinal), UNIQUE (topic, key)
    ) WITHOUT ROWID;
    CREATE TABLE records (
        id INTEGER PRIMARY KEY, topic INTEGER NOT NULL, ordinal INTEGER NOT NULL, key INTEGER NOT NULL,
        version INTEGER NOT NULL, time INTEGER NOT NULL, schema TEXT, kind INTEGER NOT NULL, named TEXT, data BLOB,
        UNIQUE (topic, ordinal), UNIQUE (topic, key, version)
    );
    """,
)
"""What makes version n of version n - 1; the file's `user_version` says how many it has seen."""


def connect(path: Path) -> sqlite3.Connection:
    """A connection in autocommit mode, for one thread at a time."""
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def prepare(path: Path, sync: str, max_bytes: int | None) -> sqlite3.Connection:
    """The writer's connection to a file that is there, ours, and of this version. ConfigError if it cannot be."""
    try:
        # Ours alone; SQLite gives the WAL beside it the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = connect(path)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"data store {path} cannot be opened: {error}") from None
    try:
        _migrate(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = " + {"full": "FULL", "normal": "NORMAL"}[sync])
        connection.execute("PRAGMA journal_size_limit = 67108864")
        if max_bytes is not None:
            page: int = connection.execute("PRAGMA page_size").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {max(1, max_bytes // page)}")
        _sync_directory(path.parent)
    except (OSError, sqlite3.Error) as error:
        connection.close()
        raise ConfigError(f"data store {path} cannot be used: {error}") from None
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    application, version, tables = connection.execute(
        "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version),"
        " (SELECT count(*) FROM sqlite_schema)"
    ).fetchone()
    if application != APPLICATION and tables:
        raise ConfigError(f"data store {path} is an SQLite file of another program: name another path")
    if version > len(MIGRATIONS):
        newer = f"is of version {version}, and this splnode knows versions up to {len(MIGRATIONS)}"
        raise ConfigError(f"data store {path} {newer}: run the newer splnode that wrote it")
    for number in range(version, len(MIGRATIONS)):
        connection.executescript(
            f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION}; {MIGRATIONS[number]}"
            f" PRAGMA user_version = {number + 1}; COMMIT;"
        )


def _sync_directory(directory: Path) -> None:
    """The name of a new file is lost with the power unless its directory is synced too."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
