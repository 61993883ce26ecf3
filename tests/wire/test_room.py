"""Both kinds of Room: whatever comes in whatever pieces stays where it was received."""

import gc
import random
import sys
from typing import Any

import pytest

from splnode.wire import room as module
from splnode.wire.engine import native_engine
from splnode.wire.room import GROWTH, LEAST, Room, room

native = native_engine()
KINDS: list[Any] = [Room] if native is None else [Room, native.Room]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__module__)
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


def receive(made: Any, data: bytes) -> int:
    """As a loop does: into the space, as much as fits."""
    with made.space() as space:
        count = min(len(space), len(data))
        space[:count] = data[:count]
    made.add(count)
    return count


def test_the_engine_that_is_used() -> None:
    assert type(room(1)) is KINDS[-1]


@pytest.mark.parametrize("total", [1, 10, LEAST, LEAST + 1, 1_000_000])
def test_received_in_any_pieces(kind: Any, total: int) -> None:
    dice = random.Random(total)
    data = dice.randbytes(total)
    made, done = kind(total), 0
    while made.missing:
        assert made.missing == total - done
        piece = data[done : done + dice.randrange(1, 100_000)]
        done += made.put(piece) if dice.random() < 0.3 else receive(made, piece)
        assert made.filled == done
    assert made.take() == data


def test_what_does_not_belong_to_it_is_left(kind: Any) -> None:
    made = kind(5)
    assert made.put(b"abc") == 3
    assert made.put(memoryview(b"defgh")) == 2
    assert made.put(b"more") == 0
    assert made.take() == b"abcde"


def test_memory_grows_with_what_came(kind: Any) -> None:
    made = kind(100 * LEAST)
    came = 0
    while made.missing:
        with made.space() as space:
            step = len(space)
        assert 0 < came + step <= max(LEAST, came * GROWTH)
        made.add(step)
        came += step


def test_memory_that_nobody_wrote_to_is_not_used_up(kind: Any) -> None:
    made = [kind(2**31 - 1) for _ in range(50)]
    for each in made:
        each.put(b"x")
    assert sum(each.filled for each in made) == 50


def test_a_view_may_outlive_the_bytes(kind: Any) -> None:
    made = kind(4)
    space = made.space()
    space[:4] = b"abcd"
    made.add(4)
    taken = made.take()
    del made
    gc.collect()
    assert bytes(space) == b"abcd" == taken
    space.release()
    assert taken == b"abcd"


def test_it_does_not_grow_under_a_view(kind: Any) -> None:
    made = kind(LEAST * 3)
    space = made.space()
    made.add(LEAST)
    with pytest.raises(BufferError):
        made.put(b"more")
    space.release()
    assert made.put(b"more") == 4


def test_misuse(kind: Any) -> None:
    for total in (0, -1):
        with pytest.raises(ValueError, match="positive"):
            kind(total)
    made = kind(3)
    made.space()
    for count in (-1, 4):
        with pytest.raises(ValueError, match="space of 3"):
            made.add(count)
    with pytest.raises(ValueError, match="3 bytes are still to come"):
        made.take()
    made.put(b"abc")
    made.take()
    for use in (made.take, made.space, lambda: made.add(1), lambda: made.put(b"x")):
        with pytest.raises(ValueError, match="taken"):
            use()


def test_taken_bytes_belong_to_nobody_else(kind: Any) -> None:
    made = kind(1000)
    receive(made, bytes(1000))
    taken, fresh = made.take(), bytes(999)
    assert sys.getrefcount(taken) == sys.getrefcount(fresh)
    assert hash(taken) == hash(bytes(1000))


def test_the_native_one_has_the_same_numbers() -> None:
    made = KINDS[-1](100 * LEAST)
    assert len(made.space()) == module.LEAST
    made.add(LEAST)
    assert len(made.space()) == LEAST * (1 if native is None else GROWTH - 1)
