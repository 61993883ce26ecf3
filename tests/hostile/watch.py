"""A bystander: pings a node from a process of its own while others do harm, and says how long it waited.

python -m tests.hostile.watch ENDPOINT      pings until stdin ends, then prints one JSON line
"""

import json
import os
import select
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from splnode.avro.protocol import find_protocol
from splnode.endpoint import Endpoint
from tests.wire.conftest import handshake, netty

EVERY = 0.003
"""Seconds between two pings."""
GIVE_UP = 60.0
ROOT = Path(__file__).parents[2]


def dial(where: str, timeout: float = 20.0) -> socket.socket:
    """A plain blocking socket to the node."""
    endpoint = Endpoint.parse(where)
    if endpoint.scheme == "unix":
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout)
        sock.connect(endpoint.path)
    else:
        sock = socket.create_connection((endpoint.host, endpoint.port), timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def exactly(sock: socket.socket, size: int) -> bytes:
    """So many bytes. EOFError if the peer closes before."""
    out = bytearray()
    while len(out) < size:
        data = sock.recv(size - len(out))
        if not data:
            raise EOFError(f"closed after {len(out)} of {size} bytes")
        out += data
    return bytes(out)


def netty_reply(sock: socket.socket) -> tuple[int, bytes]:
    """One message in Netty framing: serial, body."""
    head = exactly(sock, 8)
    parts = []
    for _ in range(int.from_bytes(head[4:])):
        parts.append(exactly(sock, int.from_bytes(exactly(sock, 4))))
    return int.from_bytes(head[:4]), b"".join(parts)


def hello(where: str, service: str = "SPLExecuteService", timeout: float = 20.0) -> socket.socket:
    """A connection on which the handshake is done, with the service's own protocol."""
    sock = dial(where, timeout)
    md5 = find_protocol(service).md5
    sock.sendall(netty(0, handshake(md5, md5), b"\0\0"))
    serial, body = netty_reply(sock)
    assert (serial, body) == (0, b"\0\0\0\0\0\0"), body
    return sock


def watch(where: str) -> dict[str, Any]:
    """Pings until stdin ends: the waits in milliseconds."""
    sock = hello(where, timeout=GIVE_UP)
    waits: list[float] = []
    print("ready", flush=True)
    while not waits or not select.select([sys.stdin], [], [], EVERY)[0]:
        started = time.perf_counter()
        sock.sendall(netty(1, b"\0\0"))
        netty_reply(sock)
        waits.append(1000 * (time.perf_counter() - started))
    waits.sort()
    return {
        "pings": len(waits),
        "median": round(waits[len(waits) // 2], 2),
        "p99": round(waits[len(waits) * 99 // 100], 1),
        "worst": round(waits[-1], 1),
    }


class Bystander:
    """`with Bystander(endpoint) as seen:` pings meanwhile; `seen.waits` has the figures afterwards."""

    def __init__(self, where: str) -> None:
        self.waits: dict[str, Any] = {}
        self._where = where

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.watch", self._where],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        said, _ = self._process.communicate(timeout=GIVE_UP)  # which closes its stdin
        if kind is None:
            self.waits = json.loads(said)


if __name__ == "__main__":
    print(json.dumps(watch(sys.argv[1])))
