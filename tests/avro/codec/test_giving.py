import json
from typing import Any

import pytest

from splnode.avro.codec.giving import finisher, giver, text
from splnode.avro.resolution import read_plan
from splnode.avro.schema import parse_schema
from splnode.errors import DecodeError


def plan(writer: Any, reader: Any) -> Any:
    return read_plan(parse_schema(json.dumps(writer)), parse_schema(json.dumps(reader)))


def enum(*symbols: str) -> dict[str, Any]:
    return {"type": "enum", "name": "E", "symbols": symbols}


@pytest.mark.parametrize(
    ("writer", "reader", "raw", "value"),
    [
        ("int", "double", 3, 3.0),
        ("bytes", "string", b"\xc3\xa9", "é"),
        ("string", "bytes", "é", b"\xc3\xa9"),
        (enum("A", "B"), enum("B", "A"), 1, "B"),
    ],
)
def test_a_raw_value_becomes_what_the_reader_wants(writer: Any, reader: Any, raw: Any, value: Any) -> None:
    give = giver(plan(writer, reader))
    assert give is not None
    assert repr(give(raw)) == repr(value)


def test_a_value_that_stays_needs_no_function() -> None:
    assert giver(plan("int", "long")) is None


@pytest.mark.parametrize(
    ("writer", "reader", "raw"),
    [
        ("bytes", "string", b"\xff"),
        ("bytes", {"type": "string", "logicalType": "uuid"}, b"abc"),
        (enum("A", "B"), enum("A"), 1),
    ],
)
def test_what_cannot_be_given(writer: Any, reader: Any, raw: Any) -> None:
    give = giver(plan(writer, reader))
    assert give is not None
    with pytest.raises(DecodeError):
        give(raw)


def test_text_says_where_it_is_none() -> None:
    assert text(memoryview(b"abc")) == "abc"
    with pytest.raises(DecodeError, match="not UTF-8: invalid start byte at its byte 1"):
        text(b"a\xff")


def test_a_record_gets_its_defaults_each_time_anew() -> None:
    record = {"type": "record", "name": "R", "fields": []}
    added = {"name": "a", "type": {"type": "array", "items": "int"}, "default": [1]}
    finish = finisher(plan(record, {**record, "fields": [added]}))
    first, second = finish([None]), finish([None])
    assert first == second == {"a": [1]}
    assert first["a"] is not second["a"]
