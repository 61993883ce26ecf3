import pytest

from splnode.cli.latency import Tally, percentile, summary


def test_percentiles_are_of_the_nearest_rank() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, p) for p in (0, 1, 50, 90, 99, 99.9, 100)] == [1, 1, 50, 90, 99, 100, 100]
    assert percentile([7.0], 99.9) == 7
    assert percentile([1.0, 2.0], 50) == 1


def test_summary() -> None:
    tally = Tally()
    for value in (0.001, 0.002, 0.003, 0.010):
        tally.latencies.append(value)
    tally.failed("UNAVAILABLE", "gone")
    tally.failed("UNAVAILABLE", "gone again")
    tally.failed("NOT_FOUND", "no")
    assert tally.calls == 7
    found = summary(tally, 2.0)
    assert found == {
        "calls": 7, "ok": 4, "errors": {"UNAVAILABLE": 2, "NOT_FOUND": 1}, "seconds": 2.0, "rate": 2.0,
        "latency_ms": {
            "min": 1.0, "mean": 4.0, "p50": 2.0, "p90": 10.0, "p99": 10.0, "p99.9": 10.0, "max": 10.0,
        },
    }  # fmt: skip
    assert tally.sample == {"UNAVAILABLE": "gone", "NOT_FOUND": "no"}


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_nothing_succeeded(seconds: float) -> None:
    assert summary(Tally(), seconds) == {
        "calls": 0, "ok": 0, "errors": {}, "seconds": seconds, "rate": 0.0, "latency_ms": None,
    }  # fmt: skip
