import enum
import json
import typing
from typing import Annotated, Any, Literal, NewType

import msgspec
import pytest

from splnode.avro.codec.binding import bind
from splnode.avro.codec.plan import Op
from splnode.avro.resolution import read_plan
from splnode.avro.schema import parse_schema
from splnode.errors import SchemaError


class Point(msgspec.Struct):
    x: int
    y: float = 0.0


class Reversed(msgspec.Struct, kw_only=True):
    y: float
    x: int


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    x: int


class Greedy(msgspec.Struct):
    x: int
    z: int


class Node(msgspec.Struct):
    next: "Node | None" = None


class Colour(enum.Enum):
    RED = "RED"


class Movie(typing.TypedDict):
    x: int


POINT = {"type": "record", "name": "a.Point", "fields": [{"name": "x", "type": "int"}, {"name": "y", "type": "double"}]}
ENUM = {"type": "enum", "name": "E", "symbols": ["RED", "GREEN"]}
Id = NewType("Id", int)


def plan(source: Any) -> Any:
    return read_plan(parse_schema(json.dumps(source)))


def array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


FITTING = [
    ("null", None),
    ("int", int),
    ("int", float),
    ("int", Id),
    ("int", Annotated[int, "x"]),
    ("int", Literal[1, 2]),
    ("int", Any),
    ("int", object),
    ("int", int | None),
    ("double", float),
    ("boolean", bool),
    ("bytes", bytes),
    ("string", str),
    (ENUM, str),
    (POINT, dict),
    (POINT, dict[str, Any]),
    (POINT, Movie),
    (POINT, Any),
    (array("int"), list),
    (array("int"), typing.Sequence[int]),
    ({"type": "map", "values": "int"}, typing.Mapping[str, int]),
    (["null", "int", "string"], int | str | None),
    (["null", POINT], Point | dict[str, Any] | None),
    ({"type": "int", "logicalType": "date"}, int),
]


@pytest.mark.parametrize(("source", "wanted"), FITTING)
def test_a_type_that_fits(source: Any, wanted: Any) -> None:
    bind(plan(source), wanted)


MISFITS = [
    ("int", str, "int (int) is not str"),
    ("double", int, "float (double) is not int"),
    ("string", bytes, "str (string) is not bytes"),
    ("boolean", int, "bool (boolean) is not int"),
    ("null", int, "None (null) is not int"),
    (["null", "int"], int, "None (null) is not int"),
    (array("int"), tuple[int, ...], "a list (array) is not tuple[int, ...]"),
    (array("int"), list[str], "[]: int (int) is not str"),
    ({"type": "map", "values": "int"}, list[int], "a dict (map) is not list[int]"),
    (ENUM, int, "a symbol (E) is not int"),
    (ENUM, Colour, "Colour has no member for the symbol 'GREEN' of E"),
    (POINT, int, "a record (a.Point) is not int"),
    (POINT, Greedy, "Greedy needs 'z', which a.Point does not have"),
    (POINT, Strict, "Strict forbids unknown fields, and a.Point has 'y'"),
    ("int", Point, "int (int) is not Point"),
    ({"type": "int", "logicalType": "date"}, Point, "is not Point"),
]


@pytest.mark.parametrize(("source", "wanted", "reason"), MISFITS)
def test_a_type_that_does_not_fit_is_refused(source: Any, wanted: Any, reason: str) -> None:
    with pytest.raises(SchemaError) as caught:
        bind(plan(source), wanted)
    assert reason in str(caught.value)


def test_a_struct_is_called_by_position_where_it_can_be() -> None:
    bound = bind(plan(POINT), Point)
    assert (bound.factory, bound.positional, bound.struct_names, bound.straight) == (Point, True, ("x", "y"), True)
    keyword = bind(plan(POINT), Reversed)
    assert (keyword.positional, keyword.names, keyword.straight) == (False, ("y", "x"), False)
    assert [target for _, _, target in keyword.steps] == [1, 0]


def test_the_plan_itself_is_left_as_it_was() -> None:
    original = plan(array(POINT))
    bound = bind(original, list[Point])
    assert bound is not original
    assert bound.items.factory is Point
    assert original.items.factory is None
    assert bound.items.cost == original.items.cost


def test_nothing_is_copied_for_plain_types() -> None:
    original = plan(POINT)
    assert bind(original, dict) is original
    assert bind(original, Any) is original


def test_types_by_field() -> None:
    request = {"type": "record", "name": "send", "fields": [{"name": "p", "type": POINT}, {"name": "n", "type": "int"}]}
    bound = bind(plan(request), {"p": Point})
    assert bound.factory is None
    assert bound.steps[0][1].factory is Point
    with pytest.raises(SchemaError, match="send has no field 'q'; it has: p, n"):
        bind(plan(request), {"q": Point})
    with pytest.raises(SchemaError, match=r"p: a record \(a\.Point\) is not str"):
        bind(plan(request), {"p": str})
    with pytest.raises(SchemaError, match="for a record only"):
        bind(plan("int"), {"q": Point})


def test_a_type_that_holds_itself_ends() -> None:
    source = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
    bound = bind(plan(source), Node)
    assert bound.steps[0][1].branches[1] is bound


def test_a_default_that_does_not_fit_the_struct_is_refused() -> None:
    writer = parse_schema('{"type": "record", "name": "R", "fields": []}')
    field = {"name": "p", "type": POINT, "default": {"x": 1, "y": 1}}
    reader = parse_schema(json.dumps({"type": "record", "name": "R", "fields": [field]}))

    class Tiny(msgspec.Struct):
        x: Annotated[int, msgspec.Meta(gt=5)]

    with pytest.raises(SchemaError, match="the schema's default does not fit Tiny"):
        bind(read_plan(writer, reader), {"p": Tiny})


def test_a_branch_that_fails_is_left_to_fail() -> None:
    writer, reader = parse_schema('["null", "string"]'), parse_schema('["null", "int"]')
    assert bind(read_plan(writer, reader), int | None).branches[1].op == Op.FAIL
