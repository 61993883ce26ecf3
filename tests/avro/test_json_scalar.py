"""splnode.avro.json_scalar: each type without parts, as JSON and back."""

import datetime
import decimal
import enum
import json
import math
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splnode.avro import json_logical, json_scalar
from splnode.avro.json_scalar import BytesAs, expected, is_byte_form, key_step, read_scalar, symbol_of, write_scalar
from splnode.avro.logical_values import Duration
from splnode.avro.schema import PRIMITIVES, Schema, parse_schema
from splnode.errors import EncodeError

UTC = datetime.UTC
ID = uuid.UUID("12345678-1234-5678-1234-567812345678")
NAN = float("nan")
INF = float("inf")


def schema_of(source: Any) -> Schema:
    return parse_schema(json.dumps(source))


def logical(name: str, kind: str = "long", **keys: Any) -> Schema:
    return schema_of({"type": kind, "logicalType": name, **keys})


DECIMAL = logical("decimal", "bytes", precision=6, scale=2)
FIXED = schema_of({"type": "fixed", "name": "F", "size": 3})
ENUM = schema_of({"type": "enum", "name": "Color", "symbols": ["RED", "GREEN"]})
FIXED_UUID = schema_of({"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"})
DURATION = schema_of({"type": "fixed", "name": "D", "size": 12, "logicalType": "duration"})


@pytest.mark.parametrize(
    ("schema", "value", "written"),
    [
        (Schema("null"), None, None),
        (Schema("boolean"), True, True),
        (Schema("int"), -(2**31), -(2**31)),
        (Schema("long"), 2**63 - 1, 2**63 - 1),
        (Schema("double"), 0.1, 0.1),
        (Schema("double"), 2**53, 2**53),
        (Schema("double"), INF, "Infinity"),
        (Schema("float"), -INF, "-Infinity"),
        (Schema("float"), 0.10000000149011612, 0.1),
        (Schema("float"), 3.4028234663852886e38, 3.4028235e38),
        (Schema("float"), 1.401298464324817e-45, 1.4013e-45),
        (Schema("string"), "é", "é"),
        (Schema("bytes"), b"\x00\xff", "AP8="),
        (FIXED, b"abc", "YWJj"),
        (ENUM, "RED", "RED"),
        (DECIMAL, decimal.Decimal("12.30"), "12.30"),
        (DECIMAL, decimal.Decimal("1E+3"), "1000"),
        (logical("uuid", "string"), ID, str(ID)),
        (FIXED_UUID, ID, str(ID)),
        (DURATION, Duration(1, 2, 3), {"months": 1, "days": 2, "millis": 3}),
        (logical("date", "int"), datetime.date(2024, 5, 1), "2024-05-01"),
        (logical("time-millis", "int"), datetime.time(1, 2, 3, 4000), "01:02:03.004000"),
        (logical("time-micros"), datetime.time(1, 2), "01:02:00"),
        (logical("timestamp-millis"), datetime.datetime(2024, 5, 1, 12, tzinfo=UTC), "2024-05-01T12:00:00Z"),
        (logical("timestamp-micros"), datetime.datetime(1, 1, 1, 0, 0, 0, 1, UTC), "0001-01-01T00:00:00.000001Z"),
        (logical("local-timestamp-millis"), datetime.datetime(2024, 5, 1, 12), "2024-05-01T12:00:00"),
        (logical("timestamp-nanos"), 1_714_564_800_000_000_001, "2024-05-01T12:00:00.000000001Z"),
        (logical("timestamp-nanos"), -1, "1969-12-31T23:59:59.999999999Z"),
        (logical("local-timestamp-nanos"), 0, "1970-01-01T00:00:00"),
    ],
    ids=lambda each: repr(each)[:40],
)
def test_is_written_and_read(schema: Schema, value: Any, written: Any) -> None:
    assert write_scalar(schema, value, "base64") == written
    found = read_scalar(schema, written, "base64")
    assert (found, type(found)) == (value, type(value)) or schema.kind == "double"
    assert found == value


@pytest.mark.parametrize(
    ("schema", "given", "value"),
    [
        (Schema("int"), 5.0, 5),
        (Schema("double"), 5, 5.0),
        (Schema("double"), "NaN", NAN),
        (DECIMAL, 1.5, decimal.Decimal("1.5")),
        (DECIMAL, 12, decimal.Decimal(12)),
        (DECIMAL, 0.1, decimal.Decimal("0.1")),
        (DECIMAL, {"hex": "04ce"}, decimal.Decimal("12.30")),
        (FIXED_UUID, {"hex": ID.hex}, ID),
        (DURATION, {"hex": "010000000200000003000000"}, Duration(1, 2, 3)),
        (logical("date", "int"), 0, 0),
        (logical("timestamp-millis"), 1_714_564_800_000, 1_714_564_800_000),
        (logical("timestamp-millis"), "2024-05-01T14:00:00+02:00", datetime.datetime(2024, 5, 1, 12, tzinfo=UTC)),
        (logical("timestamp-nanos"), "2024-05-01T14:00:00.5+02:00", 1_714_564_800_500_000_000),
        (Schema("bytes"), {"utf8": "é"}, "é".encode()),
        (Schema("bytes"), {"base64": "YQ=="}, b"a"),
        (Schema("bytes"), {"hex": "FFfe"}, b"\xff\xfe"),
        (Schema("bytes"), "", b""),
    ],
    ids=lambda each: repr(each)[:40],
)
def test_is_also_read(schema: Schema, given: Any, value: Any) -> None:
    found = read_scalar(schema, given, "base64")
    assert found == value or (math.isnan(found) and math.isnan(value))
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("schema", "given", "words"),
    [
        (Schema("null"), 0, "expected null, found 0"),
        (Schema("boolean"), 1, "expected true or false, found 1"),
        (Schema("int"), 2**31, "whole number of 32 bits, found 2147483648"),
        (Schema("int"), True, "found true"),
        (Schema("int"), 1.5, "found 1.5"),
        (Schema("int"), "1", 'found "1"'),
        (Schema("int"), INF, "found Infinity"),
        (Schema("long"), -(2**63) - 1, "whole number of 64 bits"),
        (Schema("double"), 2**53 + 1, "a double cannot hold all its digits"),
        (Schema("double"), 10**400, "it is too large"),
        (Schema("float"), 2**24 + 1, "a float cannot hold all its digits"),
        (Schema("float"), 1e39, "it is too large"),
        (Schema("double"), NAN, 'write "NaN"'),
        (Schema("double"), "nan", 'expected double, a number, found "nan"'),
        (Schema("double"), True, "found true"),
        (Schema("string"), 5, "expected a string, found 5"),
        (Schema("bytes"), [1], 'found a list of 1: write a string, or {"base64": ...}'),
        (Schema("bytes"), "a b", "it is not base64"),
        (Schema("bytes"), "YQ", "it is not base64"),
        (Schema("bytes"), {"hex": "f"}, "it is not hex"),
        (Schema("bytes"), {"base64": 5}, "write a string"),
        (FIXED, "YQ==", 'F, 3 bytes as a string, found "YQ==": it is 1 bytes long'),
        (ENUM, "GREN", 'Color: one of RED, GREEN, found "GREN": did you mean GREEN?'),
        (ENUM, 5, "Color: one of RED, GREEN, found 5"),
        (DECIMAL, "12.345", "more than 2 digits behind the point"),
        (DECIMAL, "123456.00", "more than 6 digits"),
        (DECIMAL, "NaN", "not a finite decimal"),
        (DECIMAL, "1e999999999", "more than 6 digits"),
        (DECIMAL, "x", 'expected a decimal of 6 digits, 2 behind the point, like "12.3", found "x"'),
        (DECIMAL, None, "found null"),
        (DECIMAL, {"hex": "7fffffffffffff7f"}, "more than 6 digits"),
        (logical("uuid", "string"), ID.hex, "expected a UUID as a string of 36 characters"),
        (logical("uuid", "string"), "x" * 36, "expected a UUID"),
        (logical("date", "int"), "2024-13-01", 'a date like "2024-05-01", found "2024-13-01"'),
        (logical("date", "int"), 2**31, "found 2147483648"),
        (logical("time-millis", "int"), "12:00:00Z", "a time like"),
        (logical("timestamp-millis"), "2024-05-01T12:00:00", 'like "2024-05-01T12:34:56.789Z"'),
        (logical("timestamp-millis"), True, "found true"),
        (logical("local-timestamp-millis"), "2024-05-01T12:00:00Z", "a time without zone"),
        (logical("timestamp-nanos"), "2024-05-01T12:00:00.0000000001Z", "a time like"),
        (logical("timestamp-nanos"), "9999-05-01T12:00:00Z", "a time like"),
        (logical("timestamp-nanos"), "x", "a time like"),
        (DURATION, {"months": 1}, 'like {"months": 0, "days": 1, "millis": 500}'),
        (DURATION, {"months": 1, "days": 2, "millis": -1}, "whole number from 0 to 4294967295"),
        (DURATION, {"months": 1, "days": 2, "millis": True}, "whole number from 0 to 4294967295"),
    ],
    ids=lambda each: repr(each)[:40],
)
def test_says_what_was_expected_and_found(schema: Schema, given: Any, words: str) -> None:
    with pytest.raises(EncodeError) as caught:
        read_scalar(schema, given, "base64")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (Schema("null"), 0),
        (Schema("boolean"), 1),
        (Schema("int"), True),
        (Schema("long"), 1.5),
        (Schema("double"), "1"),
        (Schema("float"), 1e39),
        (Schema("string"), b"x"),
        (Schema("bytes"), "x"),
        (ENUM, "BLUE"),
        (ENUM, []),
        (DECIMAL, 5),
        (DECIMAL, decimal.Decimal("1E+999999999")),
        (DECIMAL, decimal.Decimal("1.001")),
        (DURATION, Duration(-1, 0, 0)),
        (logical("date", "int"), "2024-05-01"),
    ],
    ids=repr,
)
def test_does_not_write_what_is_no_value(schema: Schema, value: Any) -> None:
    with pytest.raises(EncodeError):
        write_scalar(schema, value, "base64")


@given(st.binary())
@pytest.mark.parametrize("bytes_as", ["base64", "utf8", "hex"])
def test_bytes_in_each_form(bytes_as: BytesAs, value: bytes) -> None:
    assert read_scalar(Schema("bytes"), write_scalar(Schema("bytes"), value, bytes_as), bytes_as) == value


def test_utf8_where_it_can_be() -> None:
    assert write_scalar(Schema("bytes"), "é".encode(), "utf8") == "é"
    assert write_scalar(Schema("bytes"), b"\xff", "utf8") == {"base64": "/w=="}
    assert write_scalar(Schema("bytes"), memoryview(b"a"), "hex") == "61"


@given(st.floats(width=32))
def test_a_float_keeps_its_value(value: float) -> None:
    schema = Schema("float")
    found = read_scalar(schema, write_scalar(schema, value, "base64"), "base64")
    assert found == value or (math.isnan(found) and math.isnan(value))


@given(st.integers(-(2**63), 2**63 - 1))
@pytest.mark.parametrize("name", ["timestamp-nanos", "local-timestamp-nanos"])
def test_nanoseconds(name: str, value: int) -> None:
    assert read_scalar(logical(name), write_scalar(logical(name), value, "base64"), "base64") == value


@given(st.datetimes(timezones=st.timezones() | st.none(), allow_imaginary=False))
def test_moments(value: datetime.datetime) -> None:
    schema = logical("local-timestamp-micros" if value.tzinfo is None else "timestamp-micros")
    try:
        written = write_scalar(schema, value, "base64")
    except OverflowError:
        return  # a moment of year 1 or 9999 that UTC puts into another
    wanted = (
        value if value.tzinfo is None else value.astimezone(UTC)
    )  # compared there: an hour may come twice elsewhere
    assert read_scalar(schema, written, "base64") == wanted


def test_enum_members() -> None:
    class ByValue(enum.Enum):
        RED = "RED"

    class ByName(enum.Enum):
        RED = 1

    assert [symbol_of(member) for member in (ByValue.RED, ByName.RED, "RED", 5)] == ["RED", "RED", "RED", 5]
    assert write_scalar(ENUM, ByName.RED, "base64") == "RED"


def test_byte_forms() -> None:
    assert is_byte_form({"hex": ""})
    assert not any(is_byte_form(each) for each in ({}, {"hex": 1}, {"hex": "", "utf8": ""}, {"a": ""}, "hex", None))


def test_a_step() -> None:
    assert key_step('a"é') == '["a\\"é"]'


def test_each_type_has_its_words() -> None:
    for kind in (*PRIMITIVES, "array", "map"):
        assert expected(Schema(kind))
    assert set(json_scalar._LOGICAL_WORDS) == set(json_logical._TEXTS) | {"decimal", "duration"}
    union = Schema("union")
    union.branches = (Schema("null"), ENUM)
    assert expected(union) == "one of null, Color"
