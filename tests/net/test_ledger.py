from splnode.net.ledger import PART, PATIENT, SMALL, STEADY, Budget, Ledger, Scales

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
    held: Ledger[int] = Ledger(Budget(2 * PART * MUCH, swept=lambda: swept.append(len(gone))), gone.append)
    for number in range(2 * PART):
        held.hold(number, MUCH)
        held.release(number - 1)
    assert (swept, gone) == ([], [])
    for number in range(100, 100 + 2 * PART + 6):
        held.hold(number, MUCH)
    assert swept == [3, 6]


def crowd(room: int = 6) -> tuple[Budget[str], Ledger[str], dict[str, bool], list[str]]:
    """Room for so many of MUCH, and none of them waits before half is held."""
    gone: list[str] = []
    waits: dict[str, bool] = {}
    budget: Budget[str] = Budget(room * MUCH, largest=room * MUCH // 2)
    return budget, Ledger(budget, gone.append, waits.__setitem__), waits, gone


def test_where_there_is_little_room_left_the_newest_is_read_and_the_others_wait() -> None:
    budget, held, waits, gone = crowd()
    for name in "abc":
        held.hold(name, MUCH)
    assert waits == {}
    held.hold("a", 2 * MUCH)
    assert waits == {"a": True, "b": True}
    held.hold("d", MUCH)
    assert waits == {"a": True, "b": True, "c": True}
    held.release("d")
    assert waits == {"a": True, "b": True, "c": False}
    held.hold("c", 2 * MUCH)
    assert waits == {"a": True, "b": True, "c": False}
    held.release("c")
    assert waits == {"a": True, "b": False, "c": False}  # one at a time: who knows what it brings
    held.hold("b", MUCH + 1)
    assert waits == {"a": True, "b": False, "c": False}  # no room for more than one
    held.hold("b", MUCH)
    assert waits == {"a": False, "b": False, "c": False}
    assert (gone, budget.total) == ([], 3 * MUCH)


def test_who_waits_and_ends_is_read_again() -> None:
    _, held, waits, _ = crowd()
    held.hold("a", 3 * MUCH)
    held.hold("b", MUCH)
    assert waits == {"a": True}
    held.release("a")
    assert waits == {"a": False}


def test_one_is_always_read() -> None:
    """Though answers that nobody reads leave no room."""
    budget, held, waits, _ = crowd()
    answers: Ledger[str] = Ledger(budget, lambda name: None)
    answers.hold("z", 4 * MUCH)
    held.hold("a", MUCH // 2)
    held.hold("b", MUCH // 2)
    assert waits == {"a": True}
    held.release("b")
    assert waits == {"a": False}


def test_who_is_read_and_does_not_get_on_goes_while_others_wait() -> None:
    budget, held, waits, gone = crowd(60)
    assert not budget.look()
    held.hold("a", MUCH)
    for _ in range(2 * PATIENT):
        assert not budget.look()
    held.hold("b", 30 * MUCH)
    for size in range(1, 4):
        for _ in range(PATIENT):
            assert budget.look()
        held.hold("b", 30 * MUCH + size * STEADY)
        assert budget.look()
        assert not gone
    for _ in range(PATIENT):
        assert budget.look()
    assert not budget.look()
    assert (gone, waits) == (["b"], {"a": False})


def test_to_end_a_message_is_to_get_on_though_less_is_held_then() -> None:
    budget, held, _, gone = crowd(60)
    held.hold("a", MUCH)
    held.hold("b", 40 * MUCH)
    for size in (35, 34, 33):
        for _ in range(PATIENT):
            assert budget.look()
        held.hold("b", size * MUCH)
    for _ in range(PATIENT):
        assert budget.look()
    assert not gone
    assert not budget.look()
    assert gone == ["b"]


def test_somebody_is_told_once_when_others_have_to_wait() -> None:
    told: list[int] = []
    budget: Budget[str] = Budget(6 * MUCH, largest=3 * MUCH, crowded=lambda: told.append(1))
    held: Ledger[str] = Ledger(budget, lambda name: None, lambda name, waits: None)
    held.hold("a", 3 * MUCH)
    for name in "bcd":
        held.hold(name, MUCH // 2)
    assert told == [1]


def test_there_is_always_room_for_two_of_the_largest() -> None:
    """Whoever allows larger messages, and nothing else, has them come two at a time."""
    gone: list[str] = []
    held: Ledger[str] = Ledger(Budget(MUCH, largest=10 * MUCH), gone.append, lambda name, waits: None)
    held.hold("a", 10 * MUCH)
    held.hold("b", 10 * MUCH)
    assert not gone
    held.hold("c", MUCH)
    assert gone == ["a"]


def test_scales_take_one_of_any_weight_and_more_while_there_is_room() -> None:
    scales = Scales(10)
    assert scales.put(100)
    assert not scales.put(1)
    scales.take(100)
    assert scales.put(6)
    assert not scales.put(5)
    assert scales.put(4)
