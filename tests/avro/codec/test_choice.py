import json
from typing import Any

import msgspec
import pytest

from splnode.avro.codec.choice import branch_of, fits, struct_attributes, symbol_of
from splnode.avro.codec.plan import Branch
from splnode.avro.resolution import write_plan
from splnode.avro.schema import parse_schema
from splnode.errors import EncodeError


def union(*branches: Any) -> Any:
    return write_plan(parse_schema(json.dumps(branches)))


def record(name: str, *fields: str) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": each, "type": "int"} for each in fields]}


class Circle(msgspec.Struct, tag="Round"):
    r: int


class Renamed(msgspec.Struct, rename="camel"):
    long_name: int


def test_a_struct_goes_by_its_tag_then_its_name_then_its_fields() -> None:
    assert branch_of(union("null", record("Circle", "r"), record("Round", "r")), Circle(1))[0] == 2
    assert branch_of(union("null", record("Other", "r"), record("x.Circle", "r")), Circle(1))[0] == 2
    assert branch_of(union("null", record("A", "q"), record("B", "r")), Circle(1))[0] == 2
    assert branch_of(union("null", record("A", "longName")), Renamed(1))[0] == 1
    assert branch_of(union("null", record("A", "q")), Circle(1))[0] == 1  # the only record, to say what is wrong
    with pytest.raises(EncodeError, match=r"one of the union's branches \(null, A, B\) expected, not Circle"):
        branch_of(union("null", record("A", "q"), record("B", "s")), Circle(1))


def test_a_branch_goes_by_its_full_name_first() -> None:
    two = union(record("a.R"), record("b.R"))
    assert branch_of(two, Branch("b.R", {})) == (1, {})
    assert branch_of(two, Branch("R", {})) == (0, {})
    with pytest.raises(EncodeError, match=r"the union has no branch 'c\.R'"):
        branch_of(two, Branch("c.R", {}))


def test_an_error_names_the_branches_but_not_the_value() -> None:
    with pytest.raises(EncodeError) as caught:
        branch_of(union("null", "int"), "a secret")
    assert str(caught.value) == "a value of one of the union's branches (null, int) expected, not str"
    with pytest.raises(EncodeError, match=r"\.\.\."):
        branch_of(union("null", "int", *(record(f"R{n}") for n in range(10))), "x")


def test_only_what_has_a_row_in_the_table_fits() -> None:
    for value in (object(), {1}, iter([])):
        assert not any(
            fits(write_plan(parse_schema(f'"{kind}"')), value) for kind in ("null", "int", "string", "bytes")
        )


def test_symbols_and_attributes() -> None:
    import enum

    assert symbol_of(enum.Enum("E", {"A": "a"}).A) == "a"  # type: ignore[attr-defined]  # made by the call
    assert symbol_of(enum.Enum("E", {"A": 1}).A) == "A"  # type: ignore[attr-defined]  # made by the call
    assert struct_attributes(Renamed) == {"longName": "long_name"}
