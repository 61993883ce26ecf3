import socket
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from splnode.endpoint import Endpoint
from splnode.errors import ConfigError
from splnode.net.bind import Address, bind_tcp, share_tcp
from splnode.net.shared import SharedTcp, SharedUnix

ANYWHERE = Endpoint("tcp", "127.0.0.1", 0)


def loopback(port: int) -> list[Address]:
    return [(socket.AF_INET, ("127.0.0.1", port))]


LOOPBACK = loopback(0)


@pytest.fixture
def shared() -> Iterator[SharedTcp]:
    made = SharedTcp(ANYWHERE, LOOPBACK)
    yield made
    made.close()


def accepted(sockets: list[socket.socket]) -> int:
    count = 0
    for sock in sockets:
        sock.setblocking(False)
        try:
            while True:
                sock.accept()[0].close()
                count += 1
        except BlockingIOError:
            pass
    return count


def connect(endpoint: Endpoint, count: int) -> None:
    for _ in range(count):
        socket.create_connection((endpoint.host, endpoint.port), 5).close()


def test_connections_are_spread(shared: SharedTcp) -> None:
    assert shared.endpoint.port
    processes = [shared.take() for _ in range(3)]
    connect(shared.endpoint, 120)
    got = Counter({number: accepted(sockets) for number, sockets in enumerate(processes)})
    assert sum(got.values()) == 120
    assert min(got.values()) > 10  # each is a coin with three sides


def test_what_is_given_back_goes_to_the_others(shared: SharedTcp) -> None:
    first, second = shared.take(), shared.take()
    shared.give_back(first)
    connect(shared.endpoint, 20)
    assert accepted(second) == 20


def test_the_last_one_holds_the_port(shared: SharedTcp) -> None:
    sockets = shared.take()
    shared.give_back(sockets)
    connect(shared.endpoint, 3)
    assert accepted(shared.take()) == 3


def test_a_port_where_anybody_listens_is_an_error(shared: SharedTcp) -> None:
    with pytest.raises(ConfigError, match="the port is taken"):
        SharedTcp(shared.endpoint, loopback(shared.endpoint.port))
    with pytest.raises(ConfigError, match="the port is taken"):
        bind_tcp(shared.endpoint, LOOPBACK)
    alone = bind_tcp(ANYWHERE, LOOPBACK)
    taken = Endpoint("tcp", "127.0.0.1", alone[0].getsockname()[1])
    with pytest.raises(ConfigError, match="the port is taken"):
        SharedTcp(taken, LOOPBACK)
    with pytest.raises(ConfigError, match="the port is taken"):
        share_tcp(taken, loopback(taken.port))
    alone[0].close()


def test_the_port_is_free_once_it_is_closed(shared: SharedTcp) -> None:
    shared.take()
    shared.take()
    shared.close()
    for sock in bind_tcp(shared.endpoint, LOOPBACK):
        sock.close()


def test_a_unix_socket_removes_its_own_file(tmp_path: Path) -> None:
    path = tmp_path / "s"
    endpoint = Endpoint("unix", path=str(path))
    shared = SharedUnix(endpoint)
    assert stat.S_ISSOCK(path.stat().st_mode)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        shared.socket.accept()[0].close()
    with pytest.raises(ConfigError, match="listens there already"):
        SharedUnix(endpoint)
    shared.close()
    assert not path.exists()
    path.write_text("another's")
    shared.close()
    assert path.exists()
