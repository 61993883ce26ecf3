"""What is counted of the calls of one message: how many, how long, how they failed.

Every way of a call counts here: the native engine's, the general one, and the one within the process.
"""

from array import array
from collections import Counter
from typing import Final

from splnode.errors import CallError, DeclaredError
from splnode.wire.handling import BUCKETS, CALLS, IN_FLIGHT, NANOSECONDS, TIMES, count

DECLARED: Final = "DECLARED"
"""What failures are counted under that are errors of the protocol; the others are under the name of their code."""


class Tally:
    """`counts` has the places that `wire.intake` names; `failures` counts by code those of the calls that failed."""

    __slots__ = ("counts", "failures")

    def __init__(self) -> None:
        self.counts = array("q", bytes(8 * (TIMES + BUCKETS)))
        self.failures: Counter[str] = Counter()

    @property
    def calls(self) -> int:
        """Calls that have ended, well or not."""
        return self.counts[CALLS]

    @property
    def in_flight(self) -> int:
        """Calls that wait for a place or run."""
        return self.counts[IN_FLIGHT]

    @property
    def seconds(self) -> float:
        """What all calls that have ended took, together."""
        return self.counts[NANOSECONDS] / 1e9

    @property
    def times(self) -> list[tuple[float, int]]:
        """A histogram: how many calls took less than so many seconds, and no less than the ones before.

        The bounds are powers of two of a microsecond; the last is infinite.
        """
        bounds = [*(2**place / 1e6 for place in range(BUCKETS - 1)), float("inf")]
        return list(zip(bounds, self.counts[TIMES:], strict=True))

    def begin(self) -> None:
        """A call has come."""
        self.counts[IN_FLIGHT] += 1

    def end(self, seconds: float, error: BaseException | None = None) -> None:
        """A call that had begun has ended after so long, with an `error` if it failed."""
        self.counts[IN_FLIGHT] -= 1
        self.ended(seconds, error)

    def ended(self, seconds: float, error: BaseException | None = None) -> None:
        """A call that nobody said had begun has ended."""
        count(self.counts, int(seconds * 1e9))
        if error is not None:
            self.failures[_name(error)] += 1


def _name(error: BaseException) -> str:
    if isinstance(error, CallError):
        return error.code.name
    return DECLARED if isinstance(error, DeclaredError) else "CANCELLED"
