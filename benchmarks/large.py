"""What large values cost: 256 KiB and 8 MiB, splnode against the raw echo and avsc, rounds in turn.

`python -m benchmarks.large`. MB/s counts one way, as everywhere here. CPU time and page faults are of each end, for
each MB: memory that is taken from the system afresh costs more than copying does. Every end has a CPU of its own.
"""

import argparse
import statistics
from contextlib import ExitStack
from pathlib import Path

from benchmarks import machine
from benchmarks.measure import Order
from benchmarks.process import Peer
from benchmarks.stacks import AVSC_TCP, OURS, RAW, STACKS, Stack
from benchmarks.workload import SIZES

IN_FLIGHT = {"large": 8, "huge": 4}
COLUMNS = ("MB/s", "client us/MB", "server us/MB", "client faults/MB", "server faults/MB")


def _faults(pid: int) -> int:
    """Page faults of a process so far for which nothing was read from a disk."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])


class Ends:
    """The two processes of a stack."""

    def __init__(self, stack: Stack, processes: ExitStack) -> None:
        self.stack = stack
        self.server = processes.enter_context(Peer(stack.command("serve", stack.server or "tcp"), stack.env))
        endpoint = str(self.server.answer()["endpoint"])
        variant = [stack.driver] if stack.driver else []
        self.client = processes.enter_context(Peer(stack.command("drive", endpoint, *variant), stack.env))
        self.client.answer()

    def round(self, payload: str, seconds: float) -> tuple[float, ...]:
        """One round: the COLUMNS."""
        pids = [self.client.pid, self.server.pid]
        machine.pin(pids, together=False, apart=self.stack.pinned)
        before = [(machine.cpu_seconds([pid]), _faults(pid)) for pid in pids]
        got = self.client.ask(Order(payload, in_flight=IN_FLIGHT[payload], seconds=seconds))
        after = [(machine.cpu_seconds([pid]), _faults(pid)) for pid in pids]
        made = got["made"] * SIZES[payload] / 1e6
        used = [(now[0] - then[0]) / made * 1e6 for now, then in zip(after, before, strict=True)]
        faults = [(now[1] - then[1]) / made for now, then in zip(after, before, strict=True)]
        return got["calls"] * SIZES[payload] / got["seconds"] / 1e6, *used, *faults


def measure(stacks: list[Stack], rounds: int, seconds: float) -> dict[str, dict[str, list[tuple[float, ...]]]]:
    """Payload -> stack -> what each round gave."""
    rows: dict[str, dict[str, list[tuple[float, ...]]]] = {payload: {} for payload in IN_FLIGHT}
    with ExitStack() as processes:
        ends = [Ends(stack, processes) for stack in stacks]
        for _ in range(rounds):
            for payload in IN_FLIGHT:
                for each in ends:
                    rows[payload].setdefault(each.stack.name, []).append(each.round(payload, seconds))
    return rows


def show(rows: dict[str, dict[str, list[tuple[float, ...]]]]) -> None:
    """Medians, and the share of the first stack's MB/s."""
    for payload, stacks in rows.items():
        print(f"\n{SIZES[payload] // 1024} KiB, {IN_FLIGHT[payload]} in flight")
        print(f"{'':28}" + "".join(f"{name:>18}" for name in (*COLUMNS, "of raw")))
        floor = 0.0
        for name, taken in stacks.items():
            medians = [statistics.median(column) for column in zip(*taken, strict=True)]
            floor = floor or medians[0]
            print(f"{name:28}" + "".join(f"{each:18,.1f}" for each in medians) + f"{medians[0] / floor:18.2f}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=0.5, help="of a round (default: %(default)s)")
    parser.add_argument("--stacks", default=f"{OURS}|{AVSC_TCP}", help="beside the raw echo (default: %(default)s)")
    options = parser.parse_args()
    wanted = (RAW, *options.stacks.split("|"))
    show(measure([stack for stack in STACKS if stack.name in wanted], options.rounds, options.seconds))


if __name__ == "__main__":
    main()
