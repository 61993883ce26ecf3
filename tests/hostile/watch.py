"""Connections to a node as bytes, and the bystander who waits for his pings meanwhile."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from splnode.avro.protocol import find_protocol
from splnode.endpoint import Endpoint
from tests.wire.conftest import handshake, netty

ROOT = Path(__file__).parents[2]


def dial(where: str, timeout: float = 60.0) -> socket.socket:
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


def hello(where: str, service: str = "SPLExecuteService", timeout: float = 60.0) -> socket.socket:
    """A connection on which the handshake is done, with the service's own protocol."""
    sock = dial(where, timeout)
    md5 = find_protocol(service).md5
    sock.sendall(netty(0, handshake(md5, md5), b"\0\0"))
    serial, body = netty_reply(sock)
    assert (serial, body) == (0, b"\0\0\0\0\0\0"), body
    return sock


class Bystander:
    """`with Bystander(endpoint) as seen:` pings meanwhile; `seen.waits` has the figures afterwards."""

    FIRST: ClassVar[bool] = False
    """Whether it runs before whatever else the machine does, so that it waits for the node alone. For root."""

    def __init__(self, where: str) -> None:
        self.waits: dict[str, Any] = {}
        self._where = where

    def __enter__(self) -> Self:
        md5 = find_protocol("SPLExecuteService").md5
        hello = netty(0, handshake(md5, md5), b"\0\0")
        endpoint = Endpoint.parse(self._where)
        script = Path(__file__).with_name("bystander.py")
        self._process = subprocess.Popen(
            [sys.executable, "-S", script, f"{endpoint.host}:{endpoint.port}", hello.hex()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        if self.FIRST:
            os.sched_setscheduler(self._process.pid, os.SCHED_FIFO, os.sched_param(2))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        said, _ = self._process.communicate(timeout=60)  # which closes its stdin
        if kind is None:
            self.waits = json.loads(said)
