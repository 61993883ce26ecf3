import pytest

from splnode.avro.codec.budget import Budget
from splnode.avro.codec.read import compile_read, read_long
from splnode.avro.resolution import read_plan
from splnode.avro.schema import parse_schema
from splnode.errors import DecodeError, LimitExceeded
from splnode.limits import Limits


@pytest.mark.parametrize(
    ("data", "number"),
    [("00", 0), ("01", -1), ("7f", -64), ("8001", 64), ("feffffffffffffffff01", 2**63 - 1), ("808000", 0)],
)
def test_a_varint(data: str, number: int) -> None:
    assert read_long(b"?" + bytes.fromhex(data), 1) == (number, 1 + len(data) // 2)


@pytest.mark.parametrize("data", ["", "80", "80" * 10, "80" * 9 + "02", "80" * 10 + "00"])
def test_a_varint_that_is_none(data: str) -> None:
    with pytest.raises(DecodeError):
        read_long(bytes.fromhex(data), 0)


def test_a_budget_is_spent_to_its_end() -> None:
    left = Budget(Limits(nodes=8, depth=1, message_bytes=2))
    left.spend(2)
    left.enter(5)
    left.length(2)
    for charge in (lambda: left.spend(1), lambda: left.enter(0), lambda: left.length(3)):
        with pytest.raises(LimitExceeded):
            charge()


def test_a_function_is_made_for_a_type_that_holds_itself() -> None:
    schema = parse_schema(
        '{"type": "record", "name": "T", "fields": [{"name": "c", "type": {"type": "array", "items": "T"}}]}'
    )
    read = compile_read(read_plan(schema))
    assert read(bytes.fromhex("0202000000"), 0, Budget(Limits())) == ({"c": [{"c": [{"c": []}]}]}, 5)
