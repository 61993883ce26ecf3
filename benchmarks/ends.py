"""What each end of splnode costs a call by itself: no socket, no other process. Prints one JSON object.

The other end is a few prepared bytes on a transport that only hands them over. Microseconds a call, the
fastest batch of 64 in flight, so that the figures stand still on a busy machine: this is for comparing two
versions of the code, `scripts/bench` for comparing stacks.
"""

import argparse
import asyncio
import json
import struct
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import uvloop

from benchmarks.peers import splnode_rpc
from benchmarks.workload import HEADERS, MODULE, value
from splnode.config import ChannelsConfig
from splnode.endpoint import Endpoint
from splnode.limits import DEFAULT_LIMITS
from splnode.net.accepted import ServerConnection
from splnode.net.connection import ClientConnection
from splnode.net.host import Host
from splnode.rpc.admission import Admission
from splnode.rpc.client import Client
from splnode.rpc.router import Router
from splnode.rpc.server import Server
from splnode.wire.client import ClientSession
from splnode.wire.directory import ClientProtocols, Directory
from splnode.wire.events import Request
from splnode.wire.message import Contract
from splnode.wire.server import ServerSession

PROTOCOL = splnode_rpc.PROTOCOL
ENDPOINT = Endpoint.parse("tcp://127.0.0.1:1")
IN_FLIGHT = 64
TURNS = 10
"""Times that the calls in flight are made in one batch."""
_HEAD = struct.Struct(">III")
_PARTS = {"module": MODULE, "headers": HEADERS, "value": value("small")}


class Wire(asyncio.Transport):
    """A transport that hands what is written to `deliver`."""

    def __init__(self, deliver: Callable[[bytes], None]) -> None:
        super().__init__()
        self.deliver = deliver

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.deliver(bytes(data))

    def writelines(self, list_of_data: Sequence[bytes | bytearray | memoryview]) -> None:  # type: ignore[override]  # no other is given
        self.deliver(b"".join(list_of_data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def close(self) -> None:
        pass


class Suspended(splnode_rpc.AsyncBench):
    """Waits a turn of the loop, as handlers do that ask others."""

    async def execute(self, request: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0)
        return await super().execute(request)


async def server(seconds: float, implementation: object) -> float:
    """The server's microseconds: from the bytes of requests to the bytes of answers."""
    served = Server(PROTOCOL, implementation, interceptors=(Admission(),))
    host = Host(Router({PROTOCOL.name: served}), Directory([served.contract]), DEFAULT_LIMITS)
    answers = bytearray()
    connection = ServerConnection(host, ENDPOINT)
    connection.connection_made(Wire(answers.extend))
    session = ClientSession(Contract(PROTOCOL))
    session.start()
    loop = asyncio.get_running_loop()

    async def exchange(data: bytes, size: int) -> bytes:
        loop.call_soon(receive, connection, data)  # in no task, as a socket would
        while len(answers) < size:  # noqa: ASYNC110 - an event would be part of what is measured
            await asyncio.sleep(0)
        got = bytes(answers)
        answers.clear()
        return got

    while not session.ready:
        session.receive_data(await exchange(b"".join(session.data_to_send()), 1))
    session.call("execute", {"request": _PARTS}, {"spl-timeout-ms": b"29999"})
    size = len(await exchange(b"".join(session.data_to_send()), 1))
    for _ in range(IN_FLIGHT):
        session.call("execute", {"request": _PARTS}, {"spl-timeout-ms": b"29999"})
    requests = b"".join(session.data_to_send())

    async def batch() -> None:
        for _ in range(TURNS):
            await exchange(requests, size * IN_FLIGHT)

    return await fastest(batch, seconds)


async def client(seconds: float) -> float:
    """The client's microseconds, the caller's own included: from the call to its answer."""
    loop, session = asyncio.get_running_loop(), ClientSession(Contract(PROTOCOL))
    connection = ClientConnection(session, ENDPOINT, ChannelsConfig(), lambda _reason: None)
    other = ServerSession(Directory([Contract(PROTOCOL)]), ClientProtocols())
    answer = b""  # to any call, without its head

    def shake(data: bytes) -> None:
        nonlocal answer
        for event in other.receive_data(data):
            if isinstance(event, Request):
                other.respond(event, _PARTS)
        out = b"".join(other.data_to_send())
        answer = out[_HEAD.size :]
        loop.call_soon(receive, connection, out)

    def echo(data: bytes) -> None:
        """All requests are alike but for their serials, which are moved to the answers a byte of each at a time."""
        each = _HEAD.size + _HEAD.unpack_from(data)[2]
        count, extra = divmod(len(data), each)
        assert not extra, "requests of different lengths"
        out = bytearray((_HEAD.pack(0, 1, len(answer)) + answer) * count)
        for byte in range(4):
            out[byte :: _HEAD.size + len(answer)] = data[byte::each]
        loop.call_soon(receive, connection, bytes(out))

    wire = Wire(shake)
    connection.connection_made(wire)
    await connection.ready()
    call = splnode_rpc.caller(Client(connection, session.contract).execute, value("small"))
    await call()
    wire.deliver = echo

    async def worker() -> None:
        for _ in range(TURNS):
            await call()

    async def batch() -> None:
        await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))

    return await fastest(batch, seconds)


def receive(protocol: ClientConnection | ServerConnection, data: bytes) -> None:
    """Hands over what a socket would have read."""
    while data:
        buffer = protocol.get_buffer(-1)
        part, data = data[: len(buffer)], data[len(buffer) :]
        buffer[: len(part)] = part
        protocol.buffer_updated(len(part))


async def fastest(batch: Callable[[], Awaitable[None]], seconds: float) -> float:
    """Microseconds a call of the fastest batch within `seconds`."""
    best, end = float("inf"), time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.perf_counter()
        await batch()
        best = min(best, time.perf_counter() - start)
    return best / (TURNS * IN_FLIGHT) * 1e6


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="of each (default: %(default)s)")
    lasting = parser.parse_args().seconds
    figures = {
        "server_us": uvloop.run(server(lasting, splnode_rpc.Bench())),
        "server_async_us": uvloop.run(server(lasting, splnode_rpc.AsyncBench())),
        "server_suspended_us": uvloop.run(server(lasting, Suspended())),
        "client_us": uvloop.run(client(lasting)),
    }
    print(json.dumps(figures))
