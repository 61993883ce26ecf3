import json
from typing import Any

import pytest

from splnode.avro.codec.source_read import quick_read
from splnode.avro.resolution import read_plan
from splnode.avro.schema import Schema, parse_schema
from splnode.limits import Limits


def schema_of(source: Any) -> Schema:
    return parse_schema(json.dumps(source))


ARRAY = schema_of({"type": "array", "items": "int"})


def test_it_reads_what_is_as_usual() -> None:
    read = quick_read(read_plan(ARRAY), Limits())
    assert read is not None
    assert read(b"?\x04\x02\x04\x00?", 1) == ([1, 2], 5)


@pytest.mark.parametrize("data", ["", "02", "0202", "0304020400", "80" * 11, "048080808020"])
def test_it_gives_up_where_anything_is_wrong_or_unusual(data: str) -> None:
    read = quick_read(read_plan(ARRAY), Limits(nodes=4))
    assert read is not None
    with pytest.raises(Exception, match=r".*"):
        read(bytes.fromhex(data), 0)


def test_limits_are_never_passed() -> None:
    read = quick_read(read_plan(ARRAY), Limits(nodes=5))
    assert read is not None
    assert read(bytes.fromhex("0602020200"), 0)
    with pytest.raises(Exception, match=r".*"):
        read(bytes.fromhex("080202020200"), 0)
    deep = quick_read(read_plan(ARRAY), Limits(depth=1))
    assert deep is not None
    nested = quick_read(
        read_plan(schema_of({"type": "map", "values": {"type": "array", "items": "int"}})), Limits(depth=1)
    )
    assert nested is not None
    with pytest.raises(Exception, match=r".*"):
        nested(b"\x00", 0)


def test_a_plan_too_large_or_deep_has_none() -> None:
    fields = [{"name": f"f{n}", "type": "string"} for n in range(900)]
    assert quick_read(read_plan(schema_of({"type": "record", "name": "R", "fields": fields})), Limits()) is None
    deep: Any = "int"
    for _ in range(20):
        deep = {"type": "array", "items": deep}
    assert quick_read(read_plan(schema_of(deep)), Limits()) is None
