"""What one `splnode call` costs, cold, against a running local node. Prints one JSON object.

CPU is user and system time as the kernel charged it to that process (wait4), imports included; beside it
stands `python -c pass`. Seconds, medians. The modules are compiled, as an installer leaves them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.process import Peer

CALL = ("call", "SPLExecuteService.execute", "-d", '{"module": "spl/void/noop", "headers": {}, "value": null}')


def cold(command: Sequence[str]) -> tuple[float, float]:
    """CPU and wall seconds of a command. CalledProcessError if it fails, with what it said."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise subprocess.CalledProcessError(process.returncode, command, said.read().decode())
    return usage.ru_utime + usage.ru_stime, wall


def measure(runs: int) -> dict[str, float]:
    """Starts a node on a Unix socket of its own and calls it `runs` times."""
    splnode = str(Path(sys.executable).with_name("splnode"))
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"unix://{folder}/node.sock"
        with Peer([splnode, "serve", "--listen", endpoint, "--data", f"{folder}/data"]) as node:
            node.answer()
            commands = {
                "splnode_call": [splnode, *CALL, "--to", endpoint],
                "python_pass": [sys.executable, "-c", "pass"],
            }
            cold(commands["splnode_call"])
            times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
            for _ in range(runs):  # in turn, so that what else the machine does falls on both
                for name, command in commands.items():
                    times[name].append(cold(command))
    medians = {
        f"{name}_{what}_s": statistics.median(time[place] for time in taken)
        for name, taken in times.items()
        for place, what in enumerate(("cpu", "wall"))
    }
    ratio = medians["splnode_call_wall_s"] / medians["python_pass_wall_s"]
    return {**medians, "wall_times_python": ratio, "runs": runs}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=20, help="cold starts of each (default: %(default)s)")
    try:
        print(json.dumps(measure(parser.parse_args().runs)))
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"{error} It said: {error.output.strip()}") from None
