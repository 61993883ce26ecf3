import json
from typing import Any

import pytest

from splnode.avro.lint import lint
from splnode.errors import SchemaError


def of_field(**more: Any) -> str:
    return json.dumps({"type": "record", "name": "R", "fields": [{"name": "f", **more}]})


IGNORED = [
    (of_field(type="long", logicalType="date"), "fields.f: logicalType beside the type is ignored"),
    (of_field(type="bytes", logicalType="decimal", precision=2), "fields.f: logicalType and precision beside the type"),
    (of_field(type={"type": "string", "default": "x"}), "fields.f: a default inside of the type is ignored"),
    (of_field(type={"type": ["null", "int"], "default": None}), "fields.f: default on an object around a type"),
    (of_field(type=["string", "null"], default=None), "fields.f: before Avro 1.12"),
    (of_field(type=["null", "string"], default="x"), "fields.f: before Avro 1.12"),
    (of_field(type={"type": "string", "logicalType": "decimal"}), "fields.f: the logical type decimal needs bytes"),
    (of_field(type={"type": "bytes", "precision": 2}), "fields.f: precision and scale mean nothing"),
    (of_field(type="int", Default=5), "fields.f: the key 'Default' is ignored; 'default' may be meant"),
    (of_field(type="int", alias=["a"]), "fields.f: the key 'alias' is ignored; 'aliases' may be meant"),
    (of_field(type={"type": "array", "items": {"type": "int", "default": 1}}), "fields.f.items: a default inside"),
    ('{"type": "int", "logicalType": "date-time"}', "the logical type 'date-time' is not one of Avro's"),
    ('{"type": "fixed", "name": "F", "size": 4, "logicalType": "uuid"}', "the logical type uuid needs a fixed of 16"),
    ('["null", {"type": "string", "default": "x"}]', "[1]: a default inside"),
    (
        '{"protocol": "P", "messages": {"m": {"request": [], "response": "null", "oneway": true}}}',
        "messages.m: the key 'oneway' is ignored; 'one-way' may be meant",
    ),
    (
        '{"protocol": "P", "messages": {"m": {"request": [], "response": "null", "idempotent": "yes"}}}',
        "messages.m: idempotent counts only",
    ),
    (
        '{"protocol": "P", "types": [{"type": "error", "name": "E", '
        '"fields": [{"name": "a", "type": "int", "scale": 1}]}]}',
        "types[0].fields.a: scale beside the type",
    ),
    (
        '{"protocol": "P", "messages": {"m": {"request": [{"name": "a", "type": {"type": "string", "default": ""}}],'
        ' "response": {"type": "int", "logicalType": "uuid"}}}}',
        "messages.m.request.a: a default inside",
    ),
]


@pytest.mark.parametrize(("text", "sentence"), IGNORED)
def test_what_avro_ignores_is_said(text: str, sentence: str) -> None:
    assert any(each.startswith(sentence) for each in lint(text)), lint(text)


@pytest.mark.parametrize(
    "text",
    [
        '"int"',
        of_field(type=["null", "string"], default=None),
        of_field(type={"type": "enum", "name": "E", "symbols": ["A"], "default": "A"}, default="A", order="ignore"),
        of_field(type={"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}, doc="d", aliases=["g"]),
        '{"protocol": "P", "x": 1, "messages": {"m": {"request": [], "response": "null", "one-way": true}}}',
    ],
)
def test_nothing_is_said_where_all_is_well(text: str) -> None:
    assert lint(text) == []


def test_a_malformed_text_is_an_error() -> None:
    with pytest.raises(SchemaError):
        lint('{"type": "record", "name": "R"}')
    with pytest.raises(SchemaError):
        lint('{"protocol": "P", "types": 5}')
