"""splnode.avro.avro_json: Avro's own JSON encoding, against fastavro's."""

import datetime
import decimal
import io
import json
import math
import random
from typing import Any

import fastavro
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splnode.avro.avro_json import AvroReader, AvroWriter
from splnode.avro.codec import Branch, decoder, encoder
from splnode.avro.schema import Schema, parse_schema
from splnode.errors import DataError, EncodeError, LimitExceeded, SchemaError
from splnode.limits import Limits
from tests.avro.codec.arbitrary import Schemas, value_of

SOURCE: Any = {
    "type": "record",
    "name": "acme.All",
    "fields": [
        {"name": "b", "type": "bytes"},
        {"name": "f", "type": {"type": "fixed", "name": "F", "size": 2}},
        {"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["A", "B"]}},
        {"name": "u", "type": ["null", "int", "acme.F", {"type": "map", "values": "string"}]},
        {"name": "a", "type": {"type": "array", "items": ["string", "double"]}},
        {"name": "d", "type": "int", "default": 5},
    ],
}
ALL = parse_schema(json.dumps(SOURCE))
VALUE: Any = {"b": b"\x00\xff", "f": b"ab", "e": "B", "u": {"k": "v"}, "a": ["x", 0.5], "d": 1}
TEXT: Any = {
    "b": "\x00\xff", "f": "ab", "e": "B", "u": {"map": {"k": "v"}}, "a": [{"string": "x"}, {"double": 0.5}], "d": 1,
}  # fmt: skip
LIMITS = Limits()


def read(schema: Schema, text: Any) -> Any:
    return AvroReader(LIMITS).read(schema, text)


def write(schema: Schema, value: Any) -> Any:
    return AvroWriter(LIMITS).write(schema, value)


def through_the_codec(schema: Schema, value: Any) -> Any:
    return decoder(schema).decode(encoder(schema).encode(value))[0]


def test_all_types() -> None:
    assert write(ALL, VALUE) == TEXT
    assert through_the_codec(ALL, read(ALL, TEXT)) == VALUE


@pytest.mark.parametrize("u", [None, 5, b"xy", {}])
def test_fastavro_writes_the_same(u: Any) -> None:
    out = io.StringIO()
    fastavro.json_writer(out, SOURCE, [{**VALUE, "u": u}])
    assert json.loads(out.getvalue()) == write(ALL, {**VALUE, "u": u})


@pytest.mark.parametrize("seed", range(200))
def test_any_value_comes_back(seed: int) -> None:
    rng = random.Random(seed)
    try:
        schema = parse_schema(json.dumps(Schemas(rng).any()))
        value = through_the_codec(schema, value_of(rng, schema))
    except (DataError, SchemaError):
        return  # one in a few is not to be encoded, on purpose
    text = json.dumps(write(schema, value), allow_nan=False)
    assert repr(through_the_codec(schema, read(schema, json.loads(text)))) == repr(value)


@given(st.floats(width=32) | st.sampled_from([float("nan"), float("inf")]))
def test_numbers_that_are_none(value: float) -> None:
    for kind in ("float", "double"):
        found = read(Schema(kind), json.loads(json.dumps(write(Schema(kind), value), allow_nan=False)))
        assert found == value or (math.isnan(found) and math.isnan(value))


def test_logical_types_are_raw() -> None:
    day = parse_schema('{"type": "int", "logicalType": "date"}')
    assert write(day, datetime.date(1970, 1, 3)) == 2
    assert read(day, 2) == 2
    amount = parse_schema('{"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}')
    assert write(amount, decimal.Decimal("1.00")) == "d"
    assert through_the_codec(amount, read(amount, "d")) == decimal.Decimal("1.00")
    with pytest.raises(EncodeError, match="more than 2 digits"):
        write(amount, decimal.Decimal("1.001"))


def test_a_branch_may_be_named_shortly() -> None:
    value = read(ALL, {**TEXT, "u": {"F": "ab"}})["u"]
    assert (value.name, value.value) == ("acme.F", b"ab")


def test_structs_and_branches_are_written() -> None:
    class All(msgspec.Struct):
        b: bytes
        f: bytes
        e: str
        u: Any
        a: list[Any]

    value = All(b"", b"xy", "A", Branch("acme.F", b"ab"), [])
    assert write(ALL, value) == {"b": "", "f": "xy", "e": "A", "u": {"acme.F": "ab"}, "a": []}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"u": 5},
            "u: expected one of null, int, acme.F, map, found 5: in Avro JSON a value of a union names its branch",
        ),
        ({"u": {"long": 5}}, "u: no branch is named 'long'; there are null, int, acme.F, map"),
        ({"u": {"map": {"k": 5}}}, 'u["map"]["k"]: expected a string, found 5'),
        ({"a": [{"double": 1}, {"string": 2}]}, 'a[1]["string"]: expected a string, found 2'),
        ({"a": [None]}, "a[0]: no branch is named 'null'"),
        ({"b": "€"}, "b: expected bytes as a string"),
        ({"b": 5}, "b: expected bytes as a string, found 5"),
        ({"f": "abc"}, 'f: expected acme.F, 2 bytes as a string, found "abc": it is 3 bytes long'),
        ({"e": "C"}, "e: expected acme.E: one of A, B"),
        ({"a": 5}, "a: expected a list, found 5"),
        ({"u": {"map": []}}, 'u["map"]: expected an object (map), found []'),
        ({"x": 5}, "acme.All has no field 'x'"),
    ],
)
def test_what_is_wrong_is_named(change: Any, words: str) -> None:
    with pytest.raises(EncodeError) as caught:
        read(ALL, {**TEXT, **change})
    assert words in str(caught.value)


def test_missing_fields() -> None:
    assert "d" not in read(ALL, {key: TEXT[key] for key in "bfeua"})
    with pytest.raises(EncodeError, match="needs 'b', which is not given"):
        read(ALL, {})
    with pytest.raises(EncodeError, match="has no value for the field 'b'"):
        write(ALL, {})


@pytest.mark.parametrize(
    ("source", "value"), [('"int"', "x"), ('{"type": "array", "items": "int"}', 5), ('"bytes"', 5)]
)
def test_what_is_no_value_is_not_written(source: str, value: Any) -> None:
    with pytest.raises(EncodeError):
        write(parse_schema(source), value)
    with pytest.raises(EncodeError):
        write(ALL, 5)
    with pytest.raises(EncodeError):
        read(ALL, 5)


def test_depth_is_limited_both_ways() -> None:
    schema = parse_schema('{"type": "record", "name": "L", "fields": [{"name": "next", "type": ["null", "L"]}]}')
    text: Any = {"next": None}
    value: Any = {"next": None}
    for _ in range(5000):
        text, value = {"next": {"L": text}}, {"next": value}
    with pytest.raises(LimitExceeded, match="depth = 64"):
        read(schema, text)
    with pytest.raises(LimitExceeded, match="depth = 64"):
        write(schema, value)
