"""Calls a second of `splnode serve --workers N`, for one process and for more. Prints one JSON object.

All nodes are up all the time and take turns, so that what else the machine does falls on all of them. The client makes
its calls beforehand and only counts answers (`peers/splnode_blocks.py`), on many connections, which the kernel spreads.
Client and workers share the machine's CPUs: on two of them two workers cannot reach twice the calls of one.
"""

import argparse
import json
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.measure import Order
from benchmarks.process import Peer

DRIVER = (sys.executable, "-m", "benchmarks.peers.splnode_blocks", "drive")
ORDER = Order(connections=16, in_flight=8)


def serve(workers: int, folder: Path, stack: ExitStack) -> tuple[Peer, str]:
    """A node and where it listens; `stack` ends it."""
    splnode = str(Path(sys.executable).with_name("splnode"))
    state = folder / str(workers)
    state.mkdir()
    (state / "node.toml").write_text('[node]\ndirectory = "state"\ndrain_seconds = 0.0\n')
    node = stack.enter_context(
        Peer([splnode, "serve", "--config", str(state / "node.toml"), "--listen", "tcp://127.0.0.1:0",
              "--data", str(state / "data"), "--workers", str(workers)])
    )  # fmt: skip
    return node, str(node.answer()["listen"][0])


def measure(numbers: list[int], rounds: int) -> dict[str, Any]:
    """Calls a second of each number of workers (medians), and how many times the first's the last's are."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        drivers = {}
        for number in numbers:
            _, endpoint = serve(number, Path(folder), stack)
            drivers[number] = stack.enter_context(Peer([*DRIVER, endpoint]))
        for driver in drivers.values():
            driver.answer()
        rates: dict[int, list[float]] = {number: [] for number in numbers}
        for _ in range(rounds):
            for number, driver in drivers.items():
                got = driver.ask(ORDER)
                rates[number].append(got["calls"] / got["seconds"])
    rows = [{"workers": number, "rate": statistics.median(rates[number])} for number in numbers]
    return {"rows": rows, "cores": machine.describe()["cores"], "growth": rows[-1]["rate"] / rows[0]["rate"]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", default="1,2", help="how many, comma-separated (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of half a second each (default: %(default)s)")
    options = parser.parse_args()
    print(json.dumps(measure([int(number) for number in options.workers.split(",")], options.rounds)))
