"""splnode.net.keepalive: the table, with a clock made of numbers."""

from splnode.config import ChannelsConfig
from splnode.net.keepalive import LEAST, Keepalive, Look

TIMES = ChannelsConfig(keepalive_active=30.0, keepalive_idle=60.0, keepalive_timeout=10.0)


def test_who_has_just_spoken_is_left_alone() -> None:
    assert Keepalive(TIMES).look(100.0, 100.0, calls=1) == Look(30.0)
    assert Keepalive(TIMES).look(100.0, 90.0, calls=1) == Look(20.0)
    assert Keepalive(TIMES).look(100.0, 90.0, calls=0) == Look(20.0)  # a call may begin in the meantime


def test_without_calls_silence_is_allowed_for_longer() -> None:
    assert Keepalive(TIMES).look(100.0, 60.0, calls=0) == Look(20.0)
    assert Keepalive(TIMES).look(100.0, 60.0, calls=1) == Look(10.0, ping=True)
    assert Keepalive(TIMES).look(100.0, 40.0, calls=0) == Look(10.0, ping=True)


def test_a_ping_that_is_not_answered_is_the_end() -> None:
    keepalive = Keepalive(TIMES)
    assert keepalive.look(100.0, 70.0, calls=1).ping
    assert keepalive.look(110.0, 70.0, calls=1).reason == "no answer to a ping within 10 s"


def test_whatever_comes_after_a_ping_answers_it() -> None:
    keepalive = Keepalive(TIMES)
    assert keepalive.look(100.0, 70.0, calls=1).ping
    assert keepalive.look(110.0, 101.0, calls=1) == Look(21.0)


def test_before_the_handshake_nobody_is_asked() -> None:
    assert Keepalive(TIMES).look(100.0, 0.0, calls=1, ready=False) == Look(LEAST)


def test_where_answers_come_in_order_a_slow_call_is_waited_for() -> None:
    keepalive = Keepalive(TIMES)
    for now in (100.0, 110.0, 120.0):
        assert keepalive.look(now, 70.0, calls=2, ordered=2) == Look(10.0)
    assert keepalive.look(130.0, 70.0, calls=0).ping  # its deadline has ended it, and none is due


def test_there_the_answer_to_one_that_was_given_up_stands_for_the_pings() -> None:
    keepalive = Keepalive(TIMES)
    assert keepalive.look(100.0, 70.0, calls=0, ordered=1) == Look(10.0)
    assert keepalive.look(110.0, 70.0, calls=0, ordered=1).reason
