import json
from typing import Any

import pytest

from splnode.avro.schema import parse_schema
from splnode.cli.lint import lint, lint_logical


def record(*fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": list(fields)}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (
            record({"name": "t", "type": "long", "logicalType": "timestamp-millis"}),
            'fields[0] (t): "logicalType" beside a type is ignored: it belongs inside of it,'
            ' "type": {"type": "long", "logicalType": "timestamp-millis"}',
        ),
        (
            record({"name": "t", "type": {"type": "string", "default": "x"}}),
            'fields[0] (t): "default" inside a type is ignored: it belongs to the field, beside "name" and "type"',
        ),
        (
            record({"name": "t", "type": "int", "defualt": 1}),
            'fields[0] (t): "defualt" is ignored: did you mean "default"?',
        ),
        (
            {"type": {"type": "int"}, "logicalType": "date"},
            'the schema: "logicalType" beside a type is ignored: it belongs inside of it,'
            ' "type": {"type": "...", "logicalType": "date"}',
        ),
        (
            {"type": "array", "items": {"type": "int", "aliases": ["x"]}},
            'items: "aliases" of a type without a name are ignored',
        ),
        (
            {"type": "map", "values": ["null", {"type": "string", "default": ""}]},
            'values[1]: "default" inside a type is ignored: it belongs to the field, beside "name" and "type"',
        ),
    ],
)
def test_what_has_no_effect(document: Any, said: str) -> None:
    parse_schema(json.dumps(document))  # valid, which is the trap
    assert lint(document) == [said]


def test_a_protocol_is_looked_through() -> None:
    bad = {"type": "string", "default": "x"}
    found = lint({
        "protocol": "P",
        "types": [record({"name": "a", "type": bad})],
        "messages": {"m": {"request": [{"name": "b", "type": bad}], "response": bad, "errors": [bad]}},
    })  # fmt: skip
    assert [sentence.partition(": ")[0] for sentence in found] == [
        "types[0].fields[0] (a)", "messages.m.request[0] (b)", "messages.m.response", "messages.m.errors[0]",
    ]  # fmt: skip


def test_good_ones_are_quiet() -> None:
    good = record(
        {"name": "t", "type": {"type": "long", "logicalType": "timestamp-millis"}, "default": 0, "doc": "", "x-own": 1},
        {"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["A"], "default": "A", "aliases": ["F"]}},
    )
    assert lint(good) == []
    assert lint_logical(parse_schema(json.dumps(good))) == []
    assert lint("string") == []


def test_logical_types_that_are_ignored() -> None:
    schema = parse_schema('{"type": "array", "items": {"type": "string", "logicalType": "uid"}}')
    assert lint_logical(schema) == [
        "string: logicalType 'uid' is ignored: Avro does not know it, or it does not fit string"
    ]
