"""What is to be reached, each as a figure of one run: a list that a person reads, and that the report goes through.

A target is a ratio to another stack of the same run, so that it holds on any machine; a few are absolute (CPU time,
memory), and say their unit.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks import stacks

ENGINE = "splnode native"
CPU = """The kernel has 1.1 to 1.3 us of it, and nearly half of that goes into falling asleep and waking the other end,
which is dear for a virtual CPU that halts: the raw echo's own figure goes from 1.3 to 1.7 us between rounds, and this
one with it. Fewer and larger writes do not help, since both ends then sleep in turn. Of the rest the dicts that are
made and dropped, six a call with the caller's and the handler's own, have about 0.5 us, and the step of the caller's
task 0.2 us. It would take values that are no dicts, or a machine that wakes its CPUs at less cost."""
ALONE = """The raw echo with futures, the least that a call awaited in asyncio costs, is at about the same: what is left
is the loop's own, and a caller's coroutine. It would take a loop that resumes the caller without a turn of its own."""
SLOWEST = """The slowest hundredth are calls that the kernel interrupts, of every stack: its timer alone (250 times a
second) hits one call in 170, and one in 180 of the raw echo's, and what else runs on the machine about as many; each
of those takes twice as long. The edge of the hundredth lies among them, so that the figure of a round goes from 43 to
68 us, and the raw echo's from 31 to 46 us. More rounds would steady it; less would take fewer interrupts."""
PLAIN = "splnode plain"
MSGSPEC = "msgspec.msgpack"


class Figures:
    """The figures of a run by name. KeyError for what was not measured, or failed."""

    def __init__(self, results: dict[str, Any]) -> None:
        self._results = results
        self._calls = {row["stack"]: row["medians"] for row in results["stacks"]}

    def call(self, stack: str, kind: str, key: str) -> float:
        """The median of a stack's rounds: `kind` of `run.ORDERS`, `key` p50, p99, rate, cpu_us or mb_s."""
        return float(self._calls[stack][kind][key])

    def codec(self, record: str, codec: str) -> float:
        """Nanoseconds to encode and decode a record."""
        row = self._row("rows", record=record, codec=codec)
        return float(row["encode_ns"] + row["decode_ns"])

    def resolution(self, codec: str) -> float:
        """How many times as long it takes to decode for another schema."""
        row = self._row("resolution", codec=codec)
        return float(row["resolved_ns"] / row["plain_ns"])

    def other(self, benchmark: str, key: str) -> float:
        """What one of the small benchmarks measured."""
        return float(self._results[benchmark][key])

    def _row(self, table: str, **wanted: str) -> dict[str, Any]:
        for row in self._results["codec"][table]:
            if all(row[key] == value for key, value in wanted.items()):
                found: dict[str, Any] = row
                return found
        raise KeyError(f"{table}: {wanted}")


@dataclass(frozen=True)
class Target:
    """One line of the table. `least`: the figure must be at least `bound`, else at most.

    `lacking` says what it would take, for the report of a run that does not reach it.
    """

    what: str
    bound: float
    figure: Callable[[Figures], float]
    least: bool
    unit: str = ""
    lacking: str = ""

    @property
    def wanted(self) -> str:
        """The bound in words."""
        return f"at {'least' if self.least else 'most'} {self.bound:g}{self.unit and ' ' + self.unit}"

    def measured(self, figures: Figures) -> float | None:
        """The figure of this run; None if it was not measured."""
        try:
            return self.figure(figures)
        except (KeyError, ZeroDivisionError):
            return None

    def is_met(self, measured: float) -> bool:
        """Whether a figure reaches it."""
        return measured >= self.bound if self.least else measured <= self.bound


def _ratio(kind: str, key: str, ours: str, theirs: str) -> Callable[[Figures], float]:
    return lambda figures: figures.call(ours, kind, key) / figures.call(theirs, kind, key)


def _calls() -> Iterator[Target]:
    tcp, many = stacks.OURS, "64 in flight on one connection: "
    for bound, ours, theirs in (
        (0.45, tcp, stacks.RAW),
        (0.8, tcp, stacks.RAW_FUTURES),
        (45, tcp, stacks.GRPC),
        (6, tcp, stacks.AVSC_TCP),
        (3.5, stacks.OURS_UNIX, stacks.AVSC_UNIX),
        (8, tcp, stacks.CAPNP),
    ):
        yield Target(f"{many}calls/s of {theirs}", bound, _ratio("flood", "rate", ours, theirs), True)
    cpu: Callable[[Figures], float] = lambda got: got.call(tcp, "flood", "cpu_us")  # noqa: E731 - one line of a list
    yield Target(f"{many}CPU a call, both ends", 3.5, cpu, False, "us", CPU)
    rate = _ratio("fan", "rate", tcp, stacks.RAW_FUTURES)
    yield Target(f"64 connections of 1: calls/s of {stacks.RAW_FUTURES}", 0.9, rate, True)
    rate = _ratio("flood", "rate", stacks.OURS_ASYNC, tcp)
    yield Target("async handlers: calls/s of sync ones, 64 in flight", 0.6, rate, True)


def _latency() -> Iterator[Target]:
    for bound, key, ours, theirs in (
        (1.12, "p50", stacks.OURS, stacks.RAW),
        (0.8, "p50", stacks.OURS, stacks.THRIFT),
        (1.3, "p99", stacks.OURS, stacks.RAW),
        (1.05, "p50", stacks.OURS_SYNC, stacks.RAW),
    ):
        who = "splnode.sync, " if ours == stacks.OURS_SYNC else ""
        lacking = {"p50": ALONE, "p99": SLOWEST}[key] if ours == stacks.OURS and theirs == stacks.RAW else ""
        what = f"one at a time: {who}{key} of {theirs}"
        yield Target(what, bound, _ratio("one", key, ours, theirs), False, lacking=lacking)
    yield Target("in process: a call", 3, lambda got: got.call(stacks.OURS_LOCAL, "flood", "cpu_us"), False, "us")


def _large() -> Iterator[Target]:
    for kind, size in (("large", "256 KiB"), ("huge", "8 MiB")):
        for bound, theirs in ((0.8, stacks.RAW), (3, stacks.AVSC_TCP)):
            yield Target(f"{size}: MB/s of {theirs}", bound, _ratio(kind, "mb_s", stacks.OURS, theirs), True)


def _times(record: str, ours: str, theirs: str) -> Callable[[Figures], float]:
    return lambda figures: figures.codec(record, theirs) / figures.codec(record, ours)


def _codecs() -> Iterator[Target]:
    for record in ("small", "nested"):
        for form in ("Structs", "dicts"):
            ours = f"{ENGINE}, {form}"
            for bound, theirs in ((14, "fastavro"), (1, f"{MSGSPEC}, {form}")):
                yield Target(
                    f"codec, {record} record, {form}: times {theirs}", bound, _times(record, ours, theirs), True
                )
    for form in ("Structs", "dicts"):
        ratio = _resolving(f"{ENGINE}, {form}")
        yield Target(f"codec, {form}: decoding for another schema, of decoding for its own", 1.3, ratio, False)
    for record in ("small", "nested"):
        for form in ("Structs", "dicts"):
            times = _times(record, f"{PLAIN}, {form}", "fastavro")
            yield Target(f"plain-Python engine, {record} record, {form}: times fastavro", 1, times, True)


def _resolving(codec: str) -> Callable[[Figures], float]:
    return lambda figures: figures.resolution(codec)


def _process() -> Iterator[Target]:
    idle: Callable[[Figures], float] = lambda got: got.other("idle", "bytes_per_connection") / 1000  # noqa: E731 - one line of a list
    yield Target("memory of an idle connection", 20, idle, False, "kB")
    soak: Callable[[Figures], float] = lambda got: got.other("soak", "growth_mib")  # noqa: E731 - one line of a list
    yield Target("memory that 10 million calls add, the worse end", 2, soak, False, "MiB")
    yield Target("`serve --workers 2`: calls/s of `--workers 1`", 1.2, lambda got: got.other("workers", "growth"), True)
    shell: Callable[[Figures], float] = lambda got: got.other("shell", "wall_times_python")  # noqa: E731 - one line of a list
    yield Target("`splnode call`, cold: wall time of `python -c pass`", 5, shell, False)


TARGETS = (*_calls(), *_latency(), *_large(), *_codecs(), *_process())
