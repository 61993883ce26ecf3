import pytest

from splnode.avro.codec.budget import Budget, check_size, too_deep
from splnode.errors import LimitExceeded
from splnode.limits import Limits

LIMITS = Limits(nodes=9, depth=1, message_bytes=2)


def test_what_is_allowed_and_one_more() -> None:
    left = Budget(LIMITS, 3)
    left.spend(2)
    left.enter(4)
    left.length(2)
    check_size(2, LIMITS)
    for charge, limit in (
        (lambda: left.spend(1), "nodes"),
        (lambda: left.enter(0), "depth"),
        (lambda: left.length(3), "message_bytes"),
        (lambda: check_size(3, LIMITS), "message_bytes"),
    ):
        with pytest.raises(LimitExceeded) as caught:
            charge()
        assert caught.value.limit == limit


def test_a_datum_that_weighs_too_much() -> None:
    with pytest.raises(LimitExceeded):
        Budget(LIMITS, 10)


def test_a_full_stack_is_the_depth() -> None:
    assert too_deep(LIMITS).limit == "depth"
