from splnode.net.seldom import EVERY, KINDS, Seldom


def test_each_is_said_at_once_and_then_not_before_its_time_with_how_often_it_was() -> None:
    now = 100.0
    seldom = Seldom(lambda: now)
    assert [seldom("a"), seldom("a"), seldom("b"), seldom("a")] == [1, 0, 1, 0]
    now += EVERY
    assert [seldom("a"), seldom("a"), seldom("b")] == [3, 0, 1]
    now += 100 * EVERY
    assert [seldom("a"), seldom("b")] == [2, 1]


def test_many_of_them_are_one() -> None:
    """What they are called may be the peer's to choose."""
    now = 100.0
    seldom = Seldom(lambda: now)
    said = sum(seldom(str(number)) > 0 for number in range(10 * KINDS))
    assert said == KINDS + 1
    assert len(seldom._silent) == KINDS + 1
    assert seldom("0") == 0
    now += EVERY
    assert seldom("another") == 1
    assert len(seldom._silent) == 1
