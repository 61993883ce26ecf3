import json
from typing import Any

import avro.protocol
import pytest

from splnode.avro import referee
from splnode.avro.protocol import Protocol
from splnode.avro.schema import parse_schema
from splnode.errors import SchemaError

INNER = {"type": "record", "name": "Inner", "fields": []}

# What the avro package's own parser refuses, and real peers send
UNDERSTOOD: list[dict[str, Any]] = [
    {
        "types": [INNER],
        "messages": {"m": {"request": [{"name": "a", "type": {"type": "Inner"}}], "response": {"type": "Inner"}}},
    },
    {"types": [], "messages": {"m": {"request": [], "response": {"type": ["null", "int"]}}}},
    {"types": [], "messages": {"m": {"request": [], "one-way": True}}},
    {
        "types": [{"type": "error", "name": "E", "fields": []}],
        "messages": {"m": {"request": [], "response": "null", "errors": ["string", "E"]}},
    },
    {
        "types": [
            {"type": "record", "name": "x.A", "fields": []},
            {"type": "error", "name": "x.E", "fields": [{"name": "a", "type": "A"}]},
        ]
    },
    {
        "types": [
            {"type": "record", "name": "Bare", "namespace": "", "fields": []},
            {"type": "record", "name": "x.A", "fields": [{"name": "a", "type": "Bare"}]},
        ],
        "namespace": "com.acme",
    },
]


@pytest.mark.parametrize("source", UNDERSTOOD)
def test_what_avro_refuses_and_peers_send_is_understood(source: dict[str, Any]) -> None:
    text = json.dumps({"protocol": "P", **source})
    with pytest.raises(Exception, match=r"."):  # it raises KeyError, too
        avro.protocol.parse(text)
    Protocol.parse(text)


def test_a_refusal_of_avro_is_a_schema_error() -> None:
    schema = parse_schema('"int"')
    assert schema.kind == "int"
    with pytest.raises(SchemaError, match="the avro package refuses the schema"):
        referee.check_schema({"type": "enum", "name": "E", "symbols": ["A", "A"]}, {"E": schema})
    with pytest.raises(SchemaError, match="the avro package refuses the protocol"):
        referee.check_protocol(
            {"protocol": "P", "types": [{"type": "fixed", "name": "F", "size": -1}]}, "", {"F": schema}
        )
