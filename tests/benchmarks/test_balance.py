import pytest

from benchmarks.balance import POLICIES, cost, nodes, simulate


@pytest.mark.parametrize("policy", POLICIES)
def test_a_small_run_of_each_policy(policy: str) -> None:
    outcome = simulate(policy, nodes(100), 3000, 0.5)
    assert 0 <= outcome.failed < 0.5
    assert 0 < outcome.p50 <= outcome.p99 <= 10_000
    assert outcome.busiest >= 1


def test_the_same_seed_gives_the_same() -> None:
    assert simulate("least_request", nodes(50), 1000, 0.5) == simulate("least_request", nodes(50), 1000, 0.5)


def test_looking_at_load_is_better_than_not() -> None:
    blind, looking = (simulate(policy, nodes(200), 20_000, 0.7) for policy in ("random", "least_request"))
    assert looking.p99 < blind.p99
    assert looking.failed < blind.failed


def test_what_a_pick_costs_is_told_for_each_number_of_members() -> None:
    assert cost("least_request", 3, picks=10) > 0
