from splnode.net.ledger import SMALL, Ledger, Scales

MUCH = 10 * SMALL


def ledger() -> tuple[Ledger[str], list[str]]:
    gone: list[str] = []
    return Ledger(3 * MUCH, gone.append), gone


def test_who_holds_something_the_longest_goes_first() -> None:
    held, gone = ledger()
    for name in "abc":
        held.hold(name, MUCH)
    assert not gone
    held.hold("a", MUCH + 1)  # to hold more is no progress
    assert gone == ["a"]
    assert (held.total, "a" in held) == (2 * MUCH, False)


def test_an_end_makes_young_again() -> None:
    held, gone = ledger()
    for name in "abc":
        held.hold(name, MUCH)
    held.hold("a", SMALL)
    held.hold("a", MUCH)
    held.hold("d", MUCH)
    assert gone == ["b"]


def test_one_alone_may_hold_what_its_own_limits_allow() -> None:
    held, gone = ledger()
    held.hold("a", 100 * MUCH)
    assert not gone
    held.hold("b", MUCH)
    assert gone == ["a"]


def test_little_is_not_counted_and_what_is_released_is_gone() -> None:
    held, gone = ledger()
    for name in map(str, range(1000)):
        held.hold(name, SMALL)
    assert held.total == 0
    held.hold("a", MUCH)
    held.release("a")
    held.release("a")
    assert (held.total, gone) == (0, [])


def test_scales_take_one_of_any_weight_and_more_while_there_is_room() -> None:
    scales = Scales(10)
    assert scales.put(100)
    assert not scales.put(1)
    scales.take(100)
    assert scales.put(6)
    assert not scales.put(5)
    assert scales.put(4)
