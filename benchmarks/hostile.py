"""What peers that mean harm cost a node: memory, time, and how long the others wait.

    python -m benchmarks.hostile [--only WORD]

Runs every attack of tests/hostile/attacks.py against a node in a process of its own, and writes hostile.json and
HOSTILE.md beside this file (with `--only`, to benchmarks/out). Ends with 1 if one costs more than it may: 50 MB above
idle; and 0.1 s of the node's CPU for a single message, or 0.1 s of anybody else's waiting where there are many. Needs
`ulimit -n` of 12,000, and some minutes.
"""

import argparse
import contextlib
import datetime
import json
import os
import resource
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import machine
from tests.hostile.attacks import ATTACKS, CONFIGS, Attack, own_address
from tests.hostile.victim import Victim, execute
from tests.hostile.watch import Bystander, hello, netty_reply

HERE = Path(__file__).parent
MEMORY = 50.0
"""MB above idle."""
SECONDS = 0.1
FILES = 12_000
HEAD = """# Peers that mean harm

{when}: {count} attacks on a node with its defaults, or with limits that are soon met; `python -m benchmarks.hostile`
makes this, with all the figures in hostile.json. Memory is the most above idle, CPU the node's; *others* is the slowest
of the pings that another connection sent every 3 ms meanwhile, *next* a call on a third one as soon as the attack was
over. Machine: {machine}.

| attack | limit met | memory | CPU | others | next |
|---|---|---:|---:|---:|---:|
"""


def measure(victim: Victim, name: str, attack: Attack) -> dict[str, Any]:
    """Runs it once. `holds`: it cost no more than it may."""
    before = victim.met(attack.limit) if attack.limit else 0.0
    with hello(victim.tcp) as third, victim.attacked(name):
        attack.run(victim)
        started = time.perf_counter()
        try:
            answered = call(third)
        except (EOFError, ConnectionError):  # it has done nothing for idle_seconds
            with hello(victim.tcp) as fourth:
                answered = call(fourth)
        waited = time.perf_counter() - started
    met = victim.met(attack.limit) - before if attack.limit else 0.0
    seconds = victim.spent if attack.one else victim.waited["worst"] / 1000
    return {
        "memory_mb": round(victim.peak, 1),
        "kept_mb": round(victim.grown, 1),
        "cpu_s": round(victim.spent, 2),
        "others_p99_ms": victim.waited["p99"],
        "others_worst_ms": victim.waited["worst"],
        "next_call_ms": round(1000 * waited, 2),
        "limit": attack.limit,
        "limit_met": int(met),
        "holds": answered and victim.peak < MEMORY and seconds <= SECONDS and (met > 0 or not attack.limit),
    }


def call(sock: socket.socket) -> bool:
    """Whether a call goes well."""
    sock.sendall(execute("spl/void/noop"))
    return netty_reply(sock)[1].startswith(b"\0\0")


def measure_all(only: str) -> dict[str, Any]:
    """By name, in the order of the catalogue; one node for each config."""
    found: dict[str, Any] = {}
    address = own_address()
    for config, text in CONFIGS.items():
        chosen = {name: each for name, each in ATTACKS.items() if each.config == config and only in name}
        if not chosen:
            continue
        options = ["--insecure", "--listen", f"tcp://{address}:0"] if address else []
        text = "drain_seconds = 0.0\n" + text
        with tempfile.TemporaryDirectory() as folder, Victim(Path(folder), *options, config=text) as victim:
            victim.serves()
            with contextlib.suppress(PermissionError):  # before whatever else the machine does
                os.sched_setscheduler(victim.pid, os.SCHED_FIFO, os.sched_param(1))
                Bystander.FIRST = True
            for name, attack in chosen.items():
                if address or not attack.outside:
                    found[name] = measure(victim, name, attack)
            victim.stays_well()
    return {name: found[name] for name in ATTACKS if name in found}


def row(name: str, figures: dict[str, Any]) -> str:
    """A line of the table."""
    cells = (
        f"{figures['memory_mb']:.1f} MB", f"{figures['cpu_s']:.2f} s",
        f"{figures['others_worst_ms']:.1f} ms", f"{figures['next_call_ms']:.1f} ms",
    )  # fmt: skip
    mark = "" if figures["holds"] else " **(too much)**"
    return f"| {name}{mark} | {figures['limit'] or ' '} | {' | '.join(cells)} |\n"


def page(results: dict[str, Any]) -> str:
    """The table, with bombs of one kind as their worst."""
    rows, kinds = "", {"datum": "data", "frame": "frames", "text": "protocol texts"}
    for kind, what in kinds.items():
        members = [each for name, each in results["attacks"].items() if name.startswith(kind + ":")]
        if members:
            worst = {key: max(each[key] for each in members) for key in members[0] if key != "limit"}
            worst |= {"limit": "", "holds": all(each["holds"] for each in members)}
            rows += row(f"{len(members)} single {what}, the worst of each figure", worst)
    others = {name: each for name, each in results["attacks"].items() if name.partition(":")[0] not in kinds}
    rows += "".join(row(name, each) for name, each in others.items())
    made = "{cpu}, {cores} cores".format(**results["machine"])
    return HEAD.format(when=results["date"][:10], count=len(results["attacks"]), machine=made) + rows


def main() -> int:
    """Measures, writes, says what does not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="attacks whose name has this in it")
    only = parser.parse_args().only
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, FILES), hard), hard))
    attacks = measure_all(only)
    results = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "most": {"memory_mb": MEMORY, "seconds": SECONDS},
        "attacks": attacks,
    }
    folder = HERE / "out" if only else HERE
    folder.mkdir(exist_ok=True)
    (folder / "hostile.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    (folder / "HOSTILE.md").write_text(page(results), "utf-8")
    failed = [name for name, each in attacks.items() if not each["holds"]]
    for name in failed:
        print(f"too much: {name}: {attacks[name]}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
