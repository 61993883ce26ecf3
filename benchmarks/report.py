"""The results as text: the targets first, then the tables that they come from."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from benchmarks import plot
from benchmarks.stacks import AVSC_TCP, CAPNP, GRPC, RAW, RAW_FUTURES, THRIFT
from benchmarks.targets import TARGETS, Figures

MISSING = "-"
BUSY = 0.2
"""CPUs in use by others, the median over all rounds, from which on the report warns."""

Medians = dict[str, Any]
Column = tuple[str, Callable[[Medians], str]]
"""Its head, and what it shows of a stack's medians."""


def text(results: dict[str, Any]) -> str:
    """RESULTS.md, which is also what the script prints."""
    parts = [_head(results), _targets(results)]
    parts.append(f"![Calls a second, and the wait for one call, of all stacks]({plot.NAME})")
    parts += _calls(results["stacks"])
    if "codec" in results:
        parts += _codec(results["codec"])
    parts += _beside(results)
    parts += _profile(results.get("profile", {}))
    return "\n\n".join(part for part in parts if part) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns: the first to the left, the others to the right."""
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [cells[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True)]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (w + 1) + (":" if place else "-") for place, w in enumerate(widths)) + "|"
    return "\n".join([line(head), rule, *(line(row) for row in rows)])


def ratio(value: float) -> str:
    """With as many digits as it is good for."""
    return format(value, ".1f" if value >= 10 else ".2f" if value >= 0.1 else ".3f")


def _head(results: dict[str, Any]) -> str:
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    elsewhere = [row["elsewhere"] for stack in results["stacks"] for rows in stack["rounds"].values() for row in rows]
    busy = sorted(elsewhere)[len(elsewhere) // 2] if elsewhere else 0.0
    rough = "\nA quick run: rough numbers.\n" if results["quick"] else ""
    if busy > BUSY:
        rough += "\n**Others used this machine meanwhile: the rates are too low and the ratios rough.**\n"
    return f"""# Results

Written by `scripts/bench` on {results["date"]} in {results["took_s"]:.0f} s.
{rough}
- Machine: {machine["cpu"]}, {machine["cores"]} cores, {machine["memory_gib"]} GiB, Linux {machine["kernel"]}; \
load {machine["load_before"]} before; beside the measured processes the machine used {busy:.2f} of a CPU (median).
- Versions: {versions}.
- The call: a module of 20 characters, 3 headers, 64 bytes of value (163 bytes in Avro), or 256 KiB or 8 MiB of value;
  it comes back as it went. Client and server are processes of their own, on loopback. splnode runs with its defaults,
  but for messages as large as 16 MiB and four times that to be held: 8 MiB is more than the default allows.
- Medians of {results["rounds"]} rounds of {results["seconds"]} s, the stacks in turn. One at a time: both ends on one \
CPU. Rates: each end on a CPU of its own, but node and grpc, which use threads, wherever they like.
- "raw" is `{RAW}`: what uvloop and the kernel can do without any RPC; "futures" the same with a future for each
  call, what asyncio can do. Latency: times raw, less is better. Rates: shares and multiples, more is better."""


def _targets(results: dict[str, Any]) -> str:
    figures, rows, met, lacking = Figures(results), [], 0, []
    for target in TARGETS:
        got = target.measured(figures)
        said = MISSING if got is None else f"{ratio(got)}{target.unit and ' ' + target.unit}"
        verdict = "not measured" if got is None else "met" if target.is_met(got) else "**not met**"
        met += verdict == "met"
        if target.lacking and got is not None and not target.is_met(got):
            lacking.append(f"- {target.what}: {' '.join(target.lacking.split())}")
        rows.append([target.what, target.wanted, said, verdict])
    counted = f"{met} of {len(TARGETS)} are met. A target that names a stack is a ratio to it, of this run."
    parts = ["## Targets", counted, table(["what", "target", "measured", ""], rows)]
    if lacking:
        parts += ["What it would take to reach those that are not met:", "\n".join(lacking)]
    return "\n\n".join(parts)


# -- the stacks


def _calls(stacks: list[dict[str, Any]]) -> list[str]:
    medians = {stack["stack"]: stack["medians"] for stack in stacks}

    def number(kind: str, key: str, head: str, form: str) -> Column:
        return head, lambda got: format(got[kind][key], form)

    def times(kind: str, key: str, base: str, head: str) -> Column:
        def show(got: Medians) -> str:
            under = medians.get(base, {}).get(kind)
            return ratio(got[kind][key] / under[key]) if under else MISSING

        return head, show

    flood: list[Column] = [
        number("flood", "rate", "calls/s", ",.0f"),
        times("flood", "rate", RAW, "of raw"),
        times("flood", "rate", RAW_FUTURES, "of futures"),
        times("flood", "rate", GRPC, "x grpc.aio"),
        times("flood", "rate", AVSC_TCP, "x avsc"),
        times("flood", "rate", CAPNP, "x pycapnp"),
        number("flood", "cpu_us", "CPU us a call", ".2f"),
    ]
    fan = [
        number("fan", "rate", "calls/s", ",.0f"),
        times("fan", "rate", RAW, "of raw"),
        times("fan", "rate", RAW_FUTURES, "of futures"),
        number("fan", "cpu_us", "CPU us a call", ".2f"),
    ]
    one = [
        number("one", "p50", "p50 us", ".1f"),
        times("one", "p50", RAW, "of raw"),
        times("one", "p50", THRIFT, "of thriftpy2"),
        number("one", "p99", "p99 us", ".1f"),
        times("one", "p99", RAW, "of raw"),
    ]
    large: list[Column] = []
    for kind, size in (("large", "256 KiB"), ("huge", "8 MiB")):
        large.append(number(kind, "mb_s", f"{size}: MB/s", ",.0f"))
        large += [times(kind, "mb_s", RAW, "of raw"), times(kind, "mb_s", AVSC_TCP, "x avsc")]
    return [
        _stacks("64 in flight on one connection", "flood", stacks, flood),
        _stacks("64 connections, one call on each", "fan", stacks, fan),
        _stacks("One at a time", "one", stacks, one),
        _stacks("Large values", "large", stacks, large),
        _notes(stacks),
    ]


def _stacks(title: str, kind: str, stacks: list[dict[str, Any]], columns: list[Column]) -> str:
    """The stacks that took part in this kind of round, or should have."""
    rows = [
        [stack["stack"], *(_cell(show, stack["medians"]) for _, show in columns)]
        for stack in stacks
        if kind in stack["medians"] or (stack["failed"] and kind in stack["kinds"])
    ]
    return f"## {title}\n\n" + table(["stack", *(head for head, _ in columns)], rows) if rows else ""


def _cell(show: Callable[[Medians], str], medians: Medians) -> str:
    try:
        return show(medians)
    except KeyError:
        return MISSING


def _notes(stacks: list[dict[str, Any]]) -> str:
    failed = [f"- {stack['stack']}: **{stack['failed']}**" for stack in stacks if stack["failed"]]
    notes = [f"- {stack['stack']}: {stack['note']}." for stack in stacks if stack["note"] and not stack["failed"]]
    return "\n".join([*failed, *notes])


# -- the codecs

RECORDS = {
    "small": "The small request, one process, no RPC.",
    "nested": "A nested record of 30 fields: arrays, maps, unions, an enum, fixed.",
}


def _codec(codec: dict[str, Any]) -> list[str]:
    if "failed" in codec:
        return ["## Codec", f"**failed: {codec['failed']}**"]
    parts = ["## Codec"]
    for record, about in RECORDS.items():
        if found := [row for row in codec["rows"] if row["record"] == record]:
            parts += [about, *_record(found)]
    rows = [
        [
            row["codec"],
            f"{row['plain_ns']:,.0f}",
            f"{row['resolved_ns']:,.0f}",
            f"{row['resolved_ns'] / row['plain_ns']:.2f}",
        ]
        for row in codec.get("resolution", ())
    ]
    if rows:
        parts += ["The nested record, decoded for its own schema and for that of another program.",
                  table(["codec", "own ns", "other ns", "times"], rows)]  # fmt: skip
    return parts


def _record(found: Iterable[dict[str, Any]]) -> list[str]:
    both = {row["codec"]: row["encode_ns"] + row["decode_ns"] for row in found if "failed" not in row}
    rows, notes = [], []
    for row in found:
        name = row["codec"]
        if "failed" in row:
            notes.append(f"- {name}: **{row['failed']}**")
            rows.append([name, *[MISSING] * 5])
            continue
        times = ratio(both["fastavro"] / both[name]) if "fastavro" in both else MISSING
        cells = (f"{row[key]:,.0f}" for key in ("encode_ns", "decode_ns"))
        rows.append([name, str(row["bytes"]), *cells, f"{both[name]:,.0f}", times])
    return [table(["codec", "bytes", "encode ns", "decode ns", "both ns", "x fastavro"], rows), "\n".join(notes)]


# -- the rest


SHARED = "`splnode serve --workers N`, called over 16 connections by a client that only counts and shares their CPUs."
SOAK = """Small, large, failing, one-way and cancelled calls, deadlines that pass, connections that come and go; the
memory that is resident with all connections closed. From `python -m benchmarks.soak` of {date:.10}, {took_s:.0f} s."""


def _beside(results: dict[str, Any]) -> list[str]:
    parts = []
    if workers := _workers(results.get("workers")):
        parts += ["## Workers", SHARED, workers]
    rows = [row for name, lines in BUDGETS.items() if (got := results.get(name)) for row in _budget(name, got, lines)]
    if rows:
        parts += ["## Memory, and the shell", table(["what", "measured"], rows)]
    if soak := results.get("soak"):
        parts += ["## Soak", SOAK.format_map(soak), _marks(soak)]
    return parts


def _marks(soak: dict[str, Any]) -> str:
    rows = [
        [f"{mark['calls']:,}", *(f"{mark[end]:.1f}" for end in ("server_mib", "client_mib"))] for mark in soak["marks"]
    ]
    return table(["calls", "server MiB", "client MiB"], rows)


def _workers(got: dict[str, Any] | None) -> str:
    if got is None:
        return ""
    if "failed" in got:
        return f"**failed: {got['failed']}**"
    first = got["rows"][0]["rate"]
    rows = [[str(row["workers"]), f"{row['rate']:,.0f}", ratio(row["rate"] / first)] for row in got["rows"]]
    return table(["workers", "calls/s", "times one"], rows)


WHERE = """Microseconds of CPU a call of `splnode, TCP`, as perf saw them; to look costs some time too. All code that is
written in Python is one function to it, the interpreter's. The kernel's time is that of the socket, and of going to
sleep and waking."""
KINDS = {"flood": "64 in flight", "one": "one at a time, both ends on one CPU"}


def _profile(profile: dict[str, Any]) -> list[str]:
    """Where the time goes, by part and by function."""
    parts = ["## Where the time goes", WHERE] if profile else []
    for kind, ends in profile.items():
        if "failed" in ends:
            parts.append(f"- {KINDS[kind]}: {ends['failed']}")
            continue
        names = list(dict.fromkeys(name for seen in ends.values() for name in seen["parts"]))
        rows = [
            [end, f"{seen['us']:.2f}", *(f"{seen['parts'].get(name, 0):.2f}" for name in names)]
            for end, seen in ends.items()
        ]
        parts.append(table([KINDS[kind], "all", *names], rows))
        lines = zip(*(seen["functions"] for seen in ends.values()), strict=False)
        cells = [[cell for own, part, name in line for cell in (f"{part}: {name}", f"{own:.2f}")] for line in lines]
        parts.append(table([cell for end in ends for cell in (end, "us")], cells))
    return parts


def _budget(name: str, got: dict[str, Any], lines: tuple[tuple[str, str, str, float], ...]) -> list[list[str]]:
    if "failed" in got:
        return [[name, f"failed: {got['failed']}"]]
    return [[what, f"{got[key] * scale:,.2f} {unit}".rstrip()] for key, what, unit, scale in lines]


BUDGETS: dict[str, tuple[tuple[str, str, str, float], ...]] = {
    "idle": (
        ("bytes_per_connection", "an idle connection of 10,000: memory of the server", "kB", 1e-3),
        ("alone_p50_us", "a call before: p50", "us", 1),
        ("call_p50_us", "a call meanwhile: p50", "us", 1),
    ),
    "slow_reader": (
        ("growth_mib", "a client that never reads: growth of the server", "MiB", 1),
        ("p50_before_us", "another client's calls before: p50", "us", 1),
        ("p50_during_us", "another client's calls meanwhile: p50", "us", 1),
        ("p99_before_us", "another client's calls before: p99", "us", 1),
        ("p99_during_us", "another client's calls meanwhile: p99", "us", 1),
    ),
    "shell": (
        ("splnode_call_wall_s", "`splnode call` against a running node, cold: wall", "ms", 1e3),
        ("splnode_call_cpu_s", "the same: CPU", "ms", 1e3),
        ("python_pass_wall_s", "`python -c pass`: wall", "ms", 1e3),
        ("python_pass_cpu_s", "the same: CPU", "ms", 1e3),
    ),
}
