"""splnode.avro.plain_write: plain where it can be, and read back as the same value."""

import datetime
import decimal
import json
import math
import uuid
from typing import Any

import msgspec
import pytest

from splnode.avro.codec import Branch
from splnode.avro.json_value import json_to_record
from splnode.avro.plain_json import from_json, to_json
from splnode.avro.plain_write import finite
from splnode.avro.schema import Schema, parse_schema
from splnode.errors import EncodeError, LimitExceeded
from tests.avro.test_plain_read import AMOUNT, CELSIUS, ENUM, FIXED, JSON, KELVIN, MAP, RECORD, SPL, WHEN, schema_of

NOON = datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.UTC)
NOON_TEXT = "2024-05-01T12:00:00Z"


@pytest.mark.parametrize(
    ("union", "value", "written"),
    [
        (["null", "bytes"], b"a", "YQ=="),
        (["string", "bytes"], b"a", {"base64": "YQ=="}),
        (["bytes", FIXED], b"abc", {"bytes": "YWJj"}),
        (["bytes", FIXED], b"ab", "YWI="),
        (["string", ENUM], "A", "A"),
        ([ENUM, "string"], "A", {"E": "A"}),
        (["null", WHEN], NOON, NOON_TEXT),
        (["string", WHEN], NOON, {"long": NOON_TEXT}),
        (["string", WHEN, RECORD], NOON, 1_714_564_800_000),
        (["string", AMOUNT], decimal.Decimal("1.50"), {"bytes": "1.50"}),
        (["string", AMOUNT, RECORD], decimal.Decimal("1.50"), {"hex": "0096"}),
        (["int", "double"], 5.0, 5.0),
        (["int", "double"], math.inf, "Infinity"),
        (["string", "double"], math.nan, {"double": "NaN"}),
        (["float", "double"], 0.1, 0.1),
        ([CELSIUS, KELVIN], {"degrees": 1.0}, {"acme.Celsius": {"degrees": 1.0}}),
        ([CELSIUS, KELVIN], Branch("Kelvin", {"degrees": 1.0}), {"acme.Kelvin": {"degrees": 1.0}}),
        (["null", CELSIUS], {"degrees": 1.0}, {"degrees": 1.0}),
        ([CELSIUS, MAP], {"degrees": 1}, {"acme.Celsius": {"degrees": 1}}),
        ([CELSIUS, MAP], {"x": 1}, {"x": 1}),
        (["null", MAP], {"map": 1}, {"map": 1}),
        (["null", {"type": "map", "values": MAP}], {"map": {"a": 1}}, {"map": {"a": 1}}),
        (["null", {"type": "map", "values": ["int", MAP]}], {"map": {"a": 1}}, {"map": {"map": {"a": 1}}}),
        (["bytes", {"type": "map", "values": "string"}], {"hex": "61"}, {"map": {"hex": "61"}}),
        (["int", "null", "boolean"], True, True),
    ],
)
def test_the_branch_is_said_where_it_must_be(union: list[Any], value: Any, written: Any) -> None:
    schema = schema_of(union)
    assert to_json(schema, value) == written
    assert json.loads(json.dumps(written)) == written
    again = from_json(schema, written)
    assert to_json(schema, again) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, None),
        ("text", "text"),
        (b"a", {"base64": "YQ=="}),
        (json_to_record({"a": [1, None, {"b": 0.5}]}), {"a": [1, None, {"b": 0.5}]}),
        (json_to_record({}), {}),
        (json_to_record([1]), [1]),
        (json_to_record(5), 5),
        (json_to_record({"string": "x"}), {"string": "x"}),
        (json_to_record({"base64": 5}), {"base64": 5}),
        (json_to_record({"base64": "YQ=="}), {"splnode.Record": {"base64": "YQ=="}}),
        (json_to_record({"splnode.Record": 1}), {"splnode.Record": {"splnode.Record": 1}}),
        (json_to_record("text"), {"splnode.Record": "text"}),
        (json_to_record(None), {"splnode.Record": None}),
    ],
)
def test_the_value_of_a_splectrum_answer(value: Any, written: Any) -> None:
    assert to_json(schema_of(SPL), value) == written
    read = from_json(schema_of(SPL), written)
    assert (read.value if isinstance(read, Branch) else read) == value


@pytest.mark.parametrize(("bytes_as", "written"), [("base64", "YQ=="), ("utf8", "a"), ("hex", "61")])
def test_bytes_as_they_are_wanted(bytes_as: Any, written: str) -> None:
    assert to_json(Schema("bytes"), b"a", bytes_as=bytes_as) == written
    assert to_json(schema_of(["string", "bytes"]), b"a", bytes_as=bytes_as) == {bytes_as: written}


def test_json_is_what_it_stands_for() -> None:
    assert to_json(schema_of(JSON), {"value": [{"value": 1}, {"value": math.nan}]}) == [1, "NaN"]
    assert from_json(schema_of(JSON), [1, {"a": None}]) == {"value": [{"value": 1}, {"value": {"a": {"value": None}}}]}


def test_structs_are_written() -> None:
    class Celsius(msgspec.Struct):
        degrees: float

    class Kelvin(msgspec.Struct):
        degrees: float

    assert to_json(schema_of(CELSIUS), Celsius(1.5)) == {"degrees": 1.5}
    assert to_json(schema_of([CELSIUS, KELVIN]), Kelvin(1.5)) == {"acme.Kelvin": {"degrees": 1.5}}


def test_fields_in_the_order_of_the_schema() -> None:
    schema = schema_of({"type": "record", "name": "R", "fields": [{"name": name, "type": "int"} for name in "ab"]})
    assert list(to_json(schema, {"b": 1, "a": 2})) == ["a", "b"]


@pytest.mark.parametrize(
    ("schema", "value", "words"),
    [
        (CELSIUS, {"degrees": "x"}, "degrees: expected double"),
        (CELSIUS, {}, "acme.Celsius has no value for the field 'degrees'"),
        (CELSIUS, {"degrees": 1, "x": 2}, "acme.Celsius has no field 'x'"),
        (CELSIUS, 5, "expected an object (acme.Celsius), found 5"),
        (MAP, {"a": "x"}, '["a"]: expected int'),
        (MAP, 5, "expected an object (map)"),
        ({"type": "array", "items": "int"}, [1, None], "[1]: expected int"),
        ({"type": "array", "items": "int"}, 5, "expected a list"),
        (["null", "int"], "x", '"x" fits none of null, int'),
        (RECORD, {"schema": "x"}, "expected an object (splnode.Record)"),
        (JSON, 5, "expected an object (splnode.Json)"),
    ],
)
def test_what_is_no_value_is_refused(schema: Any, value: Any, words: str) -> None:
    with pytest.raises(EncodeError) as caught:
        to_json(schema_of(schema), value)
    assert words in str(caught.value)


def test_a_value_that_holds_itself_is_refused() -> None:
    schema = parse_schema('{"type": "record", "name": "L", "fields": [{"name": "next", "type": ["null", "L"]}]}')
    value: dict[str, Any] = {}
    value["next"] = value
    with pytest.raises(LimitExceeded, match="depth = 64"):
        to_json(schema, value)


def test_finite() -> None:
    assert finite([1.5, {"a": -math.inf}, math.nan, math.inf, "x", None, 5]) == [
        1.5, {"a": "-Infinity"}, "NaN", "Infinity", "x", None, 5
    ]  # fmt: skip


def test_a_uuid_beside_text_is_text_when_it_is_read() -> None:
    """`string` and its uuid are one branch to Avro, so they never stand side by side; the fixed one may."""
    union = schema_of(["string", {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}])
    value = uuid.UUID(int=5)
    assert to_json(union, value) == {"U": str(value)}
