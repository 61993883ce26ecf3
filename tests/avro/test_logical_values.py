import datetime
import decimal
import uuid
from typing import Any

import pytest

from splnode.avro import logical_values as logical
from splnode.avro.logical_values import Duration
from splnode.avro.schema import Schema

UTC = datetime.UTC
ZONE = datetime.timezone(datetime.timedelta(hours=-5))


def schema(kind: str, name: str, **more: int) -> Schema:
    made = Schema(kind)
    made.logical = name
    for key, value in more.items():
        setattr(made, key, value)
    return made


def read(made: Schema, raw: Any) -> Any:
    convert = logical.reading(made)
    assert convert is not None
    return convert(raw)


def write(made: Schema, value: Any) -> Any:
    convert, _ = logical.writing(made)
    assert convert is not None
    return convert(value)


DECIMAL = schema("bytes", "decimal", precision=6, scale=2)

# schema, raw, value
BOTH_WAYS = [
    (DECIMAL, b"\x00", decimal.Decimal("0.00")),
    (DECIMAL, b"\x7f", decimal.Decimal("1.27")),
    (DECIMAL, b"\x00\x80", decimal.Decimal("1.28")),
    (DECIMAL, b"\x80", decimal.Decimal("-1.28")),
    (DECIMAL, b"\xff", decimal.Decimal("-0.01")),
    (DECIMAL, b"\x0f\x42\x3f", decimal.Decimal("9999.99")),
    (schema("fixed", "decimal", precision=6, scale=0, size=4), b"\xff\xff\xff\xfe", decimal.Decimal(-2)),
    (
        schema("bytes", "decimal", precision=40, scale=1),
        (10**40 - 1).to_bytes(17, "big"),
        decimal.Decimal("9" * 39 + ".9"),
    ),
    (schema("string", "uuid"), "00000000-0000-0000-0000-00000000000a", uuid.UUID(int=10)),
    (schema("fixed", "uuid", size=16), bytes(15) + b"\x0a", uuid.UUID(int=10)),
    (schema("int", "date"), -1, datetime.date(1969, 12, 31)),
    (schema("int", "date"), 2932896, datetime.date(9999, 12, 31)),
    (schema("int", "time-millis"), 86_399_999, datetime.time(23, 59, 59, 999000)),
    (schema("long", "time-micros"), 3_661_000_001, datetime.time(1, 1, 1, 1)),
    (schema("long", "timestamp-millis"), -1, datetime.datetime(1969, 12, 31, 23, 59, 59, 999000, UTC)),
    (schema("long", "timestamp-micros"), 1, datetime.datetime(1970, 1, 1, 0, 0, 0, 1, UTC)),
    (schema("long", "timestamp-micros"), 253402300799999999, datetime.datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)),
    (schema("long", "local-timestamp-millis"), 1000, datetime.datetime(1970, 1, 1, 0, 0, 1)),
    (schema("long", "local-timestamp-micros"), -62135596800000000, datetime.datetime(1, 1, 1)),
    (schema("fixed", "duration", size=12), bytes.fromhex("01000000020000000300ffff"), Duration(1, 2, 0xFFFF0003)),
]


@pytest.mark.parametrize(("made", "raw", "value"), BOTH_WAYS)
def test_values_and_raw_values(made: Schema, raw: Any, value: Any) -> None:
    given = read(made, raw)
    assert given == value
    assert type(given) is type(value)
    assert str(given) == str(value)
    assert write(made, value) == raw
    assert isinstance(value, logical.writing(made)[1])
    assert write(made, raw) == raw


@pytest.mark.parametrize(
    ("made", "raw"),
    [
        (DECIMAL, b"\x0f\x42\x40"),
        (DECIMAL, b"\x7f" * 100_000),
        (schema("string", "uuid"), "x" * 36),
        (schema("string", "uuid"), "{" + "0" * 32 + "}--"),
        (schema("string", "uuid"), "0" * 32),
        (schema("int", "date"), 2932897),
        (schema("int", "date"), -(2**31)),
        (schema("int", "time-millis"), 86_400_000),
        (schema("int", "time-millis"), -1),
        (schema("long", "time-micros"), 2**63 - 1),
        (schema("long", "timestamp-millis"), 2**63 - 1),
        (schema("long", "timestamp-micros"), -(2**63)),
        (schema("long", "local-timestamp-millis"), 253402300800000),
    ],
)
def test_a_raw_value_out_of_range_is_refused(made: Schema, raw: Any) -> None:
    with pytest.raises((ValueError, OverflowError)):
        read(made, raw)


@pytest.mark.parametrize(
    ("made", "value"),
    [
        (DECIMAL, decimal.Decimal("0.001")),
        (DECIMAL, decimal.Decimal("10000")),
        (DECIMAL, decimal.Decimal("1E+50")),
        (DECIMAL, decimal.Decimal("Infinity")),
        (DECIMAL, decimal.Decimal("sNaN")),
        (DECIMAL, decimal.Decimal((0, (1,) * 5000, -4990))),
        (schema("string", "uuid"), "no"),
        (schema("long", "timestamp-millis"), datetime.datetime(1970, 1, 1)),
        (schema("long", "local-timestamp-micros"), datetime.datetime(1970, 1, 1, tzinfo=UTC)),
        (schema("int", "time-millis"), datetime.time(1, tzinfo=UTC)),
        (schema("fixed", "duration", size=12), Duration(0, 0, 2**32)),
        (schema("fixed", "duration", size=12), Duration(0, 0.5, 0)),  # type: ignore[arg-type]  # what is refused
    ],
)
def test_a_value_that_the_type_cannot_hold_is_refused(made: Schema, value: Any) -> None:
    with pytest.raises((ValueError, OverflowError)):
        write(made, value)


def test_what_is_finer_than_the_type_is_cut_off_downwards() -> None:
    moment = datetime.datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC)
    assert write(schema("long", "timestamp-millis"), moment) == -1
    assert write(schema("int", "time-millis"), datetime.time(0, 0, 0, 1999)) == 1


def test_any_zone_is_taken() -> None:
    assert write(schema("long", "timestamp-millis"), datetime.datetime(1970, 1, 1, tzinfo=ZONE)) == 5 * 3600 * 1000


def test_a_decimal_keeps_its_amount_whatever_its_exponent() -> None:
    for text in ("1.5", "1.50", "15E-1", "0.15E1", "1.500"):
        assert write(DECIMAL, decimal.Decimal(text)) == b"\x00\x96"
    assert write(DECIMAL, decimal.Decimal("1E+3")) == (100_000).to_bytes(3, "big")
    assert write(DECIMAL, decimal.Decimal("0E+999")) == b"\x00"
    assert write(DECIMAL, decimal.Decimal("-0")) == b"\x00"


def test_the_decimal_context_of_the_thread_does_not_matter() -> None:
    with decimal.localcontext(decimal.Context(prec=2)):
        assert read(DECIMAL, b"\x0f\x42\x3f") == decimal.Decimal("9999.99")


def test_a_datetime_is_no_date() -> None:
    _, classes = logical.writing(schema("int", "date"))
    assert isinstance(datetime.date(2020, 1, 1), classes)
    assert not isinstance(datetime.datetime(2020, 1, 1), classes)


def test_nanoseconds_stay_numbers() -> None:
    for name in ("timestamp-nanos", "local-timestamp-nanos"):
        assert logical.reading(schema("long", name)) is None
        assert logical.writing(schema("long", name)) == (None, ())
