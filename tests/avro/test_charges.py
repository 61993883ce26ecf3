"""What values charge, and that it is what they take: the table of the module, measured."""

import gc
import json
import tracemalloc
from typing import Any

import pytest

from splnode.avro import codec
from splnode.avro.charges import entering, of_map, weight
from splnode.avro.schema import parse_schema
from splnode.errors import LimitExceeded
from splnode.limits import DEFAULT_LIMITS, Limits
from tests.wire.conftest import long

MOST = 50.0
"""Bytes of a node, at most: what is promised, and the slots that a list has too many while it grows."""


def record(*fields: tuple[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": [{"name": name, "type": kind} for name, kind in fields]}


def numbers(count: int) -> Any:
    return record(*((f"f{n}", "int") for n in range(count)))


@pytest.mark.parametrize(
    ("source", "held", "entered"),
    [
        ("null", 1, 0),
        ("double", 1, 0),
        ("bytes", 2, 0),
        ("string", 3, 0),
        ({"type": "enum", "name": "E", "symbols": ["a"]}, 1, 0),
        ({"type": "long", "logicalType": "timestamp-millis"}, 6, 0),
        ({"type": "long", "logicalType": "timestamp-nanos"}, 1, 0),
        (["null", "string", "bytes"], 3, 0),
        (["null", numbers(9)], 1, 0),
        ({"type": "array", "items": "string"}, 1, 1),
        ({"type": "map", "values": "string"}, 1, 3),
        (numbers(0), 1, 3),
        (numbers(5), 1, 3),
        (numbers(6), 1, 4),
        (numbers(43), 1, 22),
    ],
)
def test_the_table(source: Any, held: int, entered: int) -> None:
    schema = parse_schema(json.dumps(source))
    assert (weight(schema), entering(schema)) == (held, entered)


def test_a_map_of_so_many_entries() -> None:
    schema = parse_schema('{"type": "map", "values": "string"}')
    data = long(100) + b"".join(b"\x04%02d\x00" % n for n in range(100)) + b"\0"
    nodes = of_map(schema, 100)
    assert len(codec.decoder(schema, limits=Limits(nodes=nodes)).decode(data)[0]) == 100
    with pytest.raises(LimitExceeded):
        codec.decoder(schema, limits=Limits(nodes=nodes - 1)).decode(data)


def key(n: int) -> bytes:
    return b"\x0a%05x" % n


# The items of an array, and the bytes of the nth of them
COSTLY: dict[str, tuple[Any, Any]] = {
    "nulls": ("null", lambda n: b""),
    "numbers": ("int", lambda n: b"\x0d"),
    "large numbers": ("long", lambda n: long(2**62 + n)),
    "floats": ("float", lambda n: b"1234"),
    "strings": ("string", key),
    "strings beyond ASCII": ("string", lambda n: b"\x0e\xf0\x9f\x98\x80%03x" % (n % 4096)),
    "bytes": ("bytes", key),
    "fixed": ({"type": "fixed", "name": "F", "size": 2}, lambda n: b"ab"),
    "empty arrays": ({"type": "array", "items": "null"}, lambda n: b"\0"),
    "arrays of a null": ({"type": "array", "items": "null"}, lambda n: b"\x02\0"),
    "empty maps": ({"type": "map", "values": "null"}, lambda n: b"\0"),
    "maps of an entry": ({"type": "map", "values": "int"}, lambda n: b"\x02" + key(n) + b"\x0d\0"),
    **{f"records of {n}": (numbers(n), lambda _, n=n: b"\x0d" * n) for n in (0, 1, 5, 6, 10, 11, 21, 22, 43, 86)},
    "decimals": ({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}, lambda n: b"\x04\x01\x02"),
    "times": ({"type": "long", "logicalType": "timestamp-millis"}, lambda n: b"\x0d"),
    "uuids": ({"type": "fixed", "name": "F", "size": 16, "logicalType": "uuid"}, lambda n: bytes(16)),
    "durations": ({"type": "fixed", "name": "F", "size": 12, "logicalType": "duration"}, lambda n: b"\xff" * 12),
}


def taken(schema: Any, data: bytes) -> int:
    """Bytes that are allocated at most while it is read."""
    read = codec.decoder(parse_schema(json.dumps(schema))).decode
    gc.collect()
    tracemalloc.start()
    try:
        read(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", COSTLY)
def test_a_node_is_worth_its_bytes(name: str) -> None:
    kind, item = COSTLY[name]
    schema = parse_schema(json.dumps(kind))
    count = 3000
    data = long(count) + b"".join(item(n) for n in range(count)) + b"\0"
    charged = count * (weight(schema) + entering(schema) + sum(weight(each) for each in schema.children()))
    if schema.kind == "map":
        charged += count * 3
    if name.startswith("empty"):
        charged -= count * sum(weight(each) + (3 if schema.kind == "map" else 0) for each in schema.children())
    assert taken({"type": "array", "items": kind}, data) < charged * MOST


def test_a_map_is_worth_its_bytes() -> None:
    schema = parse_schema('{"type": "map", "values": "int"}')
    for count in (1000, 5500, 21_900):  # its table has just doubled
        data = long(count) + b"".join(key(n) + b"\x0d" for n in range(count)) + b"\0"
        assert taken({"type": "map", "values": "int"}, data) < of_map(schema, count) * MOST


def test_what_fills_a_message_honestly_can_be_read() -> None:
    count = DEFAULT_LIMITS.message_bytes // 8 - 1
    doubles = codec.decoder(parse_schema('{"type": "array", "items": "double"}'))
    assert len(doubles.decode(long(count) + bytes(8 * count) + b"\0")[0]) == count
    rows = codec.decoder(parse_schema(json.dumps({"type": "array", "items": numbers(10)})))
    count = 50_000
    assert len(rows.decode(long(count) + b"\x0d" * 10 * count + b"\0")[0]) == count
