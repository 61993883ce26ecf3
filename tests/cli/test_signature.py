import json

import pytest

from splnode.avro.protocol import Protocol
from splnode.avro.schema import parse_schema
from splnode.cli import signature
from tests.cli.echo import PROTOCOL, SHIPPED


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ("string", "string"),
        ({"type": "array", "items": {"type": "map", "values": "long"}}, "array<map<long>>"),
        (["null", "int"], "int?"),
        (["int", "null"], "int?"),
        (["null", "int", "string"], "null | int | string"),
        (["int", "string"], "int | string"),
        (["null"], "null"),
        ({"type": "long", "logicalType": "timestamp-millis"}, "timestamp-millis"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 2}, "decimal(5, 2)"),
        ({"type": "fixed", "name": "a.b.F", "size": 3}, "F"),
        ({"type": "fixed", "name": "D", "size": 12, "logicalType": "duration"}, "D (duration)"),
    ],
)
def test_types(schema: object, text: str) -> None:
    assert signature.type_text(parse_schema(json.dumps(schema))) == text


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("add", "add(a: int, b: int = 2) -> int"),
        ("fail", "fail(code: string) -> null throws Missing"),
        ("note", "note(text: string) one-way"),
        ("thing", "thing(request: Thing) -> Thing"),
    ],
)
def test_messages(message: str, text: str) -> None:
    assert signature.message_text(PROTOCOL.messages[message]) == text


def test_a_message_with_its_types() -> None:
    text = signature.describe_message("test.Echo", PROTOCOL.messages["thing"])
    for part in (
        "test.Echo.thing(request: Thing) -> Thing\n  A thing, unchanged.\n",
        "parameters:\n  request: Thing\n",
        "result: Thing",
        'record test.Thing\n  What is given back.\n  text: string\n      Any text.\n  data: bytes = ""\n',
        "enum test.Color: RED, BLUE",
    ):
        assert part in text
    assert "parameters:" not in signature.describe_message("test.Echo", PROTOCOL.messages["wait"])
    assert "result:" not in signature.describe_message("test.Echo", PROTOCOL.messages["note"])


def test_a_protocol_with_its_types_each_once() -> None:
    text = signature.describe_protocol(PROTOCOL)
    assert text.startswith("test.Echo\n  Gives back what it gets.\n\nmessages:\n")
    assert text.count("\nrecord test.Node") == 1
    assert "\nerror test.Missing" in text
    assert "fixed test.Two: 2 bytes" in text
    assert "\nrecord thing" not in text


def test_a_message_as_json() -> None:
    found = signature.message_json("test.Echo", PROTOCOL.messages["add"])
    assert found["parameters"] == [
        {"name": "a", "type": "int", "doc": "One."},
        {"name": "b", "type": "int", "doc": "", "default": 2},
    ]
    assert found["idempotent"] is True
    assert signature.message_json("test.Echo", PROTOCOL.messages["fail"])["errors"] == [
        {"type": "Missing", "name": "test.Missing"}
    ]


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*.avpr")), ids=lambda file: file.stem)
def test_whatever_is_shipped_can_be_described(file: object) -> None:
    protocol = Protocol.load(str(file))
    assert all(name in signature.describe_protocol(protocol) for name in protocol.messages)
