"""What was measured of faults: a table that is printed, and kept where somebody asks for that."""

import json
import os
from pathlib import Path

from tests.hosts.calls import Calls

HEADING = f"{'fault':<50} {'calls':>6} {'lost':>5} {'longest gap':>12} {'evicted':>10} {'found again':>12}"


class Figures:
    """The figures of one module's tests. `close` prints them, and adds them to the file that SPLNODE_FIGURES names."""

    def __init__(self, prefix: str = "") -> None:
        self.faults: dict[str, dict[str, float]] = {}
        self._prefix = prefix

    def add(self, fault: str, calls: Calls, since: float, **more: float) -> None:
        """What `calls` saw since the fault began; times in seconds."""
        self.faults[self._prefix + fault] = {
            "calls": len(calls.since(since)),
            "lost": len(calls.lost(since)),
            "longest_gap": round(calls.gap(since), 3),
            "last_failure": round(calls.last_failure(since), 3),
            "evicted": round(calls.evicted(since), 3),
            **{name: round(value, 3) for name, value in more.items()},
        }

    def close(self) -> None:
        """Says what was measured."""
        print(f"\n{HEADING}")
        for fault, figures in self.faults.items():
            print(
                f"{fault:<50} {figures['calls']:>6} {figures['lost']:>5} {figures['longest_gap']:>10.2f} s "
                f"{figures['evicted']:>8.2f} s {_last(figures):>12}"
            )
        if os.environ.get("SPLNODE_FIGURES"):
            path = Path(os.environ["SPLNODE_FIGURES"])
            kept = json.loads(path.read_text()) if path.exists() else {}
            path.write_text(json.dumps({**kept, **self.faults}, indent=1) + "\n")


def _last(figures: dict[str, float]) -> str:
    if "share_of_slow" in figures:
        return f"{figures['share_of_slow']:.0%} of calls to it, p99 {figures['p99'] * 1000:.0f} ms"
    return f"{figures['found_again']:10.2f} s" if "found_again" in figures else ""


def keep(entries: dict[str, dict[str, float]]) -> None:
    """Adds them to the file that SPLNODE_FIGURES names, if it names one."""
    if os.environ.get("SPLNODE_FIGURES"):
        path = Path(os.environ["SPLNODE_FIGURES"])
        kept = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**kept, **entries}, indent=1) + "\n")
