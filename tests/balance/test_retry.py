import pytest

from splnode.balance.retry import Again, Budget, pause, verdict
from splnode.config import RetryConfig
from splnode.errors import CallError, Code


@pytest.mark.parametrize("code", Code)
@pytest.mark.parametrize("idempotent", [False, True])
def test_what_was_not_started_goes_elsewhere_where_that_can_help(code, idempotent):
    expected = Again.NO
    if code in {Code.UNAVAILABLE, Code.FAILED_PRECONDITION, Code.UNIMPLEMENTED}:
        expected = Again.ELSEWHERE
    elif code is Code.RESOURCE_EXHAUSTED:
        expected = Again.LATER
    assert verdict(CallError(code, "", started=False), idempotent=idempotent) is expected


@pytest.mark.parametrize("code", Code)
def test_what_may_have_run_is_not_tried_again(code):
    assert verdict(CallError(code, "", started=True), idempotent=False) is Again.NO


@pytest.mark.parametrize("code", Code)
def test_what_may_run_twice_is_tried_again_after_a_loss(code):
    expected = Again.LATER if code is Code.UNAVAILABLE else Again.NO
    assert verdict(CallError(code, "", started=True), idempotent=True) is expected


def test_the_pauses_grow_to_an_end():
    settings = RetryConfig()
    assert [pause(settings, retries, 0.5) for retries in range(6)] == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.0])
    assert pause(settings, 0, 0.0) == pytest.approx(0.04)
    assert pause(settings, 10, 0.999999) == pytest.approx(1.2, abs=0.001)


def test_the_server_may_ask_for_more_and_not_for_less():
    assert pause(RetryConfig(), 0, 0.5, 3.0) == 3.0
    assert pause(RetryConfig(), 0, 0.5, 0.001) == pytest.approx(0.05)


def test_failures_take_the_tokens():
    budget = Budget()
    allowed = []
    for _ in range(7):
        budget.failed()
        allowed.append(budget.spend(0))
    assert allowed == [True, True, True, True, False, False, False]  # 5 of 10 left, and it ends


def test_ten_successes_earn_a_retry():
    budget = Budget()
    for _ in range(5):
        budget.failed()
    assert not budget.spend(0)
    for _ in range(10):
        budget.succeeded()
    assert budget.spend(0)


def test_tokens_stay_in_their_bounds():
    budget = Budget()
    for _ in range(100):
        budget.succeeded()
    assert budget.tokens == 10
    for _ in range(100):
        budget.failed()
    assert budget.tokens == 0


def test_without_calls_there_are_ten_a_second():
    budget = Budget()
    assert sum(budget.spend(0) for _ in range(500)) == 100  # those of the window at once
    assert not budget.spend(0.05)
    assert sum(budget.spend(10) for _ in range(500)) == 63  # 1 - 1/e of them have come back


def test_a_fifth_of_the_calls_comes_besides():
    budget = Budget()
    for _ in range(1000):
        budget.called()
    assert sum(budget.spend(0) for _ in range(500)) == 300
