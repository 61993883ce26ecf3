"""splnode.avro.json_logical: what test_json_scalar does not see, which goes through read_scalar and write_scalar."""

import datetime
import decimal

import pytest

from splnode.avro.json_logical import RAW, read_logical, write_logical
from splnode.avro.schema import parse_schema
from splnode.errors import EncodeError

DATE = parse_schema('{"type": "int", "logicalType": "date"}')
PRICE = parse_schema('{"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}')
NANOS = parse_schema('{"type": "long", "logicalType": "timestamp-nanos"}')


def test_values_are_written_and_others_are_left_to_the_type_below() -> None:
    assert write_logical(DATE, datetime.date(2024, 5, 1)) == "2024-05-01"
    assert write_logical(DATE, 3) is RAW
    assert write_logical(NANOS, 1) == "1970-01-01T00:00:00.000000001Z"
    assert write_logical(NANOS, "1") is RAW


def test_both_ways() -> None:
    assert read_logical(PRICE, "12.30", "base64") == decimal.Decimal("12.30")
    with pytest.raises(EncodeError, match="a decimal of 4 digits"):
        read_logical(PRICE, "123.45", "base64")
    with pytest.raises(EncodeError, match="a decimal of 4 digits"):
        write_logical(PRICE, decimal.Decimal("123.45"))
