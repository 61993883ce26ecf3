import sqlite3
import stat
from pathlib import Path

import pytest

from splnode.errors import ConfigError
from splnode.services.store import Store
from splnode.services.store_format import APPLICATION, FILE, MIGRATIONS, prepare


def test_a_new_file_is_ours_alone_and_of_the_present_version(tmp_path: Path) -> None:
    path = tmp_path / FILE
    connection = prepare(path, "full", None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    connection.close()


def test_the_file_of_a_newer_splnode_is_refused(tmp_path: Path) -> None:
    path = tmp_path / FILE
    connection = prepare(path, "full", None)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigError, match=r"version 99.*run the newer splnode"):
        Store.open(tmp_path)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (99,)
    connection.close()


def test_the_file_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / FILE
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.commit()
    connection.close()
    with pytest.raises(ConfigError, match="of another program"):
        Store.open(tmp_path)


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_text("not a database, and long enough to be looked at" * 50)
    with pytest.raises(ConfigError, match="cannot be used: file is not a database"):
        Store.open(tmp_path)
    (tmp_path / "as" / FILE).mkdir(parents=True)
    with pytest.raises(ConfigError, match="Is a directory"):
        Store.open(tmp_path / "as")
    with pytest.raises(ConfigError, match="Not a directory"):
        Store.open(path / "below")


def test_a_refused_file_can_be_opened_once_it_is_right(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_text("junk" * 100)
    for _ in range(2):
        with pytest.raises(ConfigError, match="not a database"):
            Store.open(tmp_path)
