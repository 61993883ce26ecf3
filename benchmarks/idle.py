"""What 10,000 idle connections cost a server, and whether it answers meanwhile. Prints one JSON object.

Every connection has done its handshake. The memory is the server's RSS with them, less that before; the
kernel's own memory for sockets is not in it.
"""

import argparse
import json
import resource
from contextlib import ExitStack

from benchmarks import machine
from benchmarks.bare import PEER, Address, address, dial, greet
from benchmarks.measure import Order
from benchmarks.process import Peer

AT_ONCE = 256
"""Connections opened before their answers are read: fewer than a listener's backlog."""
SOURCES = 20_000
"""Connections from one source address: fewer than the system has ephemeral ports (28,000)."""


def allow_files(wanted: int) -> int:
    """Raises the limit of open files for this process and those it starts; gives how many there may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
        except (ValueError, PermissionError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    elif soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def open_idle(where: Address, number: int, stack: ExitStack) -> None:
    """Opens connections that do their handshake and then nothing; `stack` closes them."""
    done = 0
    while done < number:
        batch = []
        for place in range(done, min(number, done + AT_ONCE)):
            session, connection = dial(where, f"127.0.0.{1 + place // SOURCES}")
            batch.append((session, stack.enter_context(connection)))
        for session, connection in batch:
            greet(session, connection)
        done += len(batch)


def measure(number: int) -> dict[str, float]:
    """Opens the connections, weighs the server before and after, calls it with all of them open."""
    number = min(number, allow_files(number + 200) - 200)
    with ExitStack() as stack:
        server = stack.enter_context(Peer([*PEER, "serve", "tcp"]))
        endpoint = str(server.answer()["endpoint"])
        driver = stack.enter_context(Peer([*PEER, "drive", endpoint]))
        driver.answer()
        alone = driver.ask(Order(clocked=True, seconds=1.0))
        before = machine.resident_bytes(server.pid)
        open_idle(address(endpoint), number, stack)
        after = machine.resident_bytes(server.pid)
        among = driver.ask(Order(clocked=True, seconds=1.0))
    return {
        "connections": number,
        "bytes_per_connection": (after - before) / number,
        "server_rss_mib": after / 2**20,
        "alone_p50_us": alone["p50"],
        "call_p50_us": among["p50"],
        "alone_p99_us": alone["p99"],
        "call_p99_us": among["p99"],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--connections", type=int, default=10_000, help="default: %(default)s")
    print(json.dumps(measure(parser.parse_args().connections)))
