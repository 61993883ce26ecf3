import pytest

from splnode.avro.codec.budget import Budget, check_size, too_deep
from splnode.errors import LimitExceeded
from splnode.limits import Limits

LIMITS = Limits(nodes=3, depth=1, message_bytes=2)


def test_what_is_allowed_and_one_more() -> None:
    left = Budget(LIMITS)  # the datum itself is one
    left.spend(2)
    left.enter()
    left.length(2)
    check_size(2, LIMITS)
    for charge, limit in (
        (lambda: left.spend(1), "nodes"),
        (left.enter, "depth"),
        (lambda: left.length(3), "message_bytes"),
        (lambda: check_size(3, LIMITS), "message_bytes"),
    ):
        with pytest.raises(LimitExceeded) as caught:
            charge()
        assert caught.value.limit == limit


def test_a_full_stack_is_the_depth() -> None:
    assert too_deep(LIMITS).limit == "depth"
