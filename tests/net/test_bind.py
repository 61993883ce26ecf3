import fcntl
import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from splnode.endpoint import Endpoint
from splnode.errors import ConfigError
from splnode.net.bind import bind_unix, file_identity, unlink_own


def at(path: Path) -> Endpoint:
    return Endpoint("unix", path=str(path))


def test_for_user_and_group_alone_in_a_directory_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "run" / "s"
    with bind_unix(at(path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_umask_is_as_it_was(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        bind_unix(at(tmp_path / "s")).close()
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


def test_a_path_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="longer than the 107 bytes"):
        bind_unix(at(tmp_path / ("x" * 110)))


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="unix://"):
        bind_unix(at(tmp_path / "file" / "s"))


def test_only_ones_own_file_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with bind_unix(at(path)):
        own = file_identity(str(path))
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            unlink_own(str(path), own)
            assert path.exists()
            unlink_own(str(path), file_identity(str(path)))
            assert not path.exists()
    unlink_own(str(path), own)


def test_it_listens_at_once_and_is_no_stale_file(tmp_path: Path) -> None:
    with bind_unix(at(tmp_path / "s")), pytest.raises(ConfigError, match="listens there already"):
        bind_unix(at(tmp_path / "s"))


def test_of_many_that_start_together_one_wins(tmp_path: Path) -> None:
    together = threading.Barrier(8)
    won: list[socket.socket] = []
    lost: list[str] = []

    def start() -> None:
        together.wait(5)
        try:
            won.append(bind_unix(at(tmp_path / "s")))
        except ConfigError as error:
            lost.append(str(error))

    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(won) == 1
    assert len(lost) == 7
    assert all("a node listens there already" in text for text in lost)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))
        won[0].accept()[0].close()
    won[0].close()


def test_a_lock_that_is_never_given_back_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splnode.net.bind.LOCK_SECONDS", 0.05)
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    bind_unix(at(tmp_path / "s")).close()
    os.close(other)
