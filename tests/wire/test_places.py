"""Places of either engine."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from splnode.wire.places import Places, make_places
from tests.engines import ENGINES, engine_for_a_test


@pytest.fixture(params=ENGINES, autouse=True)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    yield from engine_for_a_test(request.param, monkeypatch)


def test_there_are_so_many() -> None:
    places = make_places(2)
    assert [places.enter() for _ in range(3)] == [True, True, False]
    places.leave()
    assert places.running == 1
    assert places.enter()
    places.limit = 3
    assert [places.enter(), places.enter(), places.running] == [True, False, 3]


def test_none_is_given_once_they_are_closed() -> None:
    places = make_places(2)
    assert places.enter()
    places.closed = True
    assert not places.enter()
    places.leave()
    assert places.running == 0


def test_who_waits_has_the_place_that_is_returned() -> None:
    places = make_places(1)
    came: list[int] = []
    assert places.enter()
    places.returned = lambda: came.append(places.running)
    places.leave()
    assert (came, places.running) == ([1], 1)
    places.returned = None
    places.leave()
    assert places.running == 0


def test_what_is_raised_there_goes_through() -> None:
    places = make_places(1)
    assert places.enter()
    places.returned = lambda: 1 // 0
    with pytest.raises(ZeroDivisionError):
        places.leave()


def test_a_circle_through_them_is_collected() -> None:
    class Holder:
        def __init__(self) -> None:
            self.places: Places = make_places(1)
            self.places.returned = self.come

        def come(self) -> None: ...

    holder = weakref.ref(Holder())
    gc.collect()
    assert holder() is None
