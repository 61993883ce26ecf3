import json
from typing import Any

import pytest

from splnode.avro.builder import MAX_FIELDS, SchemaBuilder
from splnode.avro.schema import parse_schema
from splnode.errors import SchemaError


def record(*fields: Any, name: str = "R", **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields), **more}


def field(kind: Any, name: str = "f", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}

# JSON, the path, what the reason says
MALFORMED = [
    ("strange", "", "no type is named 'strange'"),
    (5, "", "not 5"),
    (None, "", "not None"),
    ({}, "", 'without "type"'),
    ({"type": "record"}, "", "the type needs a name"),
    ({"type": "record", "name": "R"}, "", "no fields"),
    ({"type": "record", "name": "R", "fields": {}}, "fields", "a list of fields"),
    ({"type": "record", "name": "1R", "fields": []}, "", "is not a name"),
    ({"type": "record", "name": "a..R", "fields": []}, "", "is not a name"),
    ({"type": "record", "name": "R", "namespace": "a-b", "fields": []}, "", "is not a name"),
    ({"type": "record", "name": "R", "namespace": 5, "fields": []}, "", "namespace needs a name"),
    ({"type": "record", "name": "R" * 513, "fields": []}, "", "a name of 513 characters"),
    ({"type": "record", "name": "int", "fields": []}, "", "Avro's own"),
    (record("f"), "fields[0]", "a field is an object"),
    (record({"type": "int"}), "fields[0]", "the field needs a name"),
    (record(field("int", "a.b")), "fields[0]", "is not a name"),
    (record({"name": "f"}), "fields.f", "no type"),
    (record(field("int"), field("int")), "fields", "'f' stands twice"),
    (record(field("int", order="sideways")), "fields.f", "order is one of"),
    (record(field("int", aliases="a")), "fields.f", "a list of alias names"),
    (record(field("Later")), "fields.f", "only behind its definition"),
    (record(field(record(field("nothing"), name="S"))), "fields.f.fields.f", "'nothing'"),
    (record(field({"type": "map", "values": ["int", "x"]})), "fields.f.values[1]", "'x'"),
    (record(*(field("int", f"f{n}") for n in range(MAX_FIELDS + 1))), "fields", "at most 4096"),
    ({"type": "array"}, "", "needs 'items'"),
    ({"type": "map"}, "", "needs 'values'"),
    ({"type": "enum", "name": "E"}, "", "a list of symbols"),
    ({"type": "enum", "name": "E", "symbols": ["A", "A"]}, "", "'A' stands twice"),
    ({"type": "enum", "name": "E", "symbols": ["a b"]}, "", "is not a name"),
    ({**ENUM, "default": "C"}, "", "'C' is none of the symbols"),
    ({**ENUM, "default": ["A"]}, "", "none of the symbols"),
    ({"type": "fixed", "name": "F"}, "", "size of a fixed"),
    ({"type": "fixed", "name": "F", "size": -1}, "", "size of a fixed"),
    ({"type": "fixed", "name": "F", "size": True}, "", "size of a fixed"),
    ({"type": "fixed", "name": "F", "size": 10**40}, "", "a huge number"),
    (["int", "int"], "", "'int' twice"),
    (["int", {"type": "int", "logicalType": "date"}], "", "'int' twice"),
    ([{"type": "array", "items": "int"}, {"type": "array", "items": "long"}], "", "'array' twice"),
    ([ENUM, "E"], "", "'E' twice"),
    (["int", ["null"]], "", "cannot directly hold a union"),
    (["int", {"type": ["null"]}], "", "cannot directly hold a union"),
    ([ENUM, ENUM], "[1]", "given to two types"),
    ([f"n{n}" for n in range(257)], "", "schema_branches = 256"),
    (record(field("int", default="x")), "fields.f", "the default does not fit: 'x' is no int"),
]


@pytest.mark.parametrize(("source", "path", "reason"), MALFORMED)
def test_what_is_malformed_is_named_with_its_place(source: Any, path: str, reason: str) -> None:
    with pytest.raises(SchemaError) as caught:
        parse_schema(json.dumps(source))
    assert caught.value.path == path
    assert reason in caught.value.reasons[0]


def test_names_are_found_from_the_inside_to_the_outside() -> None:
    schema = parse_schema(
        json.dumps(
            record(
                field(record(name="Inner"), "a"),
                field(record(field("com.acme.Inner"), name="other.Outer"), "b"),
                field(record(name="Bare", namespace=""), "c"),
                field("Inner", "d"),
                field("Bare", "e"),
                field({"type": "Inner"}, "f"),
                field({"type": {"type": "Inner"}}, "g"),
                name="com.acme.R",
                aliases=["Old", "x.Older"],
            )
        )
    )
    by_name = {each.name: each.schema for each in schema.fields}
    assert [by_name[name].name for name in "abc"] == ["com.acme.Inner", "other.Outer", "Bare"]
    assert by_name["d"] is by_name["f"] is by_name["g"] is by_name["a"]
    assert by_name["e"] is by_name["c"]
    assert schema.aliases == ("com.acme.Old", "x.Older")


def test_an_error_with_a_namespace_of_its_own_is_understood() -> None:
    source = {
        "type": "error",
        "name": "x.E",
        "fields": [field(record(name="Detail"), "a"), field("Detail", "b")],
    }
    schema = parse_schema(json.dumps(source))
    assert schema.fields[1].schema.name == "x.Detail"


@pytest.mark.parametrize(
    ("source", "logical"),
    [
        ({"type": "int", "logicalType": "date"}, "date"),
        ({"type": "long", "logicalType": "date"}, None),
        ({"type": "int", "logicalType": "unheard-of"}, None),
        ({"type": "int", "logicalType": 5}, None),
        ({"type": "bytes", "logicalType": "decimal"}, None),
        ({"type": "bytes", "logicalType": "decimal", "precision": 4}, "decimal"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 4097}, None),
        ({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 5}, None),
        ({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": -1}, None),
        ({"type": "bytes", "logicalType": "decimal", "precision": True}, None),
        ({"type": "fixed", "name": "F", "size": 2, "logicalType": "decimal", "precision": 4}, "decimal"),
        ({"type": "fixed", "name": "F", "size": 2, "logicalType": "decimal", "precision": 5}, None),
        ({"type": "fixed", "name": "F", "size": 0, "logicalType": "decimal", "precision": 1}, None),
        ({"type": "fixed", "name": "F", "size": 16, "logicalType": "uuid"}, "uuid"),
        ({"type": "fixed", "name": "F", "size": 15, "logicalType": "uuid"}, None),
        ({"type": "fixed", "name": "F", "size": 12, "logicalType": "duration"}, "duration"),
        ({"type": "array", "items": "int", "logicalType": "uuid"}, None),
    ],
)
def test_a_logical_type_counts_where_it_fits(source: Any, logical: str | None) -> None:
    schema = parse_schema(json.dumps(source))
    assert schema.logical == logical
    assert ("logicalType" in schema.properties) == (logical is None)


def test_a_builder_knows_its_names_from_one_schema_to_the_next() -> None:
    builder = SchemaBuilder("com.acme")
    first = builder.build(record(field("int", default=1)))
    assert builder.build(["null", "R"]).branches[1] is first
    builder.finish()
    assert list(builder.names) == ["com.acme.R"]
