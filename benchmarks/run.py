"""Runs all stacks against each other: every one started once, then short rounds in turn, medians quoted.

The rounds of the stacks are interleaved, so that what else the machine does falls on all of them. One call
at a time is measured with both ends on one CPU, the rest with each end on its own (node and grpc are left
to the scheduler, they use threads). CPU time a call is what the kernel counted for all threads of both
ends. The codecs, workers, the shell, a profile, idle connections and the slow reader run after the stacks. The
soak takes too long to be run each time: what it gave last is read from soak.json.
"""

import argparse
import contextlib
import datetime
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import machine, plot, report, soak
from benchmarks.measure import Order
from benchmarks.process import Peer, PeerError
from benchmarks.stacks import ALL, OURS, STACKS, Stack
from benchmarks.workload import SIZES

HERE = Path(__file__).parent
ORDERS: dict[str, Order] = {
    "one": Order(clocked=True),
    "flood": Order(in_flight=64),
    "large": Order("large", in_flight=8),
    "huge": Order("huge", in_flight=2),
    "fan": Order(connections=64),
}
PROFILED = ("flood", "one")
"""Kinds of which the report says where the time goes."""
LONGER = {"huge": 2.0}
"""Kinds whose calls are so few that a round needs more time."""


class Contestant:
    """A stack with its processes and what they gave so far."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.failed = stack.missing()
        self.peers: list[Peer] = []
        self.rounds: dict[str, list[dict[str, float]]] = {}

    def start_server(self) -> None:
        if self.stack.server is not None:
            self.peers.append(Peer(self.stack.command("serve", self.stack.server), self.stack.env))

    def start_driver(self) -> None:
        endpoint = str(self.peers[0].answer()["endpoint"]) if self.peers else "local"
        variant = [self.stack.driver] if self.stack.driver else []
        self.peers.append(Peer(self.stack.command("drive", endpoint, *variant), self.stack.env))

    def run(self, name: str, order: Order) -> None:
        """One round of one kind, with the CPU time of both ends."""
        pids = [peer.pid for peer in self.peers]
        machine.pin(pids, together=order.clocked, apart=self.stack.pinned)
        before, busy = machine.cpu_seconds(pids), machine.busy_seconds()
        start = time.monotonic()
        got = self.peers[-1].ask(order)
        elapsed = time.monotonic() - start
        used = machine.cpu_seconds(pids) - before
        rate = got["calls"] / got["seconds"]
        row = {"rate": rate, "cpu_us": used / max(1, got["made"]) * 1e6}
        row["elsewhere"] = max(0.0, machine.busy_seconds() - busy - used) / elapsed
        if got["p50"] is not None:
            row |= {"p50": got["p50"], "p99": got["p99"]}
        if order.payload != "small":
            row["mb_s"] = rate * SIZES[order.payload] / 1e6
        self.rounds.setdefault(name, []).append(row)

    def close(self) -> None:
        for peer in reversed(self.peers):
            peer.close()

    def result(self) -> dict[str, Any]:
        """The medians, and every round they come from."""
        medians = {
            name: {key: statistics.median(row[key] for row in rows) for key in rows[0]}
            for name, rows in self.rounds.items()
        }
        return {
            "stack": self.stack.name,
            "failed": self.failed,
            "kinds": self.stack.kinds,
            "note": self.stack.note,
            "medians": {} if self.failed else medians,
            "rounds": self.rounds,
        }


@contextlib.contextmanager
def _attempt(contestant: Contestant) -> Iterator[None]:
    """What fails ends this stack, not the run."""
    try:
        yield
    except (PeerError, OSError, ValueError, KeyError) as error:
        contestant.failed = f"failed: {error}"


def compare(stacks: list[Stack], kinds: list[str], rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Runs every kind of round on every stack, `rounds` times over, and gives each stack's result."""
    contestants = [Contestant(stack) for stack in stacks]
    try:
        for start in (Contestant.start_server, Contestant.start_driver):
            for contestant in _running(contestants):
                with _attempt(contestant):
                    start(contestant)
        for contestant in _running(contestants):
            with _attempt(contestant):
                contestant.peers[-1].answer()
        for number in range(rounds):
            _progress(f"round {number + 1} of {rounds}")
            for kind in kinds:
                order = replace(ORDERS[kind], seconds=seconds * LONGER.get(kind, 1.0))
                for contestant in _running(contestants, kind):
                    with _attempt(contestant):
                        contestant.run(kind, order)
    finally:
        for contestant in contestants:
            contestant.close()
    return [contestant.result() for contestant in contestants]


def _running(contestants: list[Contestant], kind: str | None = None) -> Iterator[Contestant]:
    return (each for each in contestants if not each.failed and (kind is None or kind in each.stack.kinds))


def program(name: str, *arguments: str, timeout: float) -> dict[str, Any]:
    """What one of the small benchmarks printed; `{"failed": why}` if it printed nothing."""
    _progress(name)
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    try:
        done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done in {timeout:.0f} s"}
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["it said nothing"])[-1]}
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def beside(quick: bool) -> dict[str, Any]:
    """Everything that is not a stack, by name."""
    results = {
        "codec": program("codec", "--seconds", "8" if quick else "40", timeout=120),
        "shell": program("shell", "--runs", "5" if quick else "20", timeout=60),
        "workers": program("workers", "--rounds", "2" if quick else "5", timeout=120),
    }
    if not quick:
        results["profile"] = {
            kind: program("profile", OURS, "--json", "--kind", kind, "--top", "12", timeout=60) for kind in PROFILED
        }
        results["idle"] = program("idle", timeout=120)
        results["slow_reader"] = program("slow_reader", timeout=60)
    if kept := soak.kept():
        results["soak"] = kept
    return results


def write(results: dict[str, Any], out: Path) -> str:
    """Writes results.json, results.png and RESULTS.md; gives the text of the last."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    try:
        plot.draw(results, out / plot.NAME)
    except ModuleNotFoundError as error:
        _progress(f"no plot: {error}")
    text = report.text(results)
    (out / "RESULTS.md").write_text(text)
    return text


def _progress(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="under a minute, rough; writes to benchmarks/out/")
    parser.add_argument("--rounds", type=int, help="rounds of each kind for each stack (7; quick: 2)")
    parser.add_argument("--seconds", type=float, help="seconds of a round that count (0.5; quick: 0.2)")
    parser.add_argument("--kinds", default=",".join(ALL), help=f"of {','.join(ORDERS)} (default: %(default)s)")
    parser.add_argument("--stacks", default="", help="only stacks whose name contains one of these, comma-separated")
    parser.add_argument("--only-stacks", action="store_true", help="leave out the codecs and the budgets")
    parser.add_argument("--out", type=Path, help="where results.json and RESULTS.md go (default: benchmarks/)")
    return parser.parse_args()


def main() -> int:
    """The command line. 1 if a stack that is installed failed."""
    options = _arguments()
    rounds = options.rounds or (2 if options.quick else 7)
    seconds = options.seconds or (0.2 if options.quick else 0.5)
    wanted = [part for part in options.stacks.split(",") if part]
    stacks = [stack for stack in STACKS if not wanted or any(part in stack.name for part in wanted)]
    partial = options.quick or wanted or options.only_stacks
    out: Path = options.out or (HERE / "out" if partial else HERE)
    started = time.monotonic()
    results: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "quick": options.quick,
        "rounds": rounds,
        "seconds": seconds,
        "machine": machine.describe(),
        "versions": machine.versions(),
        "stacks": compare(stacks, options.kinds.split(","), rounds, seconds),
    }
    if not options.only_stacks:
        results |= beside(options.quick)
    results["took_s"] = round(time.monotonic() - started, 1)
    text = write(results, out)
    print(text)
    return int(any(str(row["failed"] or "").startswith("failed") for row in results["stacks"]))


if __name__ == "__main__":
    raise SystemExit(main())
