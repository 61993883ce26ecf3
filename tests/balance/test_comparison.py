import random

import pytest

from splnode.balance.comparison import Record, outdone, outliers, total_of

FADE = 0.967
"""What a second leaves of a call, with a window of 30 s."""


def broken(own: tuple[float, float], others: tuple[float, float]) -> bool:
    record = Record(*own)
    return outdone(record, total_of({"own": record, "others": Record(*others)}), success=0.8, least=5)


@pytest.mark.parametrize(
    ("own", "others"),
    [
        ((0, 8), (8, 8)),  # nothing goes well here, all of it elsewhere
        ((0, 5), (50, 50)),
        ((0, 4.9), (49, 49)),  # calls fade
        ((10, 20), (40, 40)),
        ((700, 1000), (1990, 2000)),
        ((5, 30), (140, 200)),  # and some of it fails everywhere
    ],
)
def test_broken_while_the_others_are_not(own: tuple[float, float], others: tuple[float, float]) -> None:
    assert broken(own, others)


@pytest.mark.parametrize(
    ("own", "others"),
    [
        ((0, 0), (0, 0)),
        ((0, 50), (0, 100)),  # poison
        ((0, 5), (1, 10)),
        ((50, 100), (100, 200)),  # half of it is poison
        ((0, 5), (5, 5)),  # too few to be sure
        ((0, 4), (100, 100)),  # too few, here
        ((0, 100), (4, 4)),  # and there
        ((0, 100), (0, 0)),  # nobody to compare with
        ((3, 5), (7, 10)),  # bad luck
        ((170, 200), (198, 200)),  # worse, and not broken
    ],
)
def test_no_worse_than_the_others_or_nobody_knows(own: tuple[float, float], others: tuple[float, float]) -> None:
    assert not broken(own, others)


def test_poison_that_chance_spreads_leaves_nobody_out() -> None:
    draw, records = random.Random(4), [[0.0, 0.0] for _ in range(6)]
    for _ in range(2000):
        for _ in range(60):
            record = draw.choice(records)
            record[0] += draw.random() > 0.3
            record[1] += 1
        found = {place: Record(*record) for place, record in enumerate(records)}
        total = total_of(found)
        assert outliers(found) == set()
        assert not any(outdone(each, total, success=0.8, least=5) for each in found.values())
        records = [[well * FADE, ended * FADE] for well, ended in records]


def test_one_that_is_worse_than_the_others_is_an_outlier() -> None:
    assert outliers(dict.fromkeys("abcdefgh", Record(99, 100)) | {"x": Record(60, 100)}) == {"x"}


def test_few_members_or_few_calls_have_no_outlier() -> None:
    few = dict.fromkeys("abc", Record(99, 100)) | {"x": Record(0, 100)}
    assert outliers(few) == set()
    idle = dict.fromkeys("abcd", Record(99, 100)) | {"x": Record(0, 99)}
    assert outliers(idle) == set()


def test_equals_have_no_outlier() -> None:
    assert outliers(dict.fromkeys("abcdef", Record(80, 100))) == set()


def test_a_share() -> None:
    assert Record(0, 0).rate == 1
    assert Record(1, 4).rate == 0.25
