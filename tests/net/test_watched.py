"""What its host does with a connection, on a transport that only notes it."""

import asyncio

import pytest
import structlog

from splnode.endpoint import Endpoint
from splnode.limits import DEFAULT_LIMITS
from splnode.net.host import SLOWEST, Host
from splnode.net.watched import WatchedConnection
from splnode.rpc.router import Router
from splnode.wire.directory import Directory


class Noting(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.waiting = 0

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def pause_reading(self) -> None:
        self.said.append("pause")

    def resume_reading(self) -> None:
        self.said.append("resume")

    def close(self) -> None:
        self.said.append("close")

    def abort(self) -> None:
        self.said.append("abort")


class Watched(WatchedConnection):
    given = 10_000_000

    def _written(self) -> int:
        return self.given

    def _read_on(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def _unsent(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0


@pytest.fixture
async def watched() -> tuple[Watched, Noting]:
    transport = Noting()
    connection = Watched(Host(Router(), Directory(), DEFAULT_LIMITS), Endpoint("tcp", "x", 1))
    connection.connection_made(transport)
    return connection, transport


async def test_who_owes_something_and_does_not_pay_is_dropped(watched: tuple[Watched, Noting]) -> None:
    connection, transport = watched
    with structlog.testing.capture_logs() as logs:
        connection.out_of_patience()
    assert transport.said == ["abort"]
    assert logs[0]["reason"] == f"{Watched.OWED} (limit handshake_seconds = 5)"


async def test_who_is_kept_waiting_by_this_end_is_not(watched: tuple[Watched, Noting]) -> None:
    connection, transport = watched
    connection._next = asyncio.get_running_loop().call_soon(id, connection)  # what it has sent is taken in turns
    connection.out_of_patience()
    assert transport.said == []
    assert connection in connection._host.patience._deadlines
    connection._next = None
    connection.out_of_patience()
    assert transport.said == ["abort"]


@pytest.mark.parametrize("closing", [False, True])
@pytest.mark.parametrize(("read", "stays"), [(SLOWEST, True), (SLOWEST - 1, False)])
async def test_who_reads_enough_may_go_on(
    watched: tuple[Watched, Noting], closing: bool, read: int, stays: bool
) -> None:
    connection, transport = watched
    transport.waiting = 5_000_000
    if closing:
        connection.close()
    else:
        connection.pause_writing()
        assert connection in connection._host.unsent
    for _ in range(3):
        transport.waiting -= read
        connection.out_of_patience()
        assert ("abort" not in transport.said) is stays
        assert connection in connection._host.patience._deadlines


async def test_closed_once_and_gone(watched: tuple[Watched, Noting]) -> None:
    connection, transport = watched
    connection.close()
    connection.close()
    assert transport.said == ["close"]
    assert connection in connection._host.connections
    connection.connection_lost(None)
    assert connection not in connection._host.connections
    assert connection not in connection._host.patience._deadlines
    connection.abort()
    connection.out_of_patience()
    assert transport.said == ["close"]


async def test_who_waits_for_room_is_not_read_and_is_not_late(watched: tuple[Watched, Noting]) -> None:
    connection, transport = watched
    connection.wait_for_room(True)
    connection.out_of_patience()
    assert transport.said == ["pause"]
    connection.wait_for_room(False)
    connection.out_of_patience()
    assert transport.said == ["pause", "resume", "abort"]
    assert connection._host.reached.counts["held_bytes"] == 1


async def test_who_holds_too_much_goes(watched: tuple[Watched, Noting]) -> None:
    connection, transport = watched
    with structlog.testing.capture_logs() as logs:
        connection.too_much("answers nobody reads")
    assert transport.said == ["abort"]
    assert "held_bytes" in logs[0]["reason"]
