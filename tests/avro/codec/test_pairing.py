import json
from typing import Any

import pytest

from splnode.avro.codec.pairing import as_written, children, pair_up
from splnode.avro.codec.plan import Op
from splnode.avro.resolution import read_plan, write_plan
from splnode.avro.schema import parse_schema

TREE = {
    "type": "record",
    "name": "T",
    "fields": [{"name": "v", "type": ["int", "string"]}, {"name": "c", "type": {"type": "array", "items": "T"}}],
}


def schema_of(source: Any) -> Any:
    return parse_schema(json.dumps(source))


def test_a_type_that_holds_itself_is_one_pair() -> None:
    schema = schema_of(TREE)
    for read in (read_plan(schema), as_written(write_plan(schema))):
        root = pair_up(write_plan(schema), read)
        value, array = children(root)
        assert [branch.op for branch in value.branches] == [Op.INT, Op.STRING]
        assert array.items is root


def test_a_reader_that_fails_ends_the_pairs() -> None:
    writer, reader = schema_of(TREE), schema_of({**TREE, "fields": TREE["fields"][:0]})
    assert [target for _, _, _, target in pair_up(write_plan(writer), read_plan(writer, reader)).steps] == [-1, -1]
    union = pair_up(
        write_plan(schema_of(["int", "string"])), read_plan(schema_of(["int", "string"]), schema_of(["int"]))
    )
    assert [branch.op for branch in union.branches] == [Op.INT, Op.FAIL]
    assert not list(children(union.branches[1]))


def test_plans_of_different_writers() -> None:
    with pytest.raises(ValueError, match="same writer"):
        pair_up(write_plan(schema_of(TREE)), read_plan(schema_of("int")))
    with pytest.raises(ValueError, match="same writer"):
        pair_up(write_plan(schema_of(["null", "int"])), read_plan(schema_of(["null"])))


def test_as_written_keeps_nothing() -> None:
    plan = as_written(write_plan(schema_of(TREE)))
    assert (plan.cost, plan.names, [target for _, _, target in plan.steps]) == (7, (), [-1, -1])
