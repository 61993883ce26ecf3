import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from splnode.workers import door
from splnode.workers.door import Door
from splnode.workers.link import TURN


class Guests:
    """Who came in, while somebody takes them."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.full = False
        self.tried = asyncio.Event()

    def __call__(self, sock: socket.socket) -> bool:
        self.tried.set()
        if not self.full:
            self.taken.append(sock.fileno())
        return not self.full

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.taken) < count:
                self.tried.clear()
                await self.tried.wait()


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
        sock.listen(200)
        yield sock


def come(listening: socket.socket) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(listening.getsockname())
    return sock


async def test_all_who_come_are_shown_in(listening: socket.socket) -> None:
    guests = Guests()
    made = Door(listening, guests)
    waiting = [come(listening) for _ in range(TURN + 10)]
    made.open()
    await guests.until(len(waiting))
    made.close()
    waiting.append(come(listening))
    await asyncio.sleep(0)
    assert len(guests.taken) == len(waiting) - 1  # it is closed
    for sock in waiting:
        sock.close()


async def test_nobody_is_turned_away_while_nobody_takes_them(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "REST", 0.01)
    guests = Guests()
    guests.full = True
    made = Door(listening, guests)
    made.open()
    with come(listening), come(listening):
        for _ in range(3):  # it tries again
            guests.tried.clear()
            await asyncio.wait_for(guests.tried.wait(), 10)
        guests.full = False
        await guests.until(2)
        guests.full = True
        with come(listening) as last:
            guests.tried.clear()
            await asyncio.wait_for(guests.tried.wait(), 10)
            made.close()
            assert last.recv(1) == b""  # whom it had in its hand
