import fcntl
import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from splnode.endpoint import Endpoint
from splnode.errors import ConfigError
from splnode.net import bind
from splnode.net.bind import bind_tcp, bind_unix, file_identity, unlink_own
from tests.require import require


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
        together.wait(20)
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


LOCAL = Endpoint("tcp", "localhost", 0)
FOUR, SIX = (socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_INET6, ("::1", 0, 0, 0))


def count(folder: str) -> int:
    return len(list(Path(folder).iterdir()))


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def ports(sockets: list[socket.socket]) -> list[int]:
    found = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return found


def test_one_port_on_all_addresses() -> None:
    require(has_ipv6(), "ipv6", "a loopback interface that has ::1")
    sockets = bind_tcp(LOCAL, [SIX, FOUR, FOUR])
    assert [sock.family for sock in sockets] == [socket.AF_INET6, socket.AF_INET]
    first, second = ports(sockets)
    assert first == second > 0


def test_another_port_is_tried_where_the_first_is_not_free_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    two = (socket.AF_INET, ("127.0.0.2", 0))
    taken: list[socket.socket] = []
    original = bind._bind_one

    def spoiling(family: int, address: tuple[object, ...]) -> socket.socket:
        if address[0] == "127.0.0.2" and not taken:
            taken.append(original(family, address))
        return original(family, address)

    monkeypatch.setattr(bind, "_bind_one", spoiling)
    first, second = ports(bind_tcp(LOCAL, [FOUR, two]))
    assert first == second != taken[0].getsockname()[1]
    taken[0].close()


def test_a_port_that_is_asked_for_is_free_on_all_or_an_error_and_nothing_stays_open() -> None:
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]
        before = count("/proc/self/fd")
        with pytest.raises(ConfigError, match=f"tcp://localhost:{port}: the port is taken"):
            bind_tcp(Endpoint("tcp", "localhost", port), [FOUR, (socket.AF_INET, ("127.0.0.2", 0))])
        assert count("/proc/self/fd") == before


def test_an_address_that_is_not_here_does_not_matter_beside_one_that_is() -> None:
    absent = (socket.AF_INET, ("192.0.2.1", 0))
    assert len(ports(bind_tcp(LOCAL, [absent, FOUR]))) == 1
    with pytest.raises(ConfigError, match="cannot listen"):
        bind_tcp(LOCAL, [absent])


def test_what_cannot_be_looked_at_is_not_ones_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    unlink_own(str(tmp_path / "file" / "s"), (1, 2))
