"""The floor: a length-prefixed echo on uvloop, no codec and no dispatch.

`callbacks` makes a call without task or future, the least that a Python program can do; `futures` has one
future for each call, the least that a program with `await` can do; `blocking` makes one call at a time on a
blocking socket, with no loop at all. Over TCP or a Unix socket. `await` has no other end: it awaits a function
that gives back what it got.
"""

import asyncio
import socket
import struct
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from benchmarks import peer, workload
from benchmarks.measure import AsyncCall, SyncCall, concurrent, pumped, sequential

P = TypeVar("P", bound=asyncio.BaseProtocol)
_LENGTH = struct.Struct(">I")
_BUFFER = 64 * 1024


def _frame(value: bytes) -> bytes:
    """A request as long as Avro would make it: the other parts of it, as they stand, and the value."""
    head = (workload.MODULE + "".join(key + item for key, item in workload.HEADERS.items())).encode()
    body = head + bytes(163 - 64 - len(head)) + value
    return _LENGTH.pack(len(body)) + body


class _Frames(asyncio.BufferedProtocol):
    """Receives into one buffer, used again and again, and says how many frames stand whole in it."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.buffer = bytearray(_BUFFER)
        self.filled = 0
        self.need = 4

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self.buffer)[self.filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self.filled += nbytes
        if self.filled < self.need:
            return
        number = position = 0
        end, unpack = self.filled, _LENGTH.unpack_from
        self.need = 4
        while end - position >= 4:
            following = position + 4 + unpack(self.buffer, position)[0]
            if following > end:
                self.need = following - position
                break
            position = following
            number += 1
        view = memoryview(self.buffer)
        if number:
            self.frames(view[:position], number)
        self.filled = end - position
        if position and self.filled:
            view[: self.filled] = view[position:end]
        if self.need > len(self.buffer):
            self.buffer = self.buffer[: self.filled] + bytes(2 * self.need - self.filled)

    def frames(self, view: memoryview, number: int) -> None:
        raise NotImplementedError


class _Echo(_Frames):
    def frames(self, view: memoryview, number: int) -> None:
        self.transport.write(bytes(view))


class _Callbacks(_Frames):
    answered: Callable[[int], int]
    in_flight: int
    idle: "asyncio.Future[None]"

    def __init__(self, frame: bytes) -> None:
        super().__init__()
        self.frame = frame

    def start(self, in_flight: int, answered: Callable[[int], int]) -> "asyncio.Future[None]":
        self.answered = answered
        self.in_flight = in_flight
        self.idle = asyncio.get_running_loop().create_future()
        for _ in range(in_flight):
            self.transport.write(self.frame)
        return self.idle

    def frames(self, view: memoryview, number: int) -> None:
        again = self.answered(number)
        if again:
            self.transport.write(self.frame if again == 1 else self.frame * again)
        self.in_flight += again - number
        if not self.in_flight:
            self.idle.set_result(None)


class _Futures(_Frames):
    def __init__(self, frame: bytes) -> None:
        super().__init__()
        self.frame = frame
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.outgoing = 0
        self.loop = asyncio.get_running_loop()

    def call(self) -> "asyncio.Future[None]":
        if not self.outgoing:
            self.loop.call_soon(self.flush)
        self.outgoing += 1
        future = self.loop.create_future()
        self.waiting.append(future)
        return future

    def flush(self) -> None:
        number, self.outgoing = self.outgoing, 0
        self.transport.write(self.frame if number == 1 else self.frame * number)

    def frames(self, view: memoryview, number: int) -> None:
        for _ in range(number):
            self.waiting.popleft().set_result(None)


@asynccontextmanager
async def _dial(make: Callable[[bytes], P], endpoint: str, value: bytes) -> AsyncIterator[P]:
    loop, factory = asyncio.get_running_loop(), partial(make, _frame(value))
    if endpoint.startswith("/"):
        transport, protocol = await loop.create_unix_connection(factory, endpoint)
    else:
        host, port = endpoint.rsplit(":", 1)
        transport, protocol = await loop.create_connection(factory, host, int(port))
    try:
        yield protocol
    finally:
        transport.close()


def _counted(_answer: object) -> None:
    """What comes back was counted by its length already."""


@asynccontextmanager
async def _call(endpoint: str, value: bytes) -> AsyncIterator[AsyncCall]:
    async with _dial(_Futures, endpoint, value) as connection:
        yield connection.call, _counted


@contextmanager
def _blocking(endpoint: str, value: bytes) -> Iterator[SyncCall]:
    host, port = endpoint.rsplit(":", 1)
    frame = _frame(value)
    buffer = memoryview(bytearray(len(frame)))
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def call() -> int:
            connection.sendall(frame)
            filled = 0
            while filled < len(buffer):
                filled += (got := connection.recv_into(buffer[filled:]))
                if not got:
                    raise ConnectionError("the echo closed the connection")
            return filled

        yield call, _counted


@asynccontextmanager
async def _await(_endpoint: str, value: bytes) -> AsyncIterator[AsyncCall]:
    async def execute(request: dict[str, Any]) -> dict[str, Any]:
        return {"module": request["module"], "headers": request["headers"], "value": request["value"]}

    yield (
        lambda: execute(request={"module": workload.MODULE, "headers": workload.HEADERS, "value": value}),
        peer.sized(value, lambda answer: answer["value"]),
    )


@asynccontextmanager
async def _tcp() -> AsyncIterator[str]:
    server = await asyncio.get_running_loop().create_server(_Echo, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def _unix() -> AsyncIterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "raw.sock"))
        async with await asyncio.get_running_loop().create_unix_server(_Echo, path):
            yield path


if __name__ == "__main__":
    peer.main(
        {"tcp": _tcp, "unix": _unix},
        {
            "callbacks": pumped(partial(_dial, _Callbacks)),
            "futures": concurrent(_call),
            "blocking": sequential(_blocking),
            "await": concurrent(_await),
        },
    )
