from typing import Any

import pytest

from splnode.avro.json_value import json_to_record, make_record
from splnode.avro.schema import parse_schema
from splnode.errors import DataError
from splnode.services.data_check import check, check_record

POINT = parse_schema('{"type": "record", "name": "Point", "fields": [{"name": "x", "type": "int"}]}')
FINE: list[tuple[str, Any]] = [
    ('"null"', None),
    ('"string"', "x"),
    ('"bytes"', b"x"),
    ('["null", "string"]', None),
    ('{"type": "enum", "name": "E", "symbols": ["A"]}', "A"),
    ('"long"', json_to_record(5)),
    ('{"type": "array", "items": "int"}', json_to_record([1, 2])),
    ('"bytes"', json_to_record({"base64": "AP8="})),
]
BAD: list[tuple[str, Any]] = [
    ('"string"', None),
    ('"string"', b"x"),
    ('"bytes"', "x"),
    ('{"type": "enum", "name": "E", "symbols": ["A"]}', "B"),
    ('"int"', json_to_record(2**31)),
    ('"int"', json_to_record("5x")),
    ('"int"', {"schema": "splnode.Json", "data": b"\xc3\x01"}),
    ('"int"', {"schema": "splnode.Json", "data": b""}),
    ('"int"', make_record(POINT, {"x": 1})),
]


@pytest.mark.parametrize(("schema", "data"), FINE)
def test_what_fits(schema: str, data: Any) -> None:
    check(parse_schema(schema), data)


@pytest.mark.parametrize(("schema", "data"), BAD)
def test_what_does_not(schema: str, data: Any) -> None:
    with pytest.raises(DataError):
        check(parse_schema(schema), data)


def test_records_of_the_schema() -> None:
    record = make_record(POINT, {"x": 1})
    check(POINT, record)
    for data in (record["data"][:-1], record["data"] + b"\0"):
        with pytest.raises(DataError):
            check(POINT, {"schema": "Point", "data": data})


def test_records_that_could_be_read() -> None:
    for data in (None, b"x", "x", make_record(POINT, {"x": 1}), json_to_record([1])):
        check_record(data)
    for record in (
        {"schema": "x", "data": b"x" * 10},
        {"schema": "splnode.Json", "data": make_record(POINT, {"x": 1})["data"]},
    ):
        with pytest.raises(DataError):
            check_record(record)
