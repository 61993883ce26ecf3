"""What is counted of calls."""

import pytest

from splnode.errors import CallError, Code, DeclaredError
from splnode.rpc.tally import DECLARED, Tally


class OutOfStock(DeclaredError):
    pass


def test_counts_by_outcome_and_time() -> None:
    tally = Tally()
    for _ in range(4):
        tally.begin()
    assert (tally.calls, tally.in_flight) == (0, 4)
    tally.end(0.0000015)
    tally.end(0.0000019, CallError(Code.NOT_FOUND, "no such thing"))
    tally.end(1.5, OutOfStock())
    assert (tally.calls, tally.in_flight) == (3, 1)
    tally.end(1000.0, KeyboardInterrupt())
    assert tally.failures == {"NOT_FOUND": 1, DECLARED: 1, "CANCELLED": 1}
    assert tally.seconds == pytest.approx(1001.5, rel=1e-3)
    assert {bound: count for bound, count in tally.times if count} == {2e-6: 2, 2.097152: 1, float("inf"): 1}


def test_one_that_nobody_said_had_begun() -> None:
    tally = Tally()
    tally.ended(0.25)
    assert (tally.calls, tally.in_flight, tally.seconds) == (1, 0, 0.25)
    assert not tally.failures


def test_a_call_of_no_time_or_of_all_time_has_its_place() -> None:
    tally = Tally()
    tally.ended(0.0)
    tally.ended(1e6)
    assert [count for _, count in tally.times] == [1, *[0] * (len(tally.times) - 2), 1]
