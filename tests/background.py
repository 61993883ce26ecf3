"""Servers for tests that block: an event loop in a thread, and scripts on plain sockets in a thread."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from splnode.endpoint import Endpoint

T = TypeVar("T")
PATIENCE = 30
"""Seconds for anything that a test waits for."""


@contextlib.contextmanager
def background(opening: Callable[[], AbstractAsyncContextManager[T]]) -> Iterator[tuple[T, Callable[..., Any]]]:
    """What the async context manager gives, entered in a loop of its own thread; and `run(coroutine)` there."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(PATIENCE)

    manager = opening()
    try:
        found = run(manager.__aenter__())
        try:
            yield found, run
        finally:
            run(manager.__aexit__(None, None, None))
            run(_turns())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()


async def _turns() -> None:
    """What was closed is gone some turns of the loop later."""
    for _ in range(10):
        await asyncio.sleep(0)


Script = Callable[[socket.socket], None]


class Peer:
    """A server that does with its first connection what the first script says, and so on; then closes each."""

    def __init__(self, *scripts: Script, family: int = socket.AF_INET, path: str = "") -> None:
        self._listening = socket.socket(family)
        self._listening.bind(path or ("127.0.0.1", 0))
        self._listening.listen()
        self.endpoint = (
            Endpoint("unix", path=path) if path else Endpoint("tcp", "127.0.0.1", self._listening.getsockname()[1])
        )
        self.accepted = 0
        self._connected: socket.socket | None = None
        self.closed = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(scripts,), daemon=True)

    def __enter__(self) -> "Peer":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes `accept`
        self._listening.close()
        if self._connected is not None:
            with contextlib.suppress(OSError):
                self._connected.shutdown(socket.SHUT_RD)
        self._thread.join(PATIENCE)

    def join(self) -> None:
        """Returns when the last script has ended."""
        self._thread.join(PATIENCE)

    def _serve(self, scripts: tuple[Script, ...]) -> None:
        for script in scripts:
            try:
                connected, _ = self._listening.accept()
            except OSError:
                return
            self.accepted += 1
            self._connected = connected
            connected.settimeout(PATIENCE)
            with connected, contextlib.suppress(OSError):
                script(connected)
            self.closed.set()


def read_exactly(connected: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connected.recv(size - len(data))
        if not more:
            raise ConnectionError("the client has closed")
        data += more
    return data


def read_frame(connected: socket.socket) -> tuple[int, bytes]:
    """One Netty frame: its serial, and what it holds."""
    head = read_exactly(connected, 8)
    body = b""
    for _ in range(int.from_bytes(head[4:])):
        body += read_exactly(connected, int.from_bytes(read_exactly(connected, 4)))
    return int.from_bytes(head[:4]), body


def answer(connected: socket.socket, serial: int, body: bytes) -> None:
    connected.sendall(serial.to_bytes(4) + (1).to_bytes(4) + len(body).to_bytes(4) + body)


def greet(connected: socket.socket) -> None:
    """Takes the handshake and says that all fits."""
    serial, _ = read_frame(connected)
    answer(connected, serial, bytes(4) + b"\0\0")


def hold(connected: socket.socket) -> None:
    """Reads until the client has closed."""
    with contextlib.suppress(ConnectionError):
        while connected.recv(65536):
            pass
