import random
from collections import Counter
from dataclasses import dataclass

import pytest

from splnode.balance.pick import Shares, Slots, least_request, round_robin, weighted


@dataclass
class Busy:
    name: str
    in_flight: int = 0


def test_of_two_drawn_the_less_busy_one_is_taken():
    members = [Busy("a", 5), Busy("b", 1), Busy("c", 9)]
    assert least_request(members, 0.0, 0.0).name == "b"  # a, and the first of the others
    assert least_request(members, 0.0, 0.99).name == "a"  # a and c
    assert least_request(members, 0.99, 0.0).name == "a"  # c and a
    assert least_request(members, 0.4, 0.99).name == "b"


def test_between_equals_the_first_drawn_is_taken():
    members = [Busy("a"), Busy("b"), Busy("c")]
    assert [least_request(members, draw, 0.0).name for draw in (0.0, 0.4, 0.9)] == ["a", "b", "c"]


def test_the_two_are_never_the_same():
    members = [Busy("idle"), Busy("busy", 1)]
    draws = random.Random(4)
    assert {least_request(members, draws.random(), draws.random()).name for _ in range(1000)} == {"idle"}


def test_a_single_member_needs_no_second_draw():
    assert least_request([Busy("only", 7)], 0.9999999999999999, 0.5).name == "only"


def test_one_after_the_other():
    assert [round_robin("abc", turn) for turn in range(2, 9)] == list("cabcabc")


@pytest.mark.parametrize("weights", [[1.0], [1, 1, 1], [1, 2, 3, 4], [0, 1, 0, 5], [1e-9, 1e9], [0.1] * 1000])
def test_shares_are_in_proportion(weights):
    shares, count = Shares(weights), 40 * len(weights)
    # a grid of draws instead of random ones: the share of each place is exact but for the grid's own step
    grid = 1000 * len(weights)
    seen = Counter(shares.at((step + 0.5) / grid) for step in range(grid))
    for place, weight in enumerate(weights):
        assert seen[place] / grid == pytest.approx(weight / sum(weights), abs=2 / 1000 / len(weights) + 1e-9), count


@pytest.mark.parametrize("weights", [[], [0.0], [1, -1], [float("nan")]])
def test_shares_of_nothing_are_refused(weights):
    with pytest.raises(ValueError, match="weights are not negative and not all zero"):
        Shares(weights)


def test_a_weighted_pick_takes_the_place_of_its_draw():
    assert weighted("ab", Shares([0, 1]), 0.1) == "b"


NAMES = [f"node-{number}" for number in range(8)]
KEYS = [b"key-%d" % number for number in range(2000)]


def test_a_key_stays_where_it_is_whatever_the_order_of_the_members():
    one, other = Slots(NAMES), Slots(NAMES[::-1])
    assert [one.at(key) for key in KEYS] == [other.at(key) for key in KEYS]


@pytest.mark.parametrize("incremental", [False, True])
def test_a_member_that_goes_moves_its_own_keys_only(incremental):
    before = Slots(NAMES)
    after = Slots(NAMES[1:], before if incremental else None)
    moved = [key for key in KEYS if before.at(key) != after.at(key)]
    assert moved
    assert {before.at(key) for key in moved} == {NAMES[0]}


@pytest.mark.parametrize("incremental", [False, True])
def test_a_member_that_comes_takes_only_what_it_gets(incremental):
    before = Slots(NAMES)
    after = Slots([*NAMES, "new"], before if incremental else None)
    moved = [key for key in KEYS if before.at(key) != after.at(key)]
    assert moved
    assert {after.at(key) for key in moved} == {"new"}


def test_step_by_step_is_the_same_as_at_once():
    draws, present = random.Random(5), set(NAMES)
    slots = Slots(present)
    for step in range(12):
        present ^= {draws.choice([*NAMES, "x", "y", "z"])}
        if present:
            slots = Slots(present, slots)
            anew = Slots(present)
            assert [slots.at(key) for key in KEYS] == [anew.at(key) for key in KEYS], step


def test_the_keys_are_spread_evenly():
    slots = Slots(NAMES)
    seen = Counter(slots.at(b"%d" % number) for number in range(80_000))
    assert set(seen) == set(NAMES)
    assert max(seen.values()) / min(seen.values()) < 1.35


def test_a_key_falls_to_the_same_name_in_every_process():
    # literal values: another version of splnode must keep its keys where they are
    slots = Slots("abcde")
    assert "".join(slots.at(b"%d" % number) for number in range(16)) == "cceecbadddddabcd"


def test_slots_need_a_name():
    with pytest.raises(ValueError, match="one name at least"):
        Slots([])
