"""Metrics: what was counted, as families of samples, and as text that Prometheus reads.

A family is `{"name", "kind", "help", "samples"}`, a sample `{"name", "labels", "value"}`, as in the protocol
splnode.Metrics, and so as processes of one node tell each other. Nothing is counted here: tallies and hosts do that
where the calls are, and these functions read them when somebody asks.

Text: https://prometheus.io/docs/instrumenting/exposition_formats/, "Text-based format", version 0.0.4.
"""

import math
import os
import resource
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from splnode.rpc.tally import Tally

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]
Sample = dict[str, Any]
Family = dict[str, Any]

_STARTED: Final = time.time()
_PLAIN: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})
_QUOTED: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def family(name: str, kind: str, text: str, samples: Iterable[tuple[Labels, float]]) -> Family:
    """A COUNTER or GAUGE, with a sample for each set of labels."""
    made = [{"name": name, "labels": dict(labels), "value": float(value)} for labels, value in samples]
    return {"name": name, "kind": kind, "help": text, "samples": made}


def calls(services: Mapping[str, Mapping[str, Tally]]) -> list[Family]:
    """What the tallies of each message of each service say."""
    tallies = [
        ({"service": service, "message": message}, tally)
        for service, messages in services.items()
        for message, tally in messages.items()
    ]
    ended = [
        ({**labels, "code": code}, count)
        for labels, tally in tallies
        for code, count in [("OK", tally.calls - tally.failures.total()), *sorted(tally.failures.items())]
    ]
    times = [sample for labels, tally in tallies if tally.calls for sample in _times(labels, tally)]
    return [
        family("splnode_calls_total", "COUNTER", "Calls that have ended, by how they ended.", ended),
        family(
            "splnode_calls_in_flight",
            "GAUGE",
            "Calls that wait for a place or run.",
            [(labels, tally.in_flight) for labels, tally in tallies],
        ),
        {
            "name": "splnode_call_seconds",
            "kind": "HISTOGRAM",
            "help": "How long calls took, from the moment they were read to that of their answer.",
            "samples": times,
        },
    ]


def _times(labels: Labels, tally: Tally) -> Iterable[Sample]:
    total = 0
    for bound, count in tally.times:
        total += count
        yield _sample("splnode_call_seconds_bucket", {**labels, "le": _number(bound)}, total)
    yield _sample("splnode_call_seconds_sum", labels, tally.seconds)
    yield _sample("splnode_call_seconds_count", labels, total)


def _sample(name: str, labels: Labels, value: float) -> Sample:
    return {"name": name, "labels": dict(labels), "value": float(value)}


def traffic(connected: int, accepted: int, refused: int, received: int, sent: int) -> list[Family]:
    """The connections of peers: those open now, all so far, and their bytes."""
    found = {
        "splnode_connections": ("GAUGE", "Connections of peers that are open.", connected),
        "splnode_connections_accepted_total": ("COUNTER", "Connections of peers so far.", accepted),
        "splnode_connections_refused_total": ("COUNTER", "Those refused: there were as many as there may be.", refused),
        "splnode_received_bytes_total": ("COUNTER", "Bytes that came from peers.", received),
        "splnode_sent_bytes_total": ("COUNTER", "Bytes for peers, those that still wait for them too.", sent),
    }
    return [family(name, kind, text, [({}, value)]) for name, (kind, text, value) in found.items()]


def bounds(limits: Mapping[str, float], reached: Iterable[str]) -> list[Family]:
    """The value of each limit, and how often each was met: those that were not, too, so that a rate can be taken."""
    values = [({"limit": name}, value) for name, value in limits.items()]
    return [
        family("splnode_limit", "GAUGE", "The limits of each process, by their names in [limits]; 0: none.", values),
        met({**dict.fromkeys(limits, 0), **dict.fromkeys(reached, 0)}),
    ]


def met(reached: Mapping[str, int]) -> Family:
    """How often each limit was met."""
    text = "How often a limit was met: something was refused, dropped or had to wait."
    return family(
        "splnode_limit_reached_total", "COUNTER", text, [({"limit": name}, count) for name, count in reached.items()]
    )


def unshaken(failures: Mapping[str, int]) -> Family:
    """TLS handshakes of clients that came to nothing."""
    text = "TLS handshakes of clients that came to nothing, by why: see splnode.net.tls_reasons."
    samples = [({"why": why}, count) for why, count in failures.items()]
    return family("splnode_tls_handshakes_failed_total", "COUNTER", text, samples)


def held(greeting: int, held: Mapping[str, int], protocols: int, identities: int) -> list[Family]:
    """What peers have the node keep for them, each of which a limit bounds."""
    return [
        family("splnode_handshakes", "GAUGE", "Connections that have sent no whole message yet.", [({}, greeting)]),
        family(
            "splnode_held_bytes",
            "GAUGE",
            "Bytes held for peers beyond a little for each: parts of messages, large calls that run, answers not read.",
            [({"what": what}, size) for what, size in held.items()],
        ),
        family("splnode_client_protocols", "GAUGE", "Protocols of clients that are kept.", [({}, protocols)]),
        family("splnode_metered_identities", "GAUGE", "Identities whose rate is watched.", [({}, identities)]),
    ]


def access(denied: Mapping[str, int], lost: int) -> list[Family]:
    """Calls that somebody was not allowed to make, and lines of the audit log that were not written."""
    codes = [({"code": code}, count) for code, count in denied.items()]
    return [
        family("splnode_calls_denied_total", "COUNTER", "Calls refused by the policy, or for their token.", codes),
        family("splnode_audit_lines_lost_total", "COUNTER", "Lines of the audit log not written.", [({}, lost)]),
    ]


def tasks(count: int) -> Family:
    """The tasks of this process's loop."""
    text = "Tasks of asyncio: many more than calls that run, and ever more of them, are left behind by a handler."
    return family("splnode_tasks", "GAUGE", text, [({}, count)])


def places(running: int, waiting: int) -> list[Family]:
    """What the admission has let in, and what waits for it."""
    return [
        family("splnode_handlers_running", "GAUGE", "Calls that have a place.", [({}, running)]),
        family("splnode_calls_waiting", "GAUGE", "Calls that wait for a place.", [({}, waiting)]),
    ]


def certificate(expires: float) -> Family:
    """When the node's certificate ends, in seconds since 1970."""
    text = "When the node's certificate ends, as seconds since 1970."
    return family("splnode_certificate_expires_seconds", "GAUGE", text, [({}, expires)])


def process(labels: Labels | None = None) -> list[Family]:
    """This process, under the names that Prometheus's own clients use; `labels` tell it from others of the node."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    virtual, resident = _memory()
    found = {
        "process_cpu_seconds_total": ("COUNTER", "User and system time used.", used.ru_utime + used.ru_stime),
        "process_resident_memory_bytes": ("GAUGE", "Memory in RAM.", resident),
        "process_virtual_memory_bytes": ("GAUGE", "Memory addressed.", virtual),
        "process_open_fds": ("GAUGE", "Open file descriptors.", _descriptors()),
        "process_max_fds": ("GAUGE", "File descriptors that it may open.", most if most >= 0 else None),
        "process_start_time_seconds": ("GAUGE", "When it started, since 1970.", _start_time()),
    }
    return [
        family(name, kind, text, [(labels or {}, value)])
        for name, (kind, text, value) in found.items()
        if value is not None
    ]


def _memory() -> tuple[float | None, float | None]:
    """Virtual and resident bytes; None where the system does not tell. (proc(5), /proc/self/statm)"""
    try:
        pages = Path("/proc/self/statm").read_text("ascii").split()
    except OSError:
        return None, None
    size = os.sysconf("SC_PAGE_SIZE")
    return float(pages[0]) * size, float(pages[1]) * size


def _descriptors() -> float | None:
    try:
        return len(os.listdir("/proc/self/fd")) - 1.0  # noqa: PTH208 - names alone; less the one that lists
    except OSError:
        return None


@cache
def _start_time() -> float:
    """From the kernel, else about when this module was loaded. (proc(5), /proc/self/stat: starttime)"""
    try:
        ticks = float(Path("/proc/self/stat").read_text("utf-8").rpartition(")")[2].split()[19])
        lines = Path("/proc/stat").read_text("ascii").splitlines()
        booted = next(float(line.split()[1]) for line in lines if line.startswith("btime "))
    except (OSError, StopIteration, ValueError, IndexError):
        return _STARTED
    return booted + ticks / os.sysconf("SC_CLK_TCK")


def build(version: str, engine: str) -> Family:
    """What runs: a gauge that is 1, as is the custom for what is told in labels."""
    python = ".".join(map(str, sys.version_info[:3]))
    labels = {"version": version, "engine": engine, "python": python}
    return family("splnode_build_info", "GAUGE", "What runs, in labels.", [(labels, 1)])


def merge(parts: Iterable[Sequence[Family]]) -> list[Family]:
    """Several processes as one: samples of the same name and labels are added up."""
    families: dict[str, Family] = {}
    sums: dict[str, dict[tuple[str, frozenset[tuple[str, str]]], Sample]] = {}
    for part in parts:
        for each in part:
            name = each["name"]
            families.setdefault(name, each)
            known = sums.setdefault(name, {})
            for sample in each["samples"]:
                key = (sample["name"], frozenset(sample["labels"].items()))
                if key in known:
                    known[key]["value"] += sample["value"]
                else:
                    known[key] = dict(sample)
    return [{**each, "samples": list(sums[name].values())} for name, each in families.items()]


def lasting(families: Iterable[Family]) -> list[Family]:
    """Those that must not become less when a process ends: a reader takes that for the start of the node."""
    return [each for each in families if each["kind"] in ("COUNTER", "HISTOGRAM")]


def text(families: Iterable[Family]) -> str:
    """All of them in Prometheus's text format. A family without a sample is left out."""
    lines: list[str] = []
    for each in families:
        if each["samples"]:
            lines.append(f"# HELP {each['name']} {each['help'].translate(_PLAIN)}\n")
            lines.append(f"# TYPE {each['name']} {each['kind'].lower()}\n")
            lines += map(_line, each["samples"])
    return "".join(lines)


def _line(sample: Sample) -> str:
    labels = ",".join(f'{name}="{value.translate(_QUOTED)}"' for name, value in sample["labels"].items())
    shown = f"{{{labels}}}" if labels else ""
    return f"{sample['name']}{shown} {_number(sample['value'])}\n"


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
