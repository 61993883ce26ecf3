"""Whether anything grows: millions of calls of every kind between two processes, which are weighed on the way.

    python -m benchmarks.soak [--calls 10000000]

The resident memory of both ends is taken at a tenth of the calls, at half of them and at the end, each time with all
connections closed. Ends with 1 if either end has grown by more than `TOLERATED` since the first. The figures of a whole
soak are kept in soak.json, from which `scripts/bench` takes them.
"""

import argparse
import datetime
import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.measure import Order
from benchmarks.process import Peer

KEPT = Path(__file__).parent / "soak.json"
PEER = (sys.executable, "-m", "benchmarks.peers.soaking")
WHOLE = 10_000_000
SLICE = 100_000
"""Calls between two looks at the memory."""
SLOWEST = 1000
"""Calls a second below which it has failed."""
TOLERATED = 2.0
"""MiB that either end may grow by: with 9 million calls since the first mark, a quarter of a byte a call."""


def run(calls: int) -> dict[str, Any]:
    """Makes the calls; gives the memory of both ends (MiB) after each slice. PeerError if anything goes wrong."""
    marks: list[dict[str, float]] = []
    started = time.monotonic()
    with ExitStack() as processes:
        server = processes.enter_context(Peer([*PEER, "serve"]))
        client = processes.enter_context(Peer([*PEER, "drive", str(server.answer()["endpoint"])]))
        client.answer()
        done = 0
        while done < calls:
            part = min(SLICE, calls - done)
            client.ask(Order(calls=part, seconds=part / SLOWEST))
            done += part
            weights = {"server_mib": _mib(server.pid), "client_mib": _mib(client.pid)}
            marks.append({"calls": done, **weights})
            _progress(f"{done:,} calls: server {weights['server_mib']:.1f} MiB, client {weights['client_mib']:.1f} MiB")
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "calls": calls,
        "took_s": round(time.monotonic() - started, 1),
        "versions": {name: version for name, version in machine.versions().items() if name in ("Python", "splnode")},
        **judged(marks),
    }


def judged(marks: list[dict[str, float]]) -> dict[str, Any]:
    """The marks at a tenth, a half and the whole, and by how many MiB the worse end grew between first and last."""
    last = marks[-1]["calls"]
    shown = [next(mark for mark in marks if mark["calls"] >= last * share) for share in (0.1, 0.5, 1.0)]
    growth = max(shown[-1][end] - shown[0][end] for end in ("server_mib", "client_mib"))
    return {"marks": shown, "growth_mib": growth, "most_mib": max(mark["server_mib"] for mark in marks)}


def kept() -> dict[str, Any] | None:
    """The last whole soak; None if there was none."""
    if not KEPT.exists():
        return None
    found: dict[str, Any] = json.loads(KEPT.read_text())
    return found


def _mib(pid: int) -> float:
    return machine.resident_bytes(pid) / 2**20


def _progress(text: str) -> None:
    print(f"\r{text}\033[K", end="", file=sys.stderr, flush=True)


def main() -> int:
    """The command line. 1 if something grew."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=WHOLE, help="default: %(default)s; kept if it is so many")
    parser.add_argument("--out", type=Path, help="where the figures go, whatever the number of calls")
    options = parser.parse_args()
    got = run(options.calls)
    print(file=sys.stderr)
    print(f"{'calls':>12} {'server MiB':>11} {'client MiB':>11}")
    for mark in got["marks"]:
        print(f"{mark['calls']:>12,} {mark['server_mib']:>11.1f} {mark['client_mib']:>11.1f}")
    print(f"The worse end grew by {got['growth_mib']:.2f} MiB ({TOLERATED:g} are tolerated); {got['took_s']:.0f} s.")
    out = options.out or (KEPT if options.calls >= WHOLE else None)
    if out:
        out.write_text(json.dumps(got, indent=1) + "\n")
    return int(got["growth_mib"] > TOLERATED)


if __name__ == "__main__":
    raise SystemExit(main())
