from typing import Any

from splnode.rpc.call import Call, deadline_for, running
from splnode.services.watching import LONGEST, MARGIN, seconds_to_wait


def test_what_was_asked_for_up_to_the_longest() -> None:
    assert seconds_to_wait(1500) == 1.5
    assert seconds_to_wait(-5) == 0
    assert seconds_to_wait(10**9) == LONGEST


def test_within_the_call() -> None:
    nothing: Any = None
    token = running.set(Call(nothing, nothing, {}, deadline_for(MARGIN / 2)))
    try:
        assert seconds_to_wait(60_000) < 0
    finally:
        running.reset(token)
