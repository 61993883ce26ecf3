import pytest

from splnode.balance.accrual import Accrual, Standing, usable
from splnode.config import EjectionConfig

MIDDLE = 0.5  # the chance that jitters by nothing


def ejected(now: float = 0.0, times: int = 1) -> Accrual:
    accrual = Accrual()
    for _ in range(times):
        accrual.eject(now, MIDDLE)
        now = accrual.until or 0.0
        assert accrual.take_probe(now)
    accrual.give_back()
    return accrual


def test_nothing_known_is_good():
    accrual = Accrual()
    assert accrual.standing(0) is Standing.LIVE
    assert accrual.success == 1
    assert accrual.until is None


def test_five_failures_in_a_row_eject():
    accrual = Accrual(EjectionConfig(success=0))
    for _ in range(20):
        accrual.succeeded(0)
    assert [accrual.failed(1, MIDDLE) for _ in range(5)] == [False, False, False, False, True]
    assert accrual.until == 6
    assert accrual.standing(5.99) is Standing.EJECTED
    assert accrual.standing(6) is Standing.PROBING


def test_a_success_begins_the_row_anew():
    accrual = Accrual(EjectionConfig(success=0))
    for _ in range(9):
        assert not any(accrual.failed(0, MIDDLE) for _ in range(4))
        accrual.succeeded(0)
    assert accrual.standing(0) is Standing.LIVE


def test_a_low_rate_ejects_without_a_row():
    accrual = Accrual()
    outcomes = []
    for _ in range(10):
        accrual.succeeded(0)
        accrual.succeeded(0)
        outcomes.append(accrual.failed(0, MIDDLE))
    assert outcomes[:2] == [False, True]  # 4 of 6 is below 0.8; 2 of 3 are too few to say


def test_fewer_than_five_calls_say_nothing():
    accrual = Accrual()
    assert not any(accrual.failed(0, MIDDLE) for _ in range(4))
    assert accrual.success == 0


def test_what_is_long_ago_counts_little():
    accrual = Accrual(EjectionConfig(failures=100))
    for _ in range(3):
        accrual.failed(0, MIDDLE)
    for _ in range(8):
        accrual.succeeded(60)
    assert accrual.success > 0.9
    assert not accrual.failed(60, MIDDLE)


@pytest.mark.parametrize(("chance", "until"), [(0.0, 4.0), (0.5, 5.0), (0.999999, 6.0)])
def test_the_time_is_jittered(chance, until):
    accrual = Accrual()
    accrual.eject(0, chance)
    assert accrual.until == pytest.approx(until, abs=0.001)


def test_each_ejection_is_twice_as_long_up_to_an_end():
    accrual, now, lengths = Accrual(), 0.0, []
    accrual.eject(now, MIDDLE)
    for _ in range(9):
        lengths.append((accrual.until or 0) - now)
        now = accrual.until or 0
        assert accrual.take_probe(now)
        assert accrual.failed(now, MIDDLE)
    assert lengths == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_one_call_probes_and_no_second():
    accrual = ejected()
    now = accrual.until or 0
    assert not accrual.take_probe(now - 0.1)
    assert accrual.take_probe(now)
    assert not accrual.take_probe(now)
    assert accrual.succeeded(now)
    assert accrual.standing(now) is Standing.LIVE
    assert not accrual.take_probe(now)


def test_a_probe_that_says_nothing_is_given_back():
    accrual = ejected()
    now = accrual.until or 0
    assert accrual.take_probe(now)
    accrual.give_back()
    assert accrual.take_probe(now)


def test_late_answers_to_earlier_calls_change_nothing():
    accrual = ejected()
    until = accrual.until
    assert not accrual.succeeded(1)
    assert not accrual.failed(1, MIDDLE)
    accrual.eject(1, MIDDLE)
    assert accrual.until == until


def test_after_its_revival_the_record_is_clean():
    accrual = Accrual()
    for _ in range(5):
        accrual.failed(0, MIDDLE)
    now = accrual.until or 0
    accrual.take_probe(now)
    accrual.succeeded(now)
    assert accrual.success == 1
    assert not any(accrual.failed(now, MIDDLE) for _ in range(4))


def test_one_that_fails_again_at_once_is_out_for_longer_and_one_that_held_begins_anew():
    for lived, length in ((1.0, 10.0), (11.0, 5.0)):
        accrual = ejected()
        now = accrual.until or 0
        accrual.take_probe(now)
        accrual.succeeded(now)
        accrual.eject(now + lived, MIDDLE)
        assert (accrual.until or 0) - now - lived == pytest.approx(length)


def test_a_new_start_forgets_everything():
    accrual = ejected(times=4)
    accrual.revive()
    assert accrual.standing(0) is Standing.LIVE
    accrual.eject(100, MIDDLE)
    assert accrual.until == 105


@pytest.mark.parametrize(
    ("good", "everyone", "chosen"),
    [
        ("a", "a", "a"),
        ("", "a", "a"),
        ("", "abc", "abc"),
        ("ab", "abc", "ab"),
        ("ab", "abcd", "ab"),
        ("a", "abc", "abc"),
    ],
)
def test_all_are_used_when_more_than_half_are_bad(good, everyone, chosen):
    assert usable(good, everyone) == chosen


def test_one_that_others_outdid_is_marked_until_it_is_back():
    accrual = Accrual()
    accrual.eject(0, MIDDLE, outdone=True)
    now = accrual.until or 0
    assert accrual.take_probe(now)
    assert accrual.failed(now, MIDDLE)
    assert accrual.outdone  # the probe has shown no more than that
    now = accrual.until or 0
    assert accrual.take_probe(now)
    assert accrual.succeeded(now)
    assert not accrual.outdone
    accrual.eject(now, MIDDLE, outdone=True)
    accrual.revive()
    assert not accrual.outdone
