import math

import pytest

from splnode.balance.weights import Load, Reported, shares_of
from splnode.config import BalanceConfig

SETTINGS = BalanceConfig()


@pytest.mark.parametrize(
    ("load", "weight"),
    [
        (Load(100, 0, 0.5), 200),
        (Load(100, 50, 0.5), 100),  # half of them failed: it counts as fully used
        (Load(100, -5, 0.5), 200),
        (Load(0, 0, 0.5), 0),
        (Load(100, 0, 0), 0),
        (Load(-1, 0, 0.5), 0),
        (Load(math.nan, 0, 0.5), 0),
        (Load(100, math.inf, 0.5), 0),
    ],
)
def test_the_weight_of_a_report(load, weight):
    assert load.weight == pytest.approx(weight)


@pytest.mark.parametrize(
    ("text", "load"),
    [
        (b"100,5,0.5", Load(100, 5, 0.5)),
        (b"1e3,0,1.25", Load(1000, 0, 1.25)),
        (b"", None),
        (b"?", None),  # whoever echoes metadata
        (b"1,2", None),
        (b"1,2,3,4", None),
        (b"1,2,\xff", None),
        (b"1," * 1000, None),
        (b"0" * 200 + b",1,1", None),
    ],
)
def test_a_report_as_it_is_told(text, load):
    assert Load.parse(text) == load


def test_the_first_ten_seconds_do_not_count():
    reported = Reported()
    assert reported.weight(0, SETTINGS) is None
    reported.heard(Load(100, 0, 0.5), 0)
    reported.heard(Load(300, 0, 0.5), 9)
    assert reported.weight(9.9, SETTINGS) is None
    assert reported.weight(10, SETTINGS) == 600


def test_an_old_report_is_forgotten_and_the_next_begins_anew():
    reported = Reported()
    reported.heard(Load(100, 0, 0.5), 0)
    assert reported.weight(179.9, SETTINGS) == 200
    assert reported.weight(180, SETTINGS) is None
    reported.heard(Load(100, 0, 0.5), 181)
    assert reported.weight(190, SETTINGS) is None
    assert reported.weight(191, SETTINGS) == 200


def test_an_idle_node_keeps_its_last_weight():
    reported = Reported()
    reported.heard(Load(100, 0, 0.5), 0)
    reported.heard(Load(0, 0, 0), 20)
    assert reported.weight(20, SETTINGS) == 200


def test_fewer_than_two_reports_are_nothing_to_weigh():
    assert shares_of([None, None, 7.0], [1, 1, 1]) is None
    assert shares_of([], []) is None


def test_static_weights_hold_without_reports():
    assert shares_of([None, None], [1, 3]) == [1, 3]
    assert shares_of([None, None], [0, 0]) is None


def test_a_missing_weight_counts_as_the_mean_and_static_ones_multiply():
    assert shares_of([100, 300, None], [1, 1, 1]) == [100, 300, 200]
    assert shares_of([100, 300, None], [2, 0, 0.5]) == [200, 0, 100]


def test_all_out_is_nothing_to_weigh():
    assert shares_of([100, 300], [0, 0]) is None
