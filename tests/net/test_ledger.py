from splnode.net.ledger import PART, SMALL, Budget, Ledger, Scales

MUCH = 10 * SMALL


def ledger() -> tuple[Ledger[str], list[str]]:
    gone: list[str] = []
    return Ledger(Budget(3 * MUCH), gone.append), gone


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


def test_several_kinds_share_what_there_is() -> None:
    budget: Budget[str] = Budget(3 * MUCH)
    unread, unsent = [], []
    messages, answers = Ledger(budget, unread.append), Ledger(budget, unsent.append)
    messages.hold("a", MUCH)
    answers.hold("a", MUCH)
    answers.hold("b", MUCH)
    messages.hold("c", MUCH)
    assert (unread, unsent) == (["a"], [])
    messages.hold("c", 2 * MUCH)
    assert (unread, unsent) == (["a"], ["a"])
    assert (messages.total, answers.total, budget.total) == (2 * MUCH, MUCH, 3 * MUCH)


def test_memory_is_swept_when_some_have_gone_and_never_before() -> None:
    swept: list[int] = []
    gone: list[int] = []
    held: Ledger[int] = Ledger(Budget(2 * PART * MUCH, lambda: swept.append(len(gone))), gone.append)
    for number in range(2 * PART):
        held.hold(number, MUCH)
        held.release(number - 1)
    assert (swept, gone) == ([], [])
    for number in range(100, 100 + 2 * PART + 6):
        held.hold(number, MUCH)
    assert swept == [3, 6]


def test_scales_take_one_of_any_weight_and_more_while_there_is_room() -> None:
    scales = Scales(10)
    assert scales.put(100)
    assert not scales.put(1)
    scales.take(100)
    assert scales.put(6)
    assert not scales.put(5)
    assert scales.put(4)
