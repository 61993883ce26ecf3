"""Where calls of a handler are counted."""

from splnode.wire.handling import BUCKETS, CALLS, IN_FLIGHT, NANOSECONDS, TIMES, Handler, count


def test_a_call_is_counted_with_the_time_it_took() -> None:
    counts = [0] * (TIMES + BUCKETS)
    for nanoseconds in (0, 999, 1000, 3_999_000, 10**18):
        count(counts, nanoseconds)
    assert counts[CALLS] == 5
    assert counts[IN_FLIGHT] == 0
    assert counts[NANOSECONDS] == 999 + 1000 + 3_999_000 + 10**18
    assert counts[TIMES : TIMES + 2] == [2, 1]  # less than one microsecond, and less than two
    assert counts[TIMES + 12] == 1  # 3,999 of them are less than 4,096
    assert counts[-1] == 1  # all the others


def test_a_handler_is_used_until_it_is_withdrawn() -> None:
    made = Handler(print, ("x",), ("x",), None, [])
    assert not made.withdrawn
    assert not made.asynchronous
