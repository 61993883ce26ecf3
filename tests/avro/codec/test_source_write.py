import json
from typing import Any

import msgspec
import pytest

from splnode.avro.codec.source import Bad
from splnode.avro.codec.source_write import quick_write
from splnode.avro.resolution import write_plan
from splnode.avro.schema import parse_schema
from splnode.limits import Limits


def quick(source: Any, **limits: int) -> Any:
    made = quick_write(write_plan(parse_schema(json.dumps(source))), Limits(**limits))
    assert made is not None
    return made


class Point(msgspec.Struct):
    x: int
    extra: int = 0


POINT = {"type": "record", "name": "Point", "fields": [{"name": "x", "type": "int"}]}


def test_it_writes_what_is_as_usual() -> None:
    assert quick({"type": "array", "items": ["null", "long", "string"]})([None, -1, "a"]) == bytes.fromhex(
        "06000201040261" + "00"
    )
    assert quick(POINT)({"x": 5}) == quick(POINT)(Point(5)) == b"\x0a"


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("int", 2**31),
        ("int", -(2**31) - 1),
        ("int", True),
        ("long", 2**63),
        ("boolean", 1),
        ("string", b""),
        ("bytes", ""),
        ("double", "x"),
        ("float", 1e300),
        ("null", 0),
        (POINT, {}),
        (POINT, {"x": 1, "y": 1}),
        (POINT, 5),
        (["null", "int"], "x"),
        ([], None),
    ],
)
def test_it_gives_up_where_anything_is_wrong(source: Any, value: Any) -> None:
    with pytest.raises(Exception, match=r".*"):
        quick(source)(value)


def test_structs_of_many_classes_find_their_branch() -> None:
    write = quick(["null", POINT])
    classes = [msgspec.defstruct(f"Point{n}", [("x", int)]) for n in range(70)]
    for _ in range(2):
        assert {write(kind(5)) for kind in [Point, *classes]} == {b"\x02\x0a"}


def test_a_struct_of_another_shape_beside_one_of_its_branch() -> None:
    write = quick([POINT, {"type": "map", "values": "int"}])
    assert write(Point(5)) == write({"x": 5})[:1] + b"\x0a" == b"\x00\x0a"
    with pytest.raises(KeyError):
        write(msgspec.defstruct("Other", [("y", int)])(1))


def test_a_struct_with_an_attribute_never_set() -> None:
    point = Point(1)
    del point.x
    with pytest.raises(AttributeError):
        quick(POINT)(point)


def test_limits_are_never_passed() -> None:
    write = quick({"type": "array", "items": "int"}, nodes=4)
    assert write([1, 2]) == b"\x04\x02\x04\x00"
    with pytest.raises(Exception, match=r".*"):
        write([1, 2, 3])


def test_a_plan_too_large_has_none() -> None:
    fields = [{"name": f"f{n}", "type": "string"} for n in range(900)]
    schema = parse_schema(json.dumps({"type": "record", "name": "R", "fields": fields}))
    assert quick_write(write_plan(schema), Limits()) is None


def test_a_list_that_grows_meanwhile() -> None:
    plan = write_plan(parse_schema('{"type": "array", "items": "string"}'))
    value = ["a", "b"]
    assert plan.items is not None
    plan.items.logical = lambda item: value.append("c") or item if len(value) < 9 else item  # type: ignore[func-returns-value]  # a lambda has no statements
    write = quick_write(plan, Limits())
    assert write is not None
    with pytest.raises(Bad):
        write(value)
