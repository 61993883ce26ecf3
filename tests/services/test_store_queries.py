import sqlite3
from pathlib import Path

import pytest

from splnode.services import store_queries
from splnode.services.store_format import prepare


@pytest.fixture
def connection(tmp_path: Path) -> sqlite3.Connection:
    return prepare(tmp_path / "store.sqlite", "normal", None)


@pytest.mark.parametrize("query", [store_queries._NEWEST, store_queries._ALL, store_queries._VERSIONS])
def test_no_page_reads_a_whole_table(connection: sqlite3.Connection, query: str) -> None:
    values = {"topic": 1, "offset": 0, "limit": 1, "name": "k", "key": 0}
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", values)]
    assert all(step.startswith("SEARCH") for step in plan), plan
    connection.close()
