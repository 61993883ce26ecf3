"""splnode.avro.plain_read: what a person types, unions chosen by the schema, each mistake named with its place."""

import json
from typing import Any

import pytest

from splnode.avro.codec.plan import Branch
from splnode.avro.json_value import JSON_AVSC, RECORD_AVSC, json_to_record
from splnode.avro.plain_json import from_json
from splnode.avro.plain_read import PlainReader, is_open, object_branches, tag_of
from splnode.avro.schema import Schema, parse_schema
from splnode.errors import EncodeError, LimitExceeded
from splnode.limits import Limits

RECORD = json.loads(RECORD_AVSC)
JSON = json.loads(JSON_AVSC)
CELSIUS = {"type": "record", "name": "acme.Celsius", "fields": [{"name": "degrees", "type": "double"}]}
KELVIN = {"type": "record", "name": "acme.Kelvin", "fields": [{"name": "degrees", "type": "double"}]}
NAMED = {"type": "record", "name": "acme.Named", "fields": [{"name": "name", "type": "string"}]}
ENUM = {"type": "enum", "name": "E", "symbols": ["A", "AAAA"]}
FIXED = {"type": "fixed", "name": "F", "size": 3}
MAP = {"type": "map", "values": "int"}
WHEN = {"type": "long", "logicalType": "timestamp-millis"}
AMOUNT = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
SPL = ["null", "bytes", "string", RECORD]


def schema_of(source: Any) -> Schema:
    return parse_schema(json.dumps(source))


def chosen(union: list[Any], value: Any, bytes_as: Any = "base64") -> tuple[str, Any]:
    """The label of the branch and the value read for it."""
    schema = schema_of(union)
    place, read, _ = PlainReader(bytes_as, lambda any_json: ("wrapped", any_json), Limits()).choose(schema, value)
    return schema.branches[place].label, read


@pytest.mark.parametrize(
    ("union", "value", "branch"),
    [
        (["null", "int"], None, "null"),
        (["string", "int"], 5, "int"),
        (["long", "int"], 5, "int"),
        (["double", "long", "int"], 2**31, "long"),
        (["float", "double"], 5, "double"),
        (["int", "double"], 2**31, "double"),
        (["float", "double"], 0.5, "double"),
        (["int", "double"], 5.0, "double"),
        (["int", "string"], 5.0, "int"),
        (["null", WHEN, "double"], 5, "double"),
        (["null", WHEN], 5, "long"),
        (["null", AMOUNT], 1.5, "bytes"),
        (["double", AMOUNT], 1.5, "double"),
        (["string", "bytes", ENUM, FIXED, WHEN], "AAAA", "string"),
        ([ENUM, WHEN], "AAAA", "E"),
        (["bytes", WHEN], "AAAA", "bytes"),
        (["bytes", WHEN], "2024-05-01T12:00:00Z", "long"),
        (["bytes", {"type": "string", "logicalType": "uuid"}], "AAAA", "bytes"),
        (["bytes", {"type": "string", "logicalType": "uuid"}], "12345678-1234-5678-1234-567812345678", "string"),
        (
            [{"type": "int", "logicalType": "date"}, {**WHEN, "logicalType": "local-timestamp-millis"}],
            "2024-05-01",
            "int",
        ),
        (["int", "double"], "NaN", "double"),
        (["boolean", "int"], True, "boolean"),
        (["null", {"type": "array", "items": "int"}], [1], "array"),
        ([CELSIUS, NAMED], {"name": "x"}, "acme.Named"),
        ([CELSIUS, MAP], {"other": 1}, "map"),
        ([CELSIUS, MAP, "bytes"], {"hex": "00"}, "bytes"),
        ([FIXED, "bytes"], {"hex": "0000"}, "bytes"),
    ],
)
def test_the_one_branch_that_fits(union: list[Any], value: Any, branch: str) -> None:
    assert chosen(union, value)[0] == branch


@pytest.mark.parametrize(
    ("value", "choice"),
    [
        (None, ("null", None)),
        ("text", ("string", "text")),
        ({"base64": "YQ=="}, ("bytes", b"a")),
        ({"utf8": "é"}, ("bytes", "é".encode())),
        ({"hex": "61"}, ("bytes", b"a")),
        ({"a": 1}, ("splnode.Record", ("wrapped", {"a": 1}))),
        ({}, ("splnode.Record", ("wrapped", {}))),
        ([1, 2], ("splnode.Record", ("wrapped", [1, 2]))),
        (5, ("splnode.Record", ("wrapped", 5))),
        (True, ("splnode.Record", ("wrapped", True))),
        ({"string": "x"}, ("splnode.Record", ("wrapped", {"string": "x"}))),
        ({"Record": {}}, ("splnode.Record", ("wrapped", {"Record": {}}))),
        ({"null": None}, ("splnode.Record", ("wrapped", {"null": None}))),
        ({"base64": 5}, ("splnode.Record", ("wrapped", {"base64": 5}))),
        ({"base64": "no base64!"}, ("splnode.Record", ("wrapped", {"base64": "no base64!"}))),
        ({"base64": "YQ==", "x": 1}, ("splnode.Record", ("wrapped", {"base64": "YQ==", "x": 1}))),
        ({"splnode.Record": {"base64": "YQ=="}}, ("splnode.Record", ("wrapped", {"base64": "YQ=="}))),
        ({"splnode.Record": "text"}, ("splnode.Record", ("wrapped", "text"))),
    ],
)
def test_the_value_of_a_splectrum_request(value: Any, choice: Any) -> None:
    assert chosen(SPL, value) == choice


@pytest.mark.parametrize(
    ("union", "value", "branch"),
    [
        ([CELSIUS, KELVIN], {"acme.Kelvin": {"degrees": 1}}, "acme.Kelvin"),
        ([CELSIUS, KELVIN], {"Kelvin": {"degrees": 1}}, "acme.Kelvin"),
        (["int", "long"], {"long": 5}, "long"),
        (["string", WHEN], {"long": "2024-05-01T12:00:00Z"}, "long"),
        (["string", "bytes"], {"bytes": "AAAA"}, "bytes"),
        ([CELSIUS, MAP], {"map": {"degrees": 1}}, "map"),
        ([CELSIUS, MAP], {"acme.Celsius": {"degrees": 1}}, "acme.Celsius"),
        ([CELSIUS, MAP], {"Celsius": 5}, "map"),
        (["string", WHEN, MAP], {"long": "2024-05-01T12:00:00Z"}, "long"),
        (["string", WHEN, MAP], {"long": 5}, "map"),
        (["null", NAMED], {"null": None}, "null"),
    ],
)
def test_a_branch_that_is_said(union: list[Any], value: Any, branch: str) -> None:
    assert chosen(union, value)[0] == branch


@pytest.mark.parametrize(
    ("union", "value", "words"),
    [
        ([CELSIUS, KELVIN], {"degrees": 1}, '{"acme.Celsius": ...}, {"acme.Kelvin": ...} (or use --json=avro)'),
        ([CELSIUS, MAP], {"degrees": 1}, 'say which: {"acme.Celsius": ...}, {"map": ...}'),
        ([FIXED, "bytes"], "AAAA", 'say which: {"F": ...}, {"bytes": ...}'),
        ([ENUM, "bytes"], "AAAA", 'say which: {"E": ...}, {"bytes": ...}'),
        ([RECORD, MAP], {"a": 1}, 'say which: {"splnode.Record": ...}, {"map": ...}'),
        ([RECORD, JSON], {"a": 1}, 'say which: {"splnode.Record": ...}, {"splnode.Json": ...}'),
        (["int", "null"], "x", 'expected one of int, null, found "x"'),
        (["null", CELSIUS], {"degrees": "x"}, 'degrees: expected double, a number, found "x"'),
        (["null", CELSIUS], {"degres": 5}, "acme.Celsius has no field 'degres'; did you mean 'degrees'?"),
        (["null", {"type": "array", "items": "int"}], [1, "x"], "[1]: expected int"),
        (["null", "bytes"], "x", "it is not base64"),
        (
            [CELSIUS, NAMED],
            {"x": 1},
            "acme.Celsius: acme.Celsius has no field 'x'; it has degrees; acme.Named: acme.Named",
        ),
        ([CELSIUS, KELVIN], {"acme.Kelvin": {"degrees": "x"}}, '["acme.Kelvin"].degrees: expected double'),
        (["int", "boolean"], 2**31, "expected int, a whole number of 32 bits, found 2147483648"),
    ],
)
def test_a_refusal_says_what_to_do(union: list[Any], value: Any, words: str) -> None:
    with pytest.raises(EncodeError) as caught:
        chosen(union, value)
    assert words in str(caught.value)


PERSON = schema_of(
    {
        "type": "record",
        "name": "acme.Person",
        "fields": [
            {"name": "name", "type": "string"},
            {"name": "born", "type": {"type": "int", "logicalType": "date"}},
            {"name": "friends", "type": {"type": "array", "items": "acme.Person"}, "default": []},
            {"name": "scores", "type": {"type": "map", "values": ["null", "int"]}, "default": {}},
        ],
    }
)
ADA = {"name": "Ada", "born": "1815-12-10"}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (
            {**ADA, "friends": [ADA, {**ADA, "born": 1.5}]},
            'friends[1].born: expected a date like "2024-05-01", found 1.5',
        ),
        ({**ADA, "scores": {"a b": "x"}}, 'scores["a b"]: expected one of null, int, found "x"'),
        ({**ADA, "fiends": []}, "acme.Person has no field 'fiends'; did you mean 'friends'?"),
        ({}, "acme.Person needs 'name' and 'born', which is not given"),
        ({**ADA, "friends": {}}, "friends: expected a list, found {}"),
        ({**ADA, "friends": ["Bob"]}, 'friends[0]: expected an object (acme.Person), found "Bob"'),
        ({**ADA, "scores": [1]}, "scores: expected an object (map), found a list of 1"),
        ("Ada", 'expected an object (acme.Person), found "Ada"'),
    ],
)
def test_a_mistake_has_its_path(value: Any, words: str) -> None:
    with pytest.raises(EncodeError) as caught:
        from_json(PERSON, value)
    assert str(caught.value) == words


def test_defaults_are_left_to_the_codec() -> None:
    assert from_json(PERSON, {"name": "Ada", "born": 5}) == {"name": "Ada", "born": 5}


def test_the_codec_is_told_the_branch_only_where_there_are_several() -> None:
    assert from_json(schema_of(["null", "int"]), 5) == 5
    assert from_json(schema_of(["int"]), 5) == 5
    value = from_json(schema_of(["int", "long"]), 5)
    assert isinstance(value, Branch)
    assert (value.name, value.value) == ("int", 5)
    assert from_json(schema_of(["int", "long", "null"]), None) is None


def test_the_path_of_a_remembered_refusal_does_not_grow() -> None:
    inner = ["null", {"type": "record", "name": "I", "fields": [{"name": "n", "type": "int"}]}]
    outer = [
        {"type": "record", "name": name, "fields": [{"name": "u", "type": inner if name == "A" else ["null", "I"]}]}
        for name in "AB"
    ]
    with pytest.raises(EncodeError) as caught:
        from_json(schema_of(outer), {"u": {"n": "x"}})
    assert str(caught.value).count("u.n: expected int") == 2


def test_branches_within_branches_are_not_tried_without_end() -> None:
    """Two types that both hold either of the two: 2^60 ways, were they not remembered."""
    fields = [{"name": "next", "type": ["null", "A", "B"]}]
    first = {"type": "record", "name": "B", "fields": fields}
    source = {"type": "record", "name": "A", "fields": [{"name": "next", "type": ["null", "A", first]}]}
    value: Any = {"next": 5}
    for _ in range(60):
        value = {"next": value}
    with pytest.raises(EncodeError) as caught:
        from_json(schema_of(source), value)
    assert len(str(caught.value)) < 1000


def test_depth_is_limited() -> None:
    value: Any = {**ADA}
    for _ in range(40):
        value = {**ADA, "friends": [value]}
    with pytest.raises(LimitExceeded, match="depth = 64"):
        from_json(PERSON, value)


def test_json_within_a_datum_takes_the_depth_that_is_left() -> None:
    schema = schema_of({"type": "array", "items": JSON})
    value: Any = 1
    for _ in range(100):
        value = [value]
    read = from_json(schema, [value], limits=Limits(depth=10))
    assert read[0]["value"][0]["value"][0]["value"][0]["value"].value["text"].startswith("[[[")


def test_without_a_hook_a_record_is_json() -> None:
    assert from_json(schema_of(RECORD), {"a": 1}) == json_to_record({"a": 1})


def test_helpers() -> None:
    assert [is_open(schema_of(each)) for each in (RECORD, JSON, MAP, CELSIUS)] == [True, True, False, False]
    union = schema_of(["null", CELSIUS, MAP, "bytes"])
    assert object_branches(union) == [1, 2]
    assert tag_of(union, {"bytes": "x"}) == (3, False)
    assert tag_of(union, {"acme.Celsius": "x"}) == (1, True)
    assert tag_of(union, {"x": "y"}) is None
    assert tag_of(union, {"map": {}, "bytes": ""}) is None
    assert tag_of(union, "map") is None
