"""What is asked of the machine: where processes run, what CPU time they used, what it is made of."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PACKAGES = (
    "splnode", "uvloop", "msgspec", "avro", "fastavro",
    "grpcio", "protobuf", "thriftpy2", "pycapnp", "pyzmq", "aiohttp",
)  # fmt: skip
_CPUCLOCK_SCHED = 2
"""What clock_getcpuclockid(3) makes of a pid on Linux: `~pid << 3 | CPUCLOCK_SCHED`."""
_TICKS = os.sysconf("SC_CLK_TCK")


def _threads(pid: int) -> list[int]:
    return [int(path.name) for path in Path(f"/proc/{pid}/task").iterdir()]


def pin(pids: Sequence[int], *, together: bool, apart: bool) -> None:
    """Puts processes on CPUs: all on the first one, or each on its own, or wherever they like.

    With fewer CPUs than processes only `together` has an effect.
    """
    cpus = sorted(os.sched_getaffinity(0))
    for place, pid in enumerate(pids):
        if together:
            chosen = {cpus[0]}
        elif apart and len(cpus) >= len(pids):
            chosen = {cpus[place]}
        else:
            chosen = set(cpus)
        for thread in _threads(pid):
            os.sched_setaffinity(thread, chosen)


def cpu_seconds(pids: Sequence[int]) -> float:
    """CPU time that these processes used so far, ended threads included. OSError if one has ended."""
    return sum(time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED) for pid in pids)


def busy_seconds() -> float:
    """CPU time that the whole machine used so far (without idle, waiting and stolen time)."""
    fields = [int(text) for text in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq = fields[:7]
    return (user + nice + system + irq + softirq) / _TICKS


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM (RSS)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def describe() -> dict[str, Any]:
    """CPU, cores, memory, kernel, and how busy it was before."""
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """The versions of all that takes part; what is missing is left out."""
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    if shutil.which("node"):
        found["node"] = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return found
