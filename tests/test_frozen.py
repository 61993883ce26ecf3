"""splnode.frozen: values that behave as frozen dataclasses do."""

import copy
import pickle

import pytest

from splnode.frozen import Frozen


class Point(Frozen):
    x: int
    y: int = 2


def test_fields_by_place_and_by_name_with_defaults() -> None:
    assert (Point(1).x, Point(1).y) == (1, 2)
    assert Point(1, 3) == Point(y=3, x=1)
    assert repr(Point(1)) == "Point(x=1, y=2)"


def test_equal_by_value_and_hashable() -> None:
    assert Point(1) == Point(1, 2) != Point(2)
    assert len({Point(1), Point(1, 2), Point(2)}) == 2
    assert Point(1) != (1, 2)


def test_cannot_be_changed_but_copied() -> None:
    point = Point(1)
    with pytest.raises(AttributeError, match=r"replace\(x="):
        point.x = 2  # type: ignore[misc]  # that is what is tested
    with pytest.raises(AttributeError):
        del point.x
    assert point.replace(y=5) == Point(1, 5)
    assert copy.deepcopy(point) == pickle.loads(pickle.dumps(point)) == point


def test_what_does_not_fit_is_named() -> None:
    for make, name in (
        (Point, "'x'"),  # type: ignore[call-arg]  # that is what is tested
        (lambda: Point(1, 2, 3), "3 were given"),  # type: ignore[call-arg]  # that is what is tested
        (lambda: Point(1, x=2), "'x' is given twice"),  # type: ignore[misc]  # that is what is tested
        (lambda: Point(1, z=2), "'z' is no field"),  # type: ignore[call-arg]  # that is what is tested
        (lambda: Point(1).replace(z=2), "'z' is no field"),
    ):
        with pytest.raises(TypeError, match=name):
            make()
