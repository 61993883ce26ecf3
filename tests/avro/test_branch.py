"""splnode.avro.branch: the same branch as the codec's."""

import datetime
import decimal
import enum
import json
import uuid
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splnode.avro.branch import as_mapping, deeper, named, pick
from splnode.avro.codec.choice import branch_of
from splnode.avro.codec.plan import Branch
from splnode.avro.logical_values import Duration
from splnode.avro.resolution import write_plan
from splnode.avro.schema import Schema, parse_schema
from splnode.errors import EncodeError, LimitExceeded
from splnode.limits import Limits


class Point(msgspec.Struct):
    x: int
    y: int = 0


class Twin(Point): ...


class Renamed(msgspec.Struct, rename="camel"):
    first_name: str


class Color(enum.Enum):
    RED = "RED"


BRANCHES: list[Any] = [
    "null", "boolean", "int", "long", "float", "double", "bytes", "string",
    {"type": "array", "items": "int"}, {"type": "map", "values": "int"},
    {"type": "enum", "name": "a.Color", "symbols": ["RED", "GREEN"]},
    {"type": "fixed", "name": "a.F3", "size": 3},
    {"type": "record", "name": "a.Point", "fields": [{"name": "x", "type": "int"}, {"name": "y", "type": "int"}]},
    {"type": "record", "name": "b.Twin", "fields": [{"name": "x", "type": "int"}, {"name": "y", "type": "int"}]},
    {"type": "record", "name": "b.Other", "fields": [{"name": "x", "type": "int", "default": 1}]},
    {"type": "long", "logicalType": "timestamp-millis"}, {"type": "int", "logicalType": "date"},
    {"type": "string", "logicalType": "uuid"}, {"type": "bytes", "logicalType": "decimal", "precision": 5},
    {"type": "fixed", "name": "a.D", "size": 12, "logicalType": "duration"},
]  # fmt: skip
VALUES: list[Any] = [
    None, True, 0, 2**31, 2**63, -(2**63), 1.5, "RED", "x", b"abc", bytearray(b"ab"), memoryview(b"abc"), [], (1,), {},
    {"x": 1}, {"x": 1, "y": 2}, {"z": 1}, Point(1), Twin(1), Renamed("a"), Color.RED,
    decimal.Decimal(5), uuid.UUID(int=1),
    datetime.date(2024, 5, 1), Duration(1, 2, 3), b"x" * 12, Branch("int", 5), Branch("Point", {}), Branch("a.F3", b""),
    Branch("nothing", 1), object(),
]  # fmt: skip


def label(source: Any) -> str:
    return str(source if isinstance(source, str) else source.get("name", source["type"]))


UNIONS = st.lists(st.sampled_from(BRANCHES), min_size=1, max_size=6, unique_by=label).map(
    lambda branches: parse_schema(json.dumps(branches))
)


@given(UNIONS, st.sampled_from(VALUES))
def test_is_the_branch_that_the_codec_writes(union: Schema, value: Any) -> None:
    try:
        wanted: Any = branch_of(write_plan(union), value)
    except EncodeError:
        wanted = EncodeError
    try:
        found: Any = pick(union, value)
    except EncodeError:
        found = EncodeError
    assert found == wanted


def test_a_datetime_is_no_date() -> None:
    union = parse_schema(
        '[{"type": "int", "logicalType": "date"}, {"type": "long", "logicalType": "timestamp-millis"}]'
    )
    assert pick(union, datetime.datetime(2024, 5, 1, tzinfo=datetime.UTC))[0] == 1
    assert pick(union, datetime.date(2024, 5, 1))[0] == 0


def test_the_error_lists_the_branches() -> None:
    with pytest.raises(EncodeError, match=r'"x" fits none of null, int'):
        pick(parse_schema('["null", "int"]'), "x")


def test_names() -> None:
    fixed = [{"type": "fixed", "name": f"{space}.F", "size": 1} for space in "ab"]
    union = parse_schema(json.dumps(["int", *fixed, {"type": "fixed", "name": "c.G", "size": 1}]))
    assert [named(union, name) for name in ("int", "a.F", "b.F", "c.G", "G")] == [0, 1, 2, 3, 3]
    for name in ("F", "long", ""):
        with pytest.raises(EncodeError, match=r"there are int, a\.F, b\.F, c\.G"):
            named(union, name)


def test_as_mapping() -> None:
    assert as_mapping({"a": 1}) == {"a": 1}
    assert as_mapping(Renamed("Ada")) == {"firstName": "Ada"}
    assert as_mapping([1]) is None


def test_deeper() -> None:
    assert deeper(1, Limits(depth=2)) == 2
    with pytest.raises(LimitExceeded, match="depth = 2"):
        deeper(2, Limits(depth=2))
