"""Who comes to a socket that listens, on asyncio's loop and on uvloop."""

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from splnode.net import accepting
from splnode.net.accepting import TURN, Accepting, Entrance


def listening() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.bind(("127.0.0.1", 0))
    sock.listen(4 * TURN)
    return sock


def come(sock: socket.socket, number: int) -> list[socket.socket]:
    return [socket.create_connection(sock.getsockname(), 5) for _ in range(number)]


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.001)  # clock: as long as it takes the system to tell of who has come


async def test_so_many_at_a_time_and_the_others_have_their_turn() -> None:
    there, sizes, taken = listening(), [], list[socket.socket]()
    socks = come(there, TURN + 5)
    made = Accepting(there, lambda: True, lambda sock, _: taken.append(sock))
    while len(taken) < TURN + 5:
        sizes.append(len(taken))
        await asyncio.sleep(0)
    assert TURN in sizes
    made.close()
    made.close()
    for sock in (*socks, *taken):
        sock.close()


async def test_without_room_they_wait_and_nothing_spins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "REST", 0.01)
    there, room, asked, taken = listening(), False, 0, list[socket.socket]()

    def has_room() -> bool:
        nonlocal asked
        asked += 1
        return room

    waits: list[int] = []
    socks = come(there, 3)
    made = Accepting(there, has_room, lambda sock, _: taken.append(sock), lambda: waits.append(1))
    await until(lambda: asked > 3)
    assert not taken
    assert len(waits) == asked
    for _ in range(100):
        await asyncio.sleep(0)
    assert asked < 50
    room = True
    await until(lambda: len(taken) == 3)
    made.close()
    for sock in (*socks, *taken):
        sock.close()


async def test_closed_while_it_rests() -> None:
    there = listening()
    socks = come(there, 1)
    asked: list[int] = []
    made = Accepting(there, lambda: bool(asked.append(1)), lambda sock, _: None)
    await until(lambda: bool(asked))
    made.close()
    assert made._timer is not None
    assert made._timer.cancelled()
    socks[0].close()


async def test_no_descriptors_are_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "REST", 0.01)
    accept, failures = socket.socket.accept, [OSError(errno.EMFILE, "Too many open files"), ConnectionAbortedError()]

    def fails(sock: socket.socket) -> Any:
        if failures:
            raise failures.pop()
        return accept(sock)

    monkeypatch.setattr(socket.socket, "accept", fails)
    there, taken = listening(), list[socket.socket]()
    socks = come(there, 1)
    with capture_logs() as logs:
        made = Accepting(there, lambda: True, lambda sock, _: taken.append(sock))
        await until(lambda: bool(taken))
    assert [each["reason"] for each in logs] == ["Too many open files"]
    made.close()
    for sock in (*socks, *taken):
        sock.close()


async def test_closed_by_who_comes_in() -> None:
    there, taken = listening(), list[socket.socket]()
    socks = come(there, 3)

    def close(sock: socket.socket, _address: object) -> None:
        taken.append(sock)
        made.close()

    made = Accepting(there, lambda: True, close)
    await until(lambda: bool(taken))
    for sock in (*socks, *taken):
        sock.close()
    assert len(taken) == 1


class Saying(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        transport.write(b"hello")
        transport.close()


async def test_who_was_accepted_counts_until_he_is_served() -> None:
    there, asked = listening(), list[int]()
    socks = come(there, 4)

    def room(more: int) -> bool:
        asked.append(more)
        return more < 2

    entrance = Entrance(there, room, Saying)
    loop = asyncio.get_running_loop()
    for sock in socks[:2]:
        sock.setblocking(False)
        assert await asyncio.wait_for(loop.sock_recv(sock, 9), 5) == b"hello"
    assert asked[:3] == [0, 1, 2]
    entrance.close()
    for sock in socks:
        sock.close()


async def test_a_connection_that_cannot_be_served_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    there = listening()
    entrance = Entrance(there, lambda _: True, Saying)
    monkeypatch.setattr(type(asyncio.get_running_loop()), "connect_accepted_socket", fails, raising=False)
    (sock,) = come(there, 1)
    sock.setblocking(False)
    with capture_logs() as logs:
        assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 9), 5) == b""
    assert logs[0]["reason"] == "Invalid argument"
    entrance.close()
    sock.close()
