"""What a benchmark measured: latencies and errors, and the percentiles of them."""

import math
from array import array
from collections import Counter
from typing import Any, Final

PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9)


class Tally:
    """Latencies in seconds of the calls that succeeded, and how often each error came."""

    def __init__(self) -> None:
        self.latencies = array("d")
        self.errors: Counter[str] = Counter()
        self.sample: dict[str, str] = {}

    @property
    def calls(self) -> int:
        """Calls that have ended, however."""
        return len(self.latencies) + self.errors.total()

    def failed(self, name: str, text: str) -> None:
        """A call that failed; the first text of each kind is kept."""
        self.errors[name] += 1
        self.sample.setdefault(name, text)


def percentile(ordered: "array[float] | list[float]", percent: float) -> float:
    """The smallest value that at least `percent` of them do not exceed (nearest rank). The values are sorted."""
    rank = math.ceil(len(ordered) * percent / 100)
    return ordered[max(0, rank - 1)]


def summary(tally: Tally, seconds: float) -> dict[str, Any]:
    """The figures as JSON: times in milliseconds, `rate` in successful calls a second."""
    ordered = array("d", sorted(tally.latencies))
    times: dict[str, float] | None = None
    if ordered:
        times = {"min": ordered[0], "mean": math.fsum(ordered) / len(ordered)}
        times |= {f"p{percent:g}": percentile(ordered, percent) for percent in PERCENTILES}
        times = {name: round(value * 1000, 4) for name, value in (times | {"max": ordered[-1]}).items()}
    return {
        "calls": tally.calls,
        "ok": len(ordered),
        "errors": dict(tally.errors.most_common()),
        "seconds": round(seconds, 4),
        "rate": round(len(ordered) / seconds, 2) if seconds > 0 else 0.0,
        "latency_ms": times,
    }
