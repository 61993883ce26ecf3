import pytest

from splnode.avro.codec.budget import Budget
from splnode.avro.codec.write import compile_write, write_long
from splnode.avro.resolution import write_plan
from splnode.avro.schema import parse_schema
from splnode.limits import Limits


@pytest.mark.parametrize(
    ("number", "data"),
    [
        (0, "00"),
        (-1, "01"),
        (-64, "7f"),
        (64, "8001"),
        (2**63 - 1, "feffffffffffffffff01"),
        (-(2**63), "ff" * 9 + "01"),
    ],
)
def test_a_varint(number: int, data: str) -> None:
    out = bytearray()
    write_long(number, out)
    assert out.hex() == data


def test_a_function_is_made_for_a_type_that_holds_itself() -> None:
    schema = parse_schema(
        '{"type": "record", "name": "T", "fields": [{"name": "c", "type": {"type": "array", "items": "T"}}]}'
    )
    out = bytearray()
    compile_write(write_plan(schema))({"c": [{"c": [{"c": []}]}]}, out, Budget(Limits()))
    assert out.hex() == "0202000000"
