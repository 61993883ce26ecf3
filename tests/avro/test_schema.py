import json

import pytest

from splnode.avro.schema import MISSING, Schema, full_name, namespace_of, parse_schema, walk
from splnode.errors import SchemaError
from splnode.limits import Limits


def test_names_and_namespaces() -> None:
    assert full_name("A", "b.c") == "b.c.A"
    assert full_name("x.A", "b.c") == "x.A"
    assert full_name("A", "") == "A"
    assert namespace_of("b.c.A") == "b.c"
    assert namespace_of("A") == ""


def test_a_schema_is_a_graph() -> None:
    schema = parse_schema(
        json.dumps(
            {
                "type": "record",
                "name": "com.acme.Node",
                "doc": "A node.",
                "x-key": [1],
                "fields": [
                    {"name": "value", "type": "int", "doc": "d", "aliases": ["v"], "x": 1},
                    {"name": "next", "type": ["null", "Node"], "default": None},
                    {"name": "more", "type": {"type": "map", "values": {"type": "array", "items": "com.acme.Node"}}},
                ],
            }
        )
    )
    value, following, more = schema.fields
    assert (schema.name, schema.short_name, schema.label, schema.doc) == (
        "com.acme.Node",
        "Node",
        "com.acme.Node",
        "A node.",
    )
    assert schema.is_record
    assert schema.properties == {"x-key": [1]}
    assert (value.doc, value.aliases, value.default, value.properties) == ("d", ("v",), MISSING, {"x": 1})
    assert following.default is None
    assert following.schema.branches[1] is schema
    assert more.schema.items is not None
    assert more.schema.items.items is schema
    assert [each.kind for each in walk(schema)] == ["record", "int", "union", "null", "map", "array"]
    assert repr(schema) == "<Schema record com.acme.Node>"
    assert repr(MISSING) == "MISSING"


def test_bytes_are_a_text_too() -> None:
    assert parse_schema(b'"int"').kind == "int"


def test_limits_hold_for_schemas() -> None:
    with pytest.raises(SchemaError, match="schema_branches = 2"):
        parse_schema('["int", "long", "null"]', limits=Limits(schema_branches=2))


def test_a_long_chain_is_walked_without_recursion() -> None:
    last = Schema("int")
    for _ in range(100_000):
        schema = Schema("array")
        schema.items = last
        last = schema
    assert sum(1 for _ in walk(last)) == 100_001
