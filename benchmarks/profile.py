"""Where the time of a Python stack goes, by function, on both ends: cProfile over one long round.

`python -m benchmarks.profile "splnode, TCP" --kind flood`. The profiler itself makes small functions look
dearer than they are: trust the order, and the shares among alike, not the microseconds.
"""

import argparse
import pstats
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks.process import Peer
from benchmarks.run import ORDERS
from benchmarks.stacks import STACKS, Stack

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


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("stack", choices=[stack.name for stack in STACKS if not stack.program.endswith(".js")])
    parser.add_argument("--kind", choices=list(ORDERS), default="flood", help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=3.0, help="default: %(default)s")
    parser.add_argument("--top", type=int, default=30, help="functions to show (default: %(default)s)")
    options = parser.parse_args()
    stack = next(stack for stack in STACKS if stack.name == options.stack)
    if why := stack.missing():
        sys.exit(f"{stack.name}: {why}")
    with tempfile.TemporaryDirectory() as folder:
        for end, (path, made) in measure(stack, options.kind, options.seconds, Path(folder)).items():
            show(end, path, made, options.top)


if __name__ == "__main__":
    main()
