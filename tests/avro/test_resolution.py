import gc
import json
from typing import Any
from weakref import ref

import pytest

from splnode.avro.codec.plan import Op, Promote
from splnode.avro.protocol import Protocol
from splnode.avro.resolution import MAX_REASONS, described, read_plan, write_plan
from splnode.avro.schema import Schema, parse_schema
from splnode.errors import SchemaError
from splnode.limits import Limits


def schema_of(source: Any) -> Schema:
    return parse_schema(json.dumps(source))


def record(name: str, *fields: Any, **more: Any) -> dict[str, Any]:
    made = []
    for each in fields:
        field = {"name": each[0], "type": each[1]}
        if len(each) > 2:
            field["default"] = each[2]
        if len(each) > 3:
            field["aliases"] = each[3]
        made.append(field)
    return {"type": "record", "name": name, "fields": made, **more}


def fixed(name: str, size: int, **more: Any) -> dict[str, Any]:
    return {"type": "fixed", "name": name, "size": size, **more}


def array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def money(precision: int, scale: int, **more: Any) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale, **more}


ENUM = {"type": "enum", "name": "E", "symbols": ["A"]}

# writer, reader: (path, words of the reason) of each difference
MISMATCHES = [
    ("long", "int", [("", "the writer's long cannot be read as the reader's int")]),
    ("double", "float", [("", "double")]),
    ("int", "string", [("", "int")]),
    ("boolean", "int", [("", "boolean")]),
    ("null", "int", [("", "null")]),
    ("int", ["null", "string"], [("", "the writer's int is no branch of the reader's union of null, string")]),
    (["null", "string"], "int", [("", "the writer's null cannot be read")]),
    ([], "int", None),
    (array("int"), array("string"), [("[]", "the writer's int cannot be read as the reader's string")]),
    ({"type": "map", "values": array("int")}, {"type": "map", "values": array("null")}, [("{}[]", "int")]),
    (array("int"), {"type": "map", "values": "int"}, [("", "array")]),
    (fixed("F", 2), fixed("F", 3), [("", "fixed F of 2 bytes cannot be read as the reader's fixed F of 3 bytes")]),
    (fixed("F", 2), fixed("G", 2), [("", "fixed F")]),
    (fixed("F", 2), "bytes", [("", "fixed F")]),
    (ENUM, {**ENUM, "name": "G"}, [("", "enum E")]),
    (ENUM, "string", [("", "enum E")]),
    (record("R"), record("S"), [("", "record R cannot be read as the reader's record S")]),
    (money(4, 2), money(4, 3), [("", "decimal(4, 2) bytes cannot be read as the reader's decimal(4, 3) bytes")]),
    (
        record("R"),
        record("R", ("a", "int")),
        [("", "field 'a' (int) has no default, and the writer's record R has no")],
    ),
    (
        record("R", ("a", "int"), ("b", record("S", ("c", "string"), ("d", "null")))),
        record("R", ("a", "null"), ("b", record("S", ("c", "int"), ("d", "boolean")))),
        [("a", "int"), ("b.c", "string"), ("b.d", "null")],
    ),
    (
        record("R", ("l", array(record("S", ("c", "int"))))),
        record("R", ("l", array(record("S", ("c", "null"))))),
        [("l[].c", "int")],
    ),
]


@pytest.mark.parametrize(("writer", "reader", "differences"), MISMATCHES)
def test_what_cannot_be_resolved_is_said_with_every_path(writer: Any, reader: Any, differences: Any) -> None:
    written, wanted = schema_of(writer), schema_of(reader)
    if differences is None:
        read_plan(written, wanted)
        return
    with pytest.raises(SchemaError) as caught:
        read_plan(written, wanted)
    reasons = list(caught.value.reasons)
    assert len(reasons) == len(differences)
    for path, words in differences:
        assert any(words in each and each.startswith(f"{path}: " if path else "the ") for each in reasons), reasons


MATCHES = [
    (record("a.R"), record("b.R")),
    (record("R"), record("S", aliases=["R"])),
    (record("a.R"), record("b.S", aliases=["a.R"])),
    (fixed("a.F", 2), fixed("F", 2)),
    (ENUM, {**ENUM, "name": "x.E", "symbols": ["Z"]}),
    (money(4, 2), "bytes"),
    ("bytes", money(4, 2)),
    (money(4, 2), money(4, 2, doc="x")),
    (["null", "string"], ["null", "int"]),
    (["null", "string"], "null"),
    (record("R", ("a", "int")), record("R", ("b", "int", 0, ["a"]))),
]


@pytest.mark.parametrize(("writer", "reader"), MATCHES)
def test_what_matches(writer: Any, reader: Any) -> None:
    read_plan(schema_of(writer), schema_of(reader))


def test_a_branch_that_the_reader_cannot_take_fails_when_it_comes() -> None:
    writer = schema_of(["null", record("R", ("a", "int")), "string"])
    reader = schema_of(["null", record("R", ("a", "string")), "string"])
    null, failing, string = read_plan(writer, reader).branches
    assert (null.op, failing.op, string.op) == (Op.NULL, Op.FAIL, Op.STRING)
    assert failing.reason == "a: the writer's int cannot be read as the reader's string"


def test_a_branch_fails_far_behind_a_recursion() -> None:
    """B can be reached only through a union: A fits, its branch B does not."""

    def pair(kind: str) -> Schema:
        inner = record("B", ("a", ["null", "A"]), ("x", kind))
        return schema_of(record("A", ("b", ["null", inner])))

    plan = read_plan(pair("int"), pair("string"))
    assert [branch.op for branch in plan.steps[0][1].branches] == [Op.NULL, Op.FAIL]


def test_a_record_whose_every_way_fails_does_not_match() -> None:
    writer = schema_of(record("A", ("n", ["A", "int"])))
    reader = schema_of(record("A", ("n", ["A", "null"]), ("x", "int")))
    with pytest.raises(SchemaError, match="'x'"):
        read_plan(writer, reader)


# writer, reader's union, the branch it takes
TAKEN = [
    ("int", ["double", "int"], 1),
    ("int", ["double", "long"], 0),
    ("long", ["float", "double"], 0),
    ("bytes", ["null", "string"], 1),
    (record("a.R"), [record("b.R"), record("a.R")], 1),
    (record("a.R"), [record("x.Q", aliases=["a.R"]), record("b.R")], 0),
    (fixed("F", 2), [fixed("x.F", 3), fixed("y.F", 2)], 1),
    (money(3, 1), ["null", "string", "bytes"], 2),
]


@pytest.mark.parametrize(("writer", "union", "place"), TAKEN)
def test_the_readers_branch_is_the_same_type_then_the_first_that_matches(writer: Any, union: Any, place: int) -> None:
    assert read_plan(schema_of(writer), schema_of(union)).label == schema_of(union).branches[place].label


def test_fields_go_to_their_names_and_then_to_aliases() -> None:
    writer = schema_of(record("R", ("a", "int"), ("b", "int"), ("c", "int"), ("d", "int")))
    reader = schema_of(
        record(
            "R",
            ("b", "int", 0, ["a"]),
            ("x", "int", 7, ["zzz", "a", "c"]),
            ("y", "int", 8, ["d"]),
            ("z", "int", 9, ["d"]),
        )
    )
    plan = read_plan(writer, reader)
    # b by its name, though it has the alias a; x takes a alone; y comes before z
    assert [(name, target) for name, _, target in plan.steps] == [("a", 1), ("b", 0), ("c", -1), ("d", 2)]
    assert [(place, make()) for place, make in plan.defaults] == [(3, 9)]
    assert plan.cost == 8
    assert not plan.straight


def test_a_pair_is_resolved_once_and_forgotten_with_its_schemas() -> None:
    source = record("R", ("next", ["null", "R"]), ("a", array("int")))
    writer, reader = schema_of(source), schema_of(source)
    plan = read_plan(writer, reader)
    assert read_plan(writer, reader) is plan
    assert read_plan(writer) is not plan
    assert write_plan(writer) is write_plan(writer)
    known = ref(reader)
    del reader, plan
    gc.collect()
    assert known() is None


def test_promotions_are_in_the_plan() -> None:
    assert read_plan(schema_of("int"), schema_of("double")).promote == Promote.TO_FLOAT
    assert read_plan(schema_of("int"), schema_of("long")).promote == Promote.NONE
    assert read_plan(schema_of("string"), schema_of("bytes")).promote == Promote.TO_BYTES


def test_a_plan_is_a_graph_as_its_schema_is() -> None:
    schema = schema_of(record("R", ("next", ["null", "R"])))
    read, write = read_plan(schema), write_plan(schema)
    assert read.steps[0][1].branches[1] is read
    assert write.fields[0][1].branches[1] is write
    assert read.straight


def chain(last: str) -> Protocol:
    types = [record("R0", ("a", last))] + [record(f"R{n}", ("a", f"R{n - 1}")) for n in range(1, 5_000)]
    text = json.dumps({"protocol": "P", "types": types}, separators=(",", ":"))
    return Protocol.parse(text, limits=Limits(protocol_bytes=2**20))


def test_a_chain_of_5000_types_is_resolved_without_recursion() -> None:
    ints, strings = chain("int"), chain("string")
    assert read_plan(ints.types["R4999"], chain("long").types["R4999"]).op == Op.RECORD
    with pytest.raises(SchemaError, match="the writer's int cannot be read as the reader's string") as caught:
        read_plan(ints.types["R4999"], strings.types["R4999"])
    assert len(str(caught.value)) < 1_000


def test_the_reasons_are_no_more_than_can_be_read() -> None:
    writer = schema_of(record("R", *((f"f{n}", "int") for n in range(100))))
    reader = schema_of(record("R", *((f"f{n}", "null") for n in range(100))))
    with pytest.raises(SchemaError) as caught:
        read_plan(writer, reader)
    assert len(caught.value.reasons) == MAX_REASONS


def test_schemas_are_described_in_a_word_or_two() -> None:
    assert described(schema_of({"type": "int", "logicalType": "date"})) == "date int"
    assert (
        described(schema_of(["null", "int", *(fixed(f"F{n}", n) for n in range(9))]))
        == "union of null, int, F0, F1, F2, F3, ..."
    )
