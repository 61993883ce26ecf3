"""Where the time of a stack goes, by function, on both ends, over one long round.

    python -m benchmarks.profile "splnode, TCP" --kind flood            cProfile: what is written in Python
    python -m benchmarks.profile "splnode, TCP" --kind one --perf       perf(1): native code and the kernel too

cProfile makes small functions look dearer than they are: trust the order, and the shares among alike, not the
microseconds. perf looks at the CPU from time to time and costs next to nothing: its microseconds are those of the
kernel's count, shared out; but all Python code is one function to it, the interpreter's.
"""

import argparse
import collections
import contextlib
import json
import pstats
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.process import Peer
from benchmarks.run import ORDERS
from benchmarks.stacks import STACKS, Stack

SAMPLES = 2000
"""Times a second that perf looks."""
PLACES = (
    ("[kernel", "kernel"),
    ("libpython", "Python"),
    ("python", "Python"),
    ("_native", "splnode"),
    ("loop.", "uvloop"),
    ("_asyncio", "asyncio"),
    ("libc.", "libc"),
)
"""What the parts are called that begin so; the others keep their file's name."""
PARTS = 7
"""How many of them are shown."""
REPORT = ("perf", "report", "-q", "--stdio", "--no-children", "-F", "overhead,dso,symbol", "-t", ";")
STARTUP = (
    "<frozen importlib",
    "<frozen zipimport",
    "<built-in method builtins.exec>",
    "<built-in method marshal.loads>",
)


def _profiled(command: list[str], out: Path) -> list[str]:
    return [command[0], "-m", "cProfile", "-o", str(out), *command[1:]]


def measure(stack: Stack, kind: str, seconds: float, folder: Path) -> dict[str, tuple[Path, int]]:
    """Runs one round under the profiler; gives for each end the profile's file and the calls it made."""
    ends: dict[str, tuple[Path, int]] = {}
    with ExitStack() as processes:
        endpoint = "local"
        if stack.server is not None:
            command = _profiled(stack.command("serve", stack.server), folder / "server")
            server = processes.enter_context(Peer(command, stack.env))
            endpoint = str(server.answer()["endpoint"])
        variant = [stack.driver] if stack.driver else []
        command = _profiled(stack.command("drive", endpoint, *variant), folder / "client")
        driver = processes.enter_context(Peer(command, stack.env))
        driver.answer()
        made = int(driver.ask(replace(ORDERS[kind], seconds=seconds))["made"])
    for end in ("server", "client"):
        if (folder / end).exists():
            ends[end] = folder / end, made
    return ends


def show(end: str, path: Path, made: int, top: int) -> None:
    """The functions with the most time of their own, as microseconds and times a call."""
    stats: dict[tuple[str, int, str], tuple[int, int, float, float, object]]
    stats = pstats.Stats(str(path)).stats  # type: ignore[attr-defined]  # what the stubs leave out
    rows = sorted(stats.items(), key=lambda item: -item[1][2])
    print(f"\n{end}: {made} calls\n{'own us/call':>11} {'all us/call':>11} {'times/call':>10}  function")
    rows = [row for row in rows if not any(part in row[0][0] + row[0][2] for part in STARTUP)]
    for (file, line, name), (_, times, own, together, _) in rows[:top]:
        place = f"{'/'.join(Path(file).parts[-2:])}:{line} " if line else ""
        print(f"{own / made * 1e6:11.2f} {together / made * 1e6:11.2f} {times / made:10.2f}  {place}{name}")


# -- perf


@contextlib.contextmanager
def _watched(pid: int, out: Path) -> Iterator[None]:
    command = ["perf", "record", "-q", "-F", str(SAMPLES), "-o", str(out), "-p", str(pid)]
    watching = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        watching.send_signal(signal.SIGINT)
        watching.wait(20)


def watch(stack: Stack, kind: str, seconds: float, folder: Path) -> dict[str, tuple[Path, float]]:
    """Runs one round under perf; gives for each end perf's file and its microseconds of CPU a call."""
    order = replace(ORDERS[kind], seconds=seconds)
    with ExitStack() as processes:
        ends: dict[str, Peer] = {}
        endpoint = "local"
        if stack.server is not None:
            ends["server"] = processes.enter_context(Peer(stack.command("serve", stack.server), stack.env))
            endpoint = str(ends["server"].answer()["endpoint"])
        command = stack.command("drive", endpoint, *([stack.driver] if stack.driver else []))
        ends["client"] = processes.enter_context(Peer(command, stack.env))
        ends["client"].answer()
        machine.pin([peer.pid for peer in ends.values()], together=order.clocked, apart=stack.pinned)
        before = {end: machine.cpu_seconds([peer.pid]) for end, peer in ends.items()}
        with ExitStack() as watching:
            for end, peer in ends.items():
                watching.enter_context(_watched(peer.pid, folder / end))
            made = ends["client"].ask(order)["made"]
            after = {end: machine.cpu_seconds([peer.pid]) for end, peer in ends.items()}
    return {end: (folder / end, (after[end] - before[end]) / made * 1e6) for end in ends}


def read(path: Path, microseconds: float, top: int) -> dict[str, Any]:
    """What perf saw of a process, as microseconds a call: `parts` by name, and the `top` functions."""
    command = [*REPORT, "-i", str(path)]
    report = subprocess.run(command, capture_output=True, text=True, check=False)
    if report.returncode:
        sys.exit(f"perf report: {report.stderr.strip()}")
    functions: list[tuple[float, str, str]] = []
    parts: dict[str, float] = collections.defaultdict(float)
    for line in filter(None, map(str.strip, report.stdout.splitlines())):
        share, file, name = (cell.strip() for cell in line.split(";")[:3])
        part = next((called for begins, called in PLACES if file.startswith(begins)), file)
        own = float(share.rstrip("%")) / 100 * microseconds
        parts[part] += own
        functions.append((own, part, name.partition(" ")[2].strip()))
    ordered = dict(sorted(parts.items(), key=lambda item: -item[1])[:PARTS])
    return {"us": microseconds, "parts": ordered, "functions": sorted(functions, reverse=True)[:top]}


def tell(end: str, seen: dict[str, Any]) -> None:
    """The parts of a process, and its functions, as microseconds a call."""
    print(f"\n{end}: {seen['us']:.2f} us of CPU a call")
    print("  ".join(f"{part} {own:.2f}" for part, own in seen["parts"].items()))
    print(f"{'us/call':>8}  {'part':<10} function")
    for own, part, name in seen["functions"]:
        print(f"{own:8.3f}  {part:<10} {name}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("stack", choices=[stack.name for stack in STACKS if not stack.program.endswith(".js")])
    parser.add_argument("--kind", choices=list(ORDERS), default="flood", help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=3.0, help="default: %(default)s")
    parser.add_argument("--top", type=int, default=30, help="functions to show (default: %(default)s)")
    parser.add_argument("--perf", action="store_true", help="with perf(1) instead of cProfile")
    parser.add_argument("--json", action="store_true", help="perf's figures as one JSON object")
    options = parser.parse_args()
    stack = next(stack for stack in STACKS if stack.name == options.stack)
    if why := stack.missing():
        sys.exit(f"{stack.name}: {why}")
    with tempfile.TemporaryDirectory() as folder:
        if options.perf or options.json:
            if not shutil.which("perf"):
                sys.exit("perf is not installed (of the kernel's tools)")
            found = watch(stack, options.kind, options.seconds, Path(folder))
            ends = {end: read(path, microseconds, options.top) for end, (path, microseconds) in found.items()}
            if options.json:
                print(json.dumps(ends))
            for end, seen in ends.items() if not options.json else ():
                tell(end, seen)
            return
        for end, (path, made) in measure(stack, options.kind, options.seconds, Path(folder)).items():
            show(end, path, made, options.top)


if __name__ == "__main__":
    main()
