"""Whether one client that floods a server keeps another one waiting. Writes and prints one JSON object.

    python -m benchmarks.fairness [--seconds 1.0] [--rounds 5] [--out benchmarks/fairness.json]

The victim calls one at a time on a plain blocking socket and takes its times; it does so alone, then beside a flood, in
turns. With two CPUs the server has one of them, and victim and flood the other, where the victim goes first whenever it
can run: so it waits for the server, and not for a processor that the flood has. The same is done with a bare uvloop
server that sends back what it gets, for what the kernel and the loop cost by themselves. Each figure is the median of
all rounds, in microseconds. Run by root, server and victim are scheduled before whatever else the machine does.
"""

import argparse
import asyncio
import contextlib
import datetime
import json
import os
import socket
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, Final

import uvloop

from benchmarks import machine
from benchmarks.bare import PEER, PROTOCOL, address
from benchmarks.process import Peer
from benchmarks.workload import HEADERS, MODULE, value
from splnode.wire.client import ClientSession
from splnode.wire.events import Ready
from splnode.wire.message import Contract
from tests.hostile.test_texts import new
from tests.wire.conftest import handshake, netty

OUT: Final = Path(__file__).with_name("fairness.json")
FLOODS: Final = ("pipelined", "large", "many", "texts")
CONNECTIONS, IN_FLIGHT = 64, 8
"""Of the flood named many."""
CHUNK: Final = 256 * 1024
SYSTEM_CALL: Final = 16 * 1024
"""Bytes that the flood sends or receives at a time. Many kernels let nobody run before a system call is done, and the
victim is where the flood is: with a megabyte at a time it waits for that, whatever the server does."""


def call_bytes(session: ClientSession, size: str = "small", count: int = 1) -> bytes:
    """So many calls as they are sent."""
    for _ in range(count):
        session.call("execute", {"request": {"module": MODULE, "headers": HEADERS, "value": value(size)}})
    return b"".join(session.data_to_send())


def greeted(host: str, port: int, source: str) -> tuple[ClientSession, socket.socket]:
    """A connection on which the handshake is done; at an echo server just a connection."""
    session = ClientSession(Contract(PROTOCOL))
    session.start()
    sock = socket.create_connection((host, port), 10, (source, 0))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(b"".join(session.data_to_send()))
    while True:
        events = session.receive_data(sock.recv(65536))
        if any(isinstance(event, Ready) for event in events):
            return session, sock
        sock.sendall(b"".join(session.data_to_send()))


# -- the processes


async def echo() -> None:
    """A server that sends back what it gets."""

    class Echo(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport: Any = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(data)

        def pause_writing(self) -> None:
            self.transport.pause_reading()

        def resume_writing(self) -> None:
            self.transport.resume_reading()

    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    print(json.dumps({"endpoint": f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def victim(host: str, port: int, plain: bool) -> None:
    """For each line a round of so many seconds: median and 99th percentile of single calls."""
    if plain:
        sock = socket.create_connection((host, port), 10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = b"x" * 100
    else:
        session, sock = greeted(host, port, "127.0.0.1")
        request = call_bytes(session)
    sock.sendall(request)
    size = len(sock.recv(65536))
    print("{}", flush=True)
    clock = time.perf_counter_ns
    for line in sys.stdin:
        times, until = [], clock() + int(float(line) * 1e9)
        while (started := clock()) < until:
            sock.sendall(request)
            got = len(sock.recv(65536))
            while got < size:
                got += len(sock.recv(65536))
            times.append(clock() - started)
            time.sleep(0.0005)
        times.sort()
        p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
        print(json.dumps({"calls": len(times), "p50": p50 / 1000, "p99": p99 / 1000}), flush=True)


def flood(host: str, port: int, kind: str, plain: bool) -> None:
    """Floods from the start until stdin ends; says how many bytes it got back."""
    if os.geteuid():  # else the victim is scheduled before it as it is
        os.nice(10)
    if kind == "many":
        uvloop.run(flood_by_many(host, port, plain))
        return
    if plain:
        sock, data = socket.create_connection((host, port), 10, ("127.0.0.2", 0)), b"x" * CHUNK
    else:
        session, sock = greeted(host, port, "127.0.0.2")
        sock.settimeout(None)
        if kind == "texts":
            texts = (new(number, "small") for number in range(1000))
            data = b"".join(netty(7, handshake(PROTOCOL.md5, b"?" * 16, each), b"\0\0") for each in texts)
        else:
            data = call_bytes(session, "large", 4) if kind == "large" else call_bytes(session, count=500)

    def send() -> None:
        with contextlib.suppress(OSError):
            view = memoryview(data)
            while True:
                for place in range(0, len(view), SYSTEM_CALL):
                    sock.sendall(view[place : place + SYSTEM_CALL])

    received = 0

    def receive() -> None:
        nonlocal received
        buffer = bytearray(SYSTEM_CALL)
        with contextlib.suppress(OSError):
            while size := sock.recv_into(buffer):
                received += size

    for work in (send, receive):
        threading.Thread(target=work, daemon=True).start()
    print("{}", flush=True)
    sys.stdin.read()
    print(json.dumps({"received": received}), flush=True)
    os._exit(0)


async def flood_by_many(host: str, port: int, plain: bool) -> None:
    """Each of many connections has a few calls in flight, and so never many at a time."""
    loop = asyncio.get_running_loop()
    received = 0

    class Pump(asyncio.Protocol):
        def __init__(self, request: bytes, size: int) -> None:
            self.request, self.size, self.left = request, size, 0

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport: Any = transport
            self.transport.write(self.request * IN_FLIGHT)

        def data_received(self, data: bytes) -> None:
            nonlocal received
            received += len(data)
            count, self.left = divmod(self.left + len(data), self.size)
            if count:
                self.transport.write(self.request * count)

    for _ in range(CONNECTIONS):
        if plain:
            sock, request, size = socket.create_connection((host, port), 10, ("127.0.0.2", 0)), b"x" * 100, 100
        else:
            session, sock = greeted(host, port, "127.0.0.2")
            request = call_bytes(session)
            sock.sendall(request)
            size = len(sock.recv(65536))
        sock.setblocking(False)
        await loop.create_connection(lambda r=request, s=size: Pump(r, s), sock=sock)  # type: ignore[misc]  # mypy knows no defaults in lambdas
    print("{}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    print(json.dumps({"received": received}), flush=True)
    os._exit(0)


# -- the measuring


def role(*words: str) -> Peer:
    """One of the processes above."""
    return Peer([sys.executable, "-m", "benchmarks.fairness", *words])


def ask(peer: Peer, seconds: float) -> dict[str, Any]:
    """A round of the victim."""
    assert peer.process.stdin is not None
    peer.process.stdin.write(f"{seconds}\n".encode())
    peer.process.stdin.flush()
    return peer.answer(seconds + 20)


def pin(peer: Peer, place: int, *, first: bool = True) -> None:
    """On one of two CPUs (with one there is nothing to choose), and before all others there."""
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(peer.pid, {cpus[min(place, len(cpus) - 1)]})
    if first:
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(peer.pid, os.SCHED_FIFO, os.sched_param(1))


def against(kind: str, seconds: float, rounds: int, *, plain: bool) -> dict[str, float]:
    """The victim alone and beside that flood, at splnode's server or at the plain one."""
    with ExitStack() as stack:
        server = stack.enter_context(role("--echo") if plain else Peer([*PEER, "serve", "tcp"]))
        pin(server, 0)
        host, port = address(str(server.answer()["endpoint"]))
        where = (host, str(port), *(["--plain"] if plain else []))
        caller = stack.enter_context(role("--victim", *where))
        pin(caller, 1)
        caller.answer()
        ask(caller, seconds / 2)
        alone, beside, received = [], [], 0.0
        for _ in range(rounds):
            alone.append(ask(caller, seconds))
            with role("--flood", kind, *where) as flooding:
                pin(flooding, 1, first=False)
                flooding.answer()
                ask(caller, 0.1)
                beside.append(ask(caller, seconds))
                assert flooding.process.stdin is not None
                flooding.process.stdin.close()
                received += flooding.answer()["received"] / (seconds + 0.1)
    figures = {
        f"{key}_{name}_us": median(each[key] for each in made)
        for name, made in (("alone", alone), ("beside", beside))
        for key in ("p50", "p99")
    }
    figures["p99_ratio"] = figures["p99_beside_us"] / figures["p99_alone_us"]
    figures["flood_mb_s"] = received / rounds / 1e6
    return {name: round(each, 2) for name, each in figures.items()}


def measure(seconds: float, rounds: int, kinds: tuple[str, ...] = FLOODS) -> dict[str, Any]:
    """Each flood, at splnode's server and at the bare one (which knows no protocol texts)."""
    found: dict[str, Any] = {}
    for kind in kinds:
        found[kind] = against(kind, seconds, rounds, plain=False)
        if kind != "texts":
            found[f"{kind}, bare uvloop"] = against(kind, seconds, rounds, plain=True)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="of each round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--kinds", default=",".join(FLOODS), help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=OUT, help="default: %(default)s")
    parser.add_argument("--echo", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--victim", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--flood", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.echo:
        uvloop.run(echo())
    elif given.victim:
        victim(given.victim[0], int(given.victim[1]), given.plain)
    elif given.flood:
        flood(given.flood[1], int(given.flood[2]), given.flood[0], given.plain)
    else:
        results = {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "machine": machine.describe(),
            "seconds": given.seconds,
            "rounds": given.rounds,
            "floods": measure(given.seconds, given.rounds, tuple(given.kinds.split(","))),
        }
        text = json.dumps(results, indent=1) + "\n"
        given.out.write_text(text, "utf-8")
        print(text, end="")
