"""What counts as growth; and a short soak, each kind of call in it."""

import pytest

from benchmarks import soak
from benchmarks.peers import soaking


def mark(calls: int, server: float, client: float) -> dict[str, float]:
    return {"calls": calls, "server_mib": server, "client_mib": client}


def test_growth_is_that_of_the_worse_end_since_a_tenth_of_the_calls() -> None:
    marks = [mark(each, 30 + each / 10, 40 + each / 5) for each in range(1, 11)]
    got = soak.judged(marks)
    assert [each["calls"] for each in got["marks"]] == [1, 5, 10]
    assert got["growth_mib"] == pytest.approx(1.8)


def test_what_was_there_and_went_is_no_growth() -> None:
    got = soak.judged([mark(1, 50, 50), mark(2, 90, 50), mark(3, 40, 45)])
    assert got["growth_mib"] == -5


async def test_each_kind_of_call_ends_as_it_should() -> None:
    async with soaking._serve() as endpoint, soaking._connected(endpoint) as client:
        caller = soaking.Caller(client, endpoint)
        for number in (1, 3, 20, 25, 40, 1000, 2000, 10_000):
            await caller.of(number)


@pytest.mark.slow
def test_a_short_soak() -> None:
    got = soak.run(3000)
    assert [each["calls"] for each in got["marks"]] == [3000, 3000, 3000]
    assert got["marks"][0]["server_mib"] > 1
