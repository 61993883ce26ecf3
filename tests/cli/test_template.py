import json
from typing import Any

import pytest

from splnode.avro.codec import encoder
from splnode.avro.plain_json import from_json
from splnode.avro.protocol import Protocol
from splnode.avro.schema import parse_schema
from splnode.cli.template import EndlessError, message_template, template
from tests.cli.echo import PROTOCOL, SHIPPED

LOGICAL = (
    "date", "time-millis", "time-micros", "timestamp-millis", "timestamp-micros", "timestamp-nanos",
    "local-timestamp-millis", "local-timestamp-micros", "local-timestamp-nanos", "uuid", "decimal",
)  # fmt: skip


def test_of_a_message() -> None:
    assert message_template(PROTOCOL.messages["thing"]) == {
        "request": {"text": "", "data": "", "color": "RED", "tags": [""], "maybe": 0}
    }
    assert message_template(PROTOCOL.messages["add"]) == {"a": 0, "b": 2}
    assert message_template(PROTOCOL.messages["wait"]) == {}


def test_a_recursive_type_stands_once() -> None:
    assert message_template(PROTOCOL.messages["tree"]) == {"node": {"value": 0, "node": None}}


@pytest.mark.parametrize("items", [{"type": "array", "items": "N"}, {"type": "map", "values": "N"}])
def test_a_list_or_map_of_itself_ends_empty(items: dict[str, Any]) -> None:
    schema = parse_schema(json.dumps({"type": "record", "name": "N", "fields": [{"name": "n", "type": items}]}))
    assert template(schema) == {"n": [] if items["type"] == "array" else {}}


def test_a_type_without_a_value() -> None:
    schema = parse_schema('{"type": "record", "name": "N", "fields": [{"name": "n", "type": "N"}]}')
    with pytest.raises(EndlessError):
        template(schema)


MESSAGES = [
    pytest.param(message, id=f"{protocol.name}.{message.name}")
    for protocol in (PROTOCOL, *(Protocol.load(file) for file in sorted(SHIPPED.glob("*.avpr"))))
    for message in protocol.messages.values()
]


@pytest.mark.parametrize("message", MESSAGES)
def test_a_template_is_a_value_of_its_schema(message: Any) -> None:
    params = from_json(message.request, message_template(message))
    encoder(message.request).encode(params)


@pytest.mark.parametrize("logical", [*LOGICAL, "duration"])
def test_so_are_those_of_logical_types(logical: str) -> None:
    base = "string" if logical == "uuid" else "int" if logical in ("date", "time-millis") else "long"
    source: dict[str, Any] = {"type": base, "logicalType": logical}
    if logical == "decimal":
        source = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3}
    if logical == "duration":
        source = {"type": "fixed", "name": "D", "size": 12, "logicalType": "duration"}
    schema = parse_schema(json.dumps(source))
    assert schema.logical == logical
    encoder(schema).encode(from_json(schema, template(schema)))


def test_a_default_says_more_than_a_made_up_value() -> None:
    fields = [
        {"name": "a", "type": "bytes", "default": "\u00ff"},
        {"name": "b", "type": {"type": "enum", "name": "E", "symbols": ["X", "Y"]}, "default": "Y"},
        {"name": "c", "type": ["string", "null"], "default": "z"},
        {"name": "d", "type": {"type": "array", "items": "int"}, "default": [1]},
        {"name": "e", "type": ["null", "int"], "default": None},
    ]
    schema = parse_schema(json.dumps({"type": "record", "name": "R", "fields": fields}))
    made = template(schema)
    assert made == {"a": "", "b": "Y", "c": "", "d": [0], "e": 0}
    encoder(schema).encode(from_json(schema, made))
