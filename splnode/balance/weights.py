"""What a member can take, out of what it says of its load. Pure: times are arguments. (gRPC A58)

    weight = qps / (utilization + errors/qps)      times the weight that it was given

A report counts from `weight_blackout` seconds after the first one on, so that a node which has just started, and is
idle, does not get everything at once; and it is forgotten `weight_expiry` seconds after it came. A member without a
report counts as the mean of the others; with fewer than two reports there is nothing to weigh, and they take turns.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from splnode.config import BalanceConfig

LONGEST: Final = 100
"""Bytes of a report that are looked at."""


@dataclass(frozen=True)
class Load:
    """What a node says of itself: calls and failed calls a second, and the share of its capacity in use (1 is all)."""

    qps: float
    errors: float
    utilization: float

    @classmethod
    def parse(cls, text: bytes) -> Self | None:
        """What a node told under `spl-load`: three decimal numbers with commas between; None for anything else."""
        parts = text[:LONGEST].split(b",")
        try:
            qps, errors, utilization = map(float, parts)
        except ValueError:
            return None
        return cls(qps, errors, utilization)

    @property
    def weight(self) -> float:
        """The calls a second that it could take at full load; 0 where the report says nothing."""
        if not (self.qps > 0 and self.utilization > 0 and math.isfinite(self.qps + self.errors + self.utilization)):
            return 0.0
        return self.qps / (self.utilization + max(0.0, self.errors) / self.qps)


class Reported:
    """The reports of one member. `now` is a moment in seconds that never goes back."""

    __slots__ = ("_first", "_last", "_weight", "last")

    def __init__(self) -> None:
        self.last: Load | None = None  # the report that came last, whatever it says
        self._first = self._last = math.inf
        self._weight = 0.0

    def heard(self, load: Load, now: float) -> None:
        """A report has come. One that says nothing (an idle node) leaves the last one as it is."""
        weight, self.last = load.weight, load
        if weight > 0:
            self._first = min(self._first, now)
            self._last, self._weight = now, weight

    def weight(self, now: float, settings: BalanceConfig) -> float | None:
        """What the member can take; None where that is not known, or not yet, or not any more."""
        if self._weight == 0:
            return None
        if now - self._last >= settings.weight_expiry:
            self._first, self._weight = math.inf, 0.0  # the next one begins with a blackout again
            return None
        return self._weight if now - self._first >= settings.weight_blackout else None


def shares_of(reported: Sequence[float | None], given: Sequence[float]) -> list[float] | None:
    """The weight of each member; None where fewer than two reports are known and all were given the same.

    `given` are the weights of the configuration or the announcement, 1 by default; 0 takes a member out of the picks.
    """
    known = [weight for weight in reported if weight is not None]
    if len(known) < 2:
        return list(given) if len(set(given)) > 1 and any(given) else None
    mean = sum(known) / len(known)
    shares = [(mean if one is None else one) * weight for one, weight in zip(reported, given, strict=True)]
    return shares if any(shares) else None
