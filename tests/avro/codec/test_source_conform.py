import json
from typing import Any

import msgspec
import pytest

from splnode.avro.codec import plain
from splnode.avro.codec.binding import bind
from splnode.avro.codec.pairing import pair_up
from splnode.avro.codec.source import AFTER, MAX_NODES, Bad
from splnode.avro.codec.source_conform import quick_conform
from splnode.avro.resolution import read_plan, write_plan
from splnode.avro.schema import parse_schema
from splnode.errors import DataError
from splnode.limits import DEFAULT_LIMITS, Limits


class R(msgspec.Struct):
    a: int
    b: list[str] = []


def record(*fields: tuple[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": [{"name": name, "type": kind} for name, kind in fields]}


def pair(source: Any, reader: Any = None, into: Any = None) -> Any:
    writer = parse_schema(json.dumps(source))
    plan = read_plan(writer, writer if reader is None else parse_schema(json.dumps(reader)))
    return pair_up(write_plan(writer), plan if into is None else bind(plan, into))


def quick(*args: Any, limits: Limits = DEFAULT_LIMITS) -> Any:
    made = quick_conform(pair(*args), limits)
    assert made is not None
    return made


BOTH = record(("a", "int"), ("b", {"type": "array", "items": "string"}))
ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}


@pytest.mark.parametrize(
    ("source", "reader", "value", "expected"),
    [
        ("int", "double", 3, 3.0),
        ("float", "double", 0.1, 0.10000000149011612),
        ("double", "double", 1, 1.0),
        ("bytes", "string", b"\xc3\xa9", "é"),
        ("string", "bytes", "é", b"\xc3\xa9"),
        (ENUM, {**ENUM, "symbols": ["B"], "default": "B"}, "A", "B"),
        (["null", "int", "string"], ["string", "long"], "x", "x"),
        (BOTH, record(("b", {"type": "array", "items": "bytes"})), {"a": 1, "b": ("x", "y")}, {"b": [b"x", b"y"]}),
        ({"type": "map", "values": ["null", BOTH]}, None, {"k": {"b": [], "a": 5}}, {"k": {"a": 5, "b": []}}),
        (record(("n", ["null", "R"])), None, {"n": {"n": None}}, {"n": {"n": None}}),
        ({"type": "int", "logicalType": "date"}, "int", 5, 5),
    ],
)
def test_what_it_gives(source: Any, reader: Any, value: Any, expected: Any) -> None:
    given = quick(source, reader)(value)
    assert repr(given) == repr(expected)


def test_structs_both_ways() -> None:
    value = R(1, ["x"])
    given = quick(BOTH, None, R)(value)
    assert given == value
    assert given.b is not value.b
    assert quick(BOTH)(value) == {"a": 1, "b": ["x"]}


@pytest.mark.parametrize(
    ("source", "reader", "value"),
    [
        ("null", None, 0),
        ("boolean", None, 1),
        ("int", None, 2**31),
        ("int", None, True),
        ("float", None, 1e300),
        ("double", None, "1"),
        ("string", None, "\ud800"),
        ("bytes", "string", b"\xff"),
        ({"type": "fixed", "name": "F", "size": 2}, None, b"1"),
        (ENUM, {**ENUM, "symbols": ["B"]}, "A"),
        (["int", "string"], ["int"], "x"),
        (BOTH, None, {"a": 1}),
        (BOTH, None, {"a": 1, "b": [], "c": 2}),
        ({"type": "map", "values": "int"}, None, {1: 1}),
    ],
)
def test_it_gives_up(source: Any, reader: Any, value: Any) -> None:
    with pytest.raises((Bad, DataError, ArithmeticError, ValueError, LookupError)):
        quick(source, reader)(value)


@pytest.mark.parametrize(
    ("limits", "source", "fits", "too_much"),
    [
        (Limits(nodes=4), {"type": "array", "items": "null"}, [None] * 2, [None] * 3),
        (Limits(depth=2), record(("n", ["null", "R"])), {"n": {"n": None}}, {"n": {"n": {"n": None}}}),
        (Limits(message_bytes=9), "string", "1234", "123456789"),
        (Limits(message_bytes=40), {"type": "array", "items": "long"}, [1] * 3, [1] * 4),
        (Limits(message_bytes=40), {"type": "map", "values": "string"}, {"k": "é" * 5}, {"k": "é" * 20}),
    ],
)
def test_what_may_be_too_much_it_does_not_do(limits: Limits, source: Any, fits: Any, too_much: Any) -> None:
    conform = quick(source, limits=limits)
    assert conform(fits) == fits
    with pytest.raises(Bad):
        conform(too_much)


def test_a_list_that_grows_meanwhile() -> None:
    made = pair({"type": "array", "items": "string"})
    value = ["a", "b"]
    made.items.write.logical = lambda item: value.append("c") or item if len(value) < 9 else item
    conform = quick_conform(made, DEFAULT_LIMITS)
    assert conform is not None
    with pytest.raises(Bad):
        conform(value)


def test_a_plan_that_is_too_large_has_none() -> None:
    assert (
        quick_conform(
            pair(record(*((f"f{i}", {"type": "array", "items": "int"}) for i in range(MAX_NODES)))), DEFAULT_LIMITS
        )
        is None
    )


def test_it_goes_first_once_a_plan_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = parse_schema(json.dumps(BOTH))
    conformer = plain.Conformer(write_plan(schema), read_plan(schema), DEFAULT_LIMITS)
    for _ in range(AFTER + 1):
        conformer.conform({"a": 1, "b": []})
    monkeypatch.setattr(conformer, "_conform", None)
    assert conformer.conform({"a": 1, "b": []}) == {"a": 1, "b": []}
