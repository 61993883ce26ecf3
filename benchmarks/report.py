"""The results as text: one Markdown table for the stacks, one for the codecs, one for the budgets."""

from collections.abc import Sequence
from typing import Any

from benchmarks.stacks import GRPC, RAW, RAW_FUTURES

MISSING = "-"
BUSY = 0.2
"""CPUs in use by others, the median over all rounds, from which on the report warns."""


def text(results: dict[str, Any]) -> str:
    """RESULTS.md, which is also what the script prints."""
    parts = [_head(results), _stacks(results["stacks"])]
    if "codec" in results:
        parts.append(_codec(results["codec"]))
    if "shell" in results:
        parts.append(_budgets(results))
    return "\n\n".join(part for part in parts if part) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns: the first to the left, the others to the right."""
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [cells[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True)]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (w + 1) + (":" if place else "-") for place, w in enumerate(widths)) + "|"
    return "\n".join([line(head), rule, *(line(row) for row in rows)])


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
- The call: a module of 20 characters, 3 headers, 64 bytes of value (163 bytes in Avro), or 256 KiB of value; it
  comes back as it went. Client and server are processes of their own, on loopback.
- Medians of {results["rounds"]} rounds of {results["seconds"]} s, the stacks in turn. "One at a time" has both ends \
on one CPU.
- "raw" is `{RAW}`: what uvloop and the kernel can do without any RPC. Latency: how many times raw, less is
  better. Rates: the share of raw, and how many times grpc.aio; more is better."""


def _stacks(stacks: list[dict[str, Any]]) -> str:
    medians = {stack["stack"]: stack["medians"] for stack in stacks}
    raw, grpc = medians.get(RAW, {}), medians.get(GRPC, {})
    head = ["stack", "p50 us", "of raw", "p99 us", "of raw", "calls/s, 64 in flight", "of raw", "of grpc", "CPU us",
            "256 KiB MB/s", "of raw", "of grpc"]  # fmt: skip
    fan = any("fan" in got for got in medians.values())
    if fan:
        head += ["64 x 1 calls/s", "of futures"]
    rows, notes = [], []
    for stack in stacks:
        got = stack["medians"]
        if stack["failed"]:
            notes.append(f"- {stack['stack']}: **{stack['failed']}**")
        elif stack["note"]:
            notes.append(f"- {stack['stack']}: {stack['note']}.")
        row = [stack["stack"]]
        row += [_number(got, "one", "p50", ".1f"), _ratio(got, raw, "one", "p50")]
        row += [_number(got, "one", "p99", ".1f"), _ratio(got, raw, "one", "p99")]
        row += [_number(got, "flood", "rate", ",.0f"), _ratio(got, raw, "flood", "rate")]
        row += [_ratio(got, grpc, "flood", "rate"), _number(got, "flood", "cpu_us", ".2f")]
        row += [_number(got, "large", "mb_s", ",.0f"), _ratio(got, raw, "large", "mb_s")]
        row += [_ratio(got, grpc, "large", "mb_s")]
        if fan:
            row += [_number(got, "fan", "rate", ",.0f"), _ratio(got, medians.get(RAW_FUTURES, {}), "fan", "rate")]
        rows.append(row)
    return "\n\n".join(["## Calls", table(head, rows), "\n".join(notes)])


def _number(got: dict[str, Any], kind: str, key: str, form: str) -> str:
    return format(got[kind][key], form) if kind in got and key in got[kind] else MISSING


def _ratio(got: dict[str, Any], base: dict[str, Any], kind: str, key: str) -> str:
    if kind not in got or kind not in base:
        return MISSING
    ratio = got[kind][key] / base[kind][key]
    return format(ratio, ".1f" if ratio >= 10 else ".2f" if ratio >= 0.1 else ".3f")


def _codec(codec: dict[str, Any]) -> str:
    if "failed" in codec:
        return f"## Codec\n\n**failed: {codec['failed']}**"
    parts = ["## Codec", "One process, no RPC."]
    for record, what in CODEC_RECORDS.items():
        rows = [row for row in codec["rows"] if row["record"] == record]
        parts += [what, *_codec_rows(rows)] if rows else []
    if codec.get("resolution"):
        rows = []
        for row in codec["resolution"]:
            plain, resolved = row["plain_ns"], row["resolved_ns"]
            rows.append([row["codec"], f"{plain:,.0f}", f"{resolved:,.0f}", f"{resolved / plain:.2f}"])
        parts += [RESOLUTION, table(["codec", "own schema ns", "other schema ns", "times"], rows)]
    return "\n\n".join(part for part in parts if part)


def _codec_rows(codecs: list[dict[str, Any]]) -> tuple[str, str]:
    """The table of one record, and what is to be said of those that have no figures."""
    base = next((row for row in codecs if row["codec"] == "fastavro" and not row.get("failed")), None)
    rows, notes = [], []
    for row in codecs:
        if row.get("failed"):
            notes.append(f"- {row['codec']}: **{row['failed']}**")
            rows.append([row["codec"], *[MISSING] * 5])
            continue
        both = row["encode_ns"] + row["decode_ns"]
        times = format((base["encode_ns"] + base["decode_ns"]) / both, ".2f") if base else MISSING
        cells = (f"{row[key]:,.0f}" for key in ("encode_ns", "decode_ns"))
        rows.append([row["codec"], str(row["bytes"]), *cells, f"{both:,.0f}", times])
    head = ["codec", "bytes", "encode ns", "decode ns", "both ns", "times fastavro"]
    return table(head, rows), "\n".join(notes)


CODEC_RECORDS = {
    "small": "The small request.",
    "nested": "A nested record of 30 fields (arrays, maps, unions, an enum, fixed, records).",
}
RESOLUTION = "The nested record decoded for another schema: fields in another order, renamed, widened, dropped, added."


def _budgets(results: dict[str, Any]) -> str:
    rows = []
    for name, lines in BUDGETS.items():
        got = results.get(name)
        if got is None:
            continue
        if "failed" in got:
            rows.append([name, f"failed: {got['failed']}", MISSING])
            continue
        rows += [[what, f"{got[key] * scale:,.2f} {unit}", budget] for key, what, unit, scale, budget in lines]
    return "\n\n".join(["## Budgets", table(["what", "measured", "budget"], rows)])


BUDGETS: dict[str, tuple[tuple[str, str, str, float, str], ...]] = {
    "shell": (
        ("splnode_call_cpu_s", "`splnode call` against a running node, cold: CPU", "s", 1, "0.25 s"),
        ("splnode_call_wall_s", "the same: wall", "s", 1, MISSING),
        ("python_pass_cpu_s", "`python -c pass`: CPU", "s", 1, MISSING),
    ),
    "idle": (
        ("bytes_per_connection", "an idle connection of 10,000: memory of the server", "kB", 1e-3, "20 kB"),
        ("call_p50_us", "a call meanwhile: p50", "us", 1, MISSING),
    ),
    "slow_reader": (
        ("growth_mib", "a client that never reads: growth of the server", "MiB", 1, MISSING),
        ("p50_before_us", "another client's calls before: p50", "us", 1, MISSING),
        ("p50_during_us", "another client's calls meanwhile: p50", "us", 1, MISSING),
        ("p99_before_us", "another client's calls before: p99", "us", 1, MISSING),
        ("p99_during_us", "another client's calls meanwhile: p99", "us", 1, MISSING),
    ),
}
