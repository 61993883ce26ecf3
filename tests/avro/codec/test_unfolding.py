import json
from typing import Any

import pytest

from splnode.avro.codec.unfolding import TOO_MANY
from splnode.avro.protocol import Protocol
from splnode.avro.resolution import read_plan


def record(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": key, "type": kind} for key, kind in fields.items()]}


def cost(name: str, *types: Any) -> int:
    protocol = Protocol.parse(json.dumps({"protocol": "P", "types": types}))
    return read_plan(protocol.types[name]).cost


DOUBLING = [record("R0")] + [record(f"R{n}", a=f"R{n - 1}", b=f"R{n - 1}") for n in range(1, 60)]


@pytest.mark.parametrize(("level", "charged"), [(1, 5), (20, 5), (28, 5), (29, TOO_MANY), (59, TOO_MANY)])
def test_records_that_double_charge_all_at_once(level: int, charged: int) -> None:
    assert cost(f"R{level}", *DOUBLING) == charged


def test_what_can_be_left_out_costs_nothing() -> None:
    assert (
        cost("Z", *DOUBLING, record("Z", a={"type": "array", "items": "R59"}, m={"type": "map", "values": "R59"})) == 5
    )
    assert cost("Z", *DOUBLING, record("Z", a=["R59", "null"])) == 4
    assert cost("Z", *DOUBLING, record("Z", a=["R59", "R58"])) == TOO_MANY
    assert cost("Z", *DOUBLING, record("Z", a="int", b="R59")) == TOO_MANY


def test_a_type_that_holds_itself() -> None:
    assert cost("L", record("L", next=["null", "L"])) == 4
    assert cost("A", record("A", u=[record("B", a="A"), "null"])) == 4
    assert cost("B", record("A", u=[record("B", a="A"), "null"])) == 4
    assert cost("A", record("A", a="A")) == TOO_MANY


def test_a_dropped_field_counts() -> None:
    protocol = Protocol.parse(json.dumps({"protocol": "P", "types": [*DOUBLING, record("Z", a="R59")]}))
    reader = Protocol.parse(json.dumps({"protocol": "P", "types": [record("Z")]}))
    assert read_plan(protocol.types["Z"], reader.types["Z"]).cost == TOO_MANY


def test_a_union_without_branches_is_nothing_to_count() -> None:
    assert cost("Z", record("Z", a=[])) == 4
    assert cost("Z", record("Z", a=[]), record("Y", a="Z", b="Z")) == 4
