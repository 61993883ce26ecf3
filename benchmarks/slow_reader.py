"""A client that asks for much and never reads, beside one that behaves. Prints one JSON object.

The slow one sends calls whose answers would be 1 MiB each, as many as the server takes, and reads nothing.
The server's memory must stay bounded, and the other's calls must take about as long as before.
"""

import argparse
import json
import select
import threading
import time
from contextlib import ExitStack

from benchmarks import machine
from benchmarks.bare import PEER, Address, address, dial, greet
from benchmarks.measure import Order
from benchmarks.process import Peer

ANSWER = 1024 * 1024
CALLS = 900
"""Calls that the slow client sends: fewer than a session allows in flight, so that it could send them all."""


class Weight(threading.Thread):
    """Watches the memory of a process; `most` is the highest it saw."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.most, self.over = pid, machine.resident_bytes(pid), threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.02):
            self.most = max(self.most, machine.resident_bytes(self.pid))


def stop_reading(where: Address, stack: ExitStack) -> int:
    """Shakes hands, sends `CALLS` calls as far as the server takes them within 2 s, and gives the bytes sent."""
    session, connection = dial(where)
    stack.enter_context(connection)
    greet(session, connection)
    for _ in range(CALLS):
        session.call("produce", {"size": ANSWER})
    data, sent, end = memoryview(b"".join(session.data_to_send())), 0, time.monotonic() + 2
    connection.setblocking(False)
    while sent < len(data) and (left := end - time.monotonic()) > 0:
        if select.select([], [connection], [], left)[1]:
            sent += connection.send(data[sent:])
    return sent


def measure(seconds: float) -> dict[str, float]:
    """The good client alone, then with the bad one, `seconds` each; the server's memory all the while."""
    with ExitStack() as stack:
        server = stack.enter_context(Peer([*PEER, "serve", "tcp"]))
        endpoint = str(server.answer()["endpoint"])
        driver = stack.enter_context(Peer([*PEER, "drive", endpoint]))
        driver.answer()
        order = Order(clocked=True, seconds=seconds)
        before = driver.ask(order)
        rss = machine.resident_bytes(server.pid)
        weight = Weight(server.pid)
        weight.start()
        sent = stop_reading(address(endpoint), stack)
        during = driver.ask(order)
        weight.over.set()
        weight.join()
    return {
        "asked_mib": CALLS * ANSWER / 2**20,
        "request_bytes_taken": sent,
        "server_rss_mib": rss / 2**20,
        "growth_mib": (weight.most - rss) / 2**20,
        "p50_before_us": before["p50"],
        "p50_during_us": during["p50"],
        "p99_before_us": before["p99"],
        "p99_during_us": during["p99"],
        "calls_during": during["calls"],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each half (default: %(default)s)")
    print(json.dumps(measure(parser.parse_args().seconds)))
