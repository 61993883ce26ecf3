import json
from typing import Any

import pytest

from splnode.avro import codec
from splnode.avro.codec.budget import Budget
from splnode.avro.codec.taking import Fields, converter, dict_of, list_of, steady_entries, steady_items, taker
from splnode.avro.resolution import write_plan
from splnode.avro.schema import parse_schema
from splnode.errors import EncodeError
from splnode.limits import DEFAULT_LIMITS

ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}


def plan(source: Any) -> Any:
    return write_plan(parse_schema(json.dumps(source)))


@pytest.mark.parametrize(
    ("source", "value", "raw"),
    [
        ("null", None, None),
        ("boolean", False, False),
        ("int", -(2**31), -(2**31)),
        ("float", 1, b"\0\0\x80\x3f"),
        ("double", 1, b"\0\0\0\0\0\0\xf0\x3f"),
        ("string", "é", b"\xc3\xa9"),
        ("bytes", memoryview(b"abcd")[::2], b"ac"),
        (ENUM, "B", 1),
    ],
)
def test_the_raw_value(source: Any, value: Any, raw: Any) -> None:
    assert taker(plan(source))(value, Budget(DEFAULT_LIMITS)) == raw


@pytest.mark.parametrize(
    ("source", "value", "text"),
    [
        ("null", 0, "None expected, not int"),
        ("boolean", 1, "bool expected, not int"),
        ("int", True, "int expected, not bool"),
        ("int", 2**31, "the number does not fit int, of 32 bits"),
        ("float", 1e300, "the number does not fit a float"),
        ("string", "\ud800", "a str that is no text: surrogates not allowed at 0"),
        (ENUM, "C", "'C' is no symbol of E"),
        (ENUM, 1, "a symbol of E expected, not int"),
    ],
)
def test_what_is_refused(source: Any, value: Any, text: str) -> None:
    with pytest.raises(EncodeError) as caught:
        taker(plan(source))(value, Budget(DEFAULT_LIMITS))
    assert str(caught.value) == text


@pytest.mark.parametrize("engine", codec.engines())
@pytest.mark.parametrize(
    "source",
    [
        "bytes",
        {"type": "fixed", "name": "F", "size": 3},
        ["null", "bytes"],
        [{"type": "fixed", "name": "F", "size": 3}, "null"],
        [{"type": "fixed", "name": "F", "size": 4}, "null"],
        {"type": "bytes", "logicalType": "decimal", "precision": 4},
    ],
)
def test_a_memoryview_that_was_released(source: Any, engine: str) -> None:
    view = memoryview(b"abc")
    view.release()
    schema = parse_schema(json.dumps(source))
    for face in (codec.encoder(schema, engine=engine).encode, codec.conformer(schema, engine=engine)):
        with pytest.raises(EncodeError, match=r"^operation forbidden on released memoryview object$"):
            face(view)


def test_a_logical_type_refuses_with_an_encode_error() -> None:
    assert converter(plan("string")) is None
    convert = converter(plan({"type": "string", "logicalType": "uuid"}))
    assert convert is not None
    with pytest.raises(EncodeError, match="is not a UUID"):
        convert("x")


def test_containers_are_taken_once_and_as_they_were() -> None:
    class Odd(list[int]):
        def __len__(self) -> int:
            return 99

    assert list_of(Odd([1, 2])) == [1, 2]
    with pytest.raises(EncodeError, match="list expected, not dict"):
        list_of({})
    with pytest.raises(EncodeError, match="dict expected, not list"):
        dict_of([])
    items = [1, 2]
    with pytest.raises(EncodeError, match="changed"):
        for _ in steady_items(items):
            items.append(3)
    entries = {"a": 1, "b": 2}
    with pytest.raises(EncodeError, match="changed"):
        for key, _ in steady_entries(entries):
            entries[key * 2] = 3
    with pytest.raises(EncodeError, match="a map's keys are str, not int"):
        list(steady_entries({1: 2}))


def test_the_fields_of_a_record() -> None:
    node = plan({"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]})
    fields = Fields(node, {"a": 1, "z": 2})
    assert (fields.take("a", None), fields.take("b", lambda: 5)) == (1, 5)
    with pytest.raises(EncodeError, match="the field is missing"):
        fields.take("b", None)
    with pytest.raises(EncodeError, match="R has no field 'z'"):
        fields.end(node)
    with pytest.raises(EncodeError, match="dict expected, not int"):
        Fields(node, 5)
