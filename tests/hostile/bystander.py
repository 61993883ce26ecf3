"""Pings a node while others do harm, in a process of its own, and says how long it waited.

It is started often, and so imports little.

python bystander.py ADDRESS HELLO       ADDRESS is HOST:PORT, HELLO the first message in hex; it ends with stdin
"""

import json
import select
import socket
import struct
import sys
import time

EVERY = 0.003
"""Seconds between two pings."""
GIVE_UP = 60.0
PING = struct.pack(">III", 1, 1, 2) + b"\0\0"


def answer(sock: socket.socket) -> None:
    data = b""
    while len(data) < 12 or len(data) < 12 + int.from_bytes(data[8:12]):
        part = sock.recv(65536)
        if not part:
            raise EOFError("the node closed the connection of a bystander")
        data += part


def main(address: str, hello: bytes) -> None:
    host, _, port = address.rpartition(":")
    sock = socket.create_connection((host, int(port)), GIVE_UP)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(hello)
    answer(sock)
    print("ready", flush=True)
    waits: list[float] = []
    while not waits or not select.select([sys.stdin], [], [], EVERY)[0]:
        started = time.perf_counter()
        sock.sendall(PING)
        answer(sock)
        waits.append(1000 * (time.perf_counter() - started))
    waits.sort()
    figures = {"median": waits[len(waits) // 2], "p99": waits[len(waits) * 99 // 100], "worst": waits[-1]}
    print(json.dumps({name: round(wait, 2) for name, wait in figures.items()}))


if __name__ == "__main__":
    main(sys.argv[1], bytes.fromhex(sys.argv[2]))
