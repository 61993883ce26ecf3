from typing import Any

import pytest

from splnode.avro.json_value import json_to_record, make_record, open_record
from splnode.avro.single_object import decode
from splnode.modules.contract import ContractFault, ModuleContract
from splnode.modules.result import Record


def contract(**fields: str) -> ModuleContract:
    each = ", ".join(f'{{"name": "{name}", "type": {schema}}}' for name, schema in fields.items())
    return ModuleContract(f'{{"type": "record", "name": "C", "fields": [{each}]}}')


POINT = """{"type": "record", "name": "Point", "fields": [
  {"name": "x", "type": "int"}, {"name": "y", "type": "int", "default": 0}]}"""


def test_without_a_contract_everything_passes() -> None:
    anything = ModuleContract()
    anything.check_headers({})
    for value in (None, b"x", "x"):
        assert anything.give(anything.take(value)) == value
    assert anything.take(json_to_record([1, None])) == [1, None]
    record = {"schema": "x.Y", "data": b"z"}
    taken = anything.take(record)
    assert isinstance(taken, Record)
    assert anything.give(taken) == record
    assert anything.give(bytearray(b"x")) == b"x"
    assert anything.give(memoryview(b"x")) == b"x"


@pytest.mark.parametrize(
    ("schema", "value", "taken"),
    [
        ('"null"', None, None),
        ('"bytes"', b"x", b"x"),
        ('"string"', "x", "x"),
        ('["null", "string"]', "x", "x"),
        ('"long"', json_to_record(5), 5),
        ('"bytes"', json_to_record({"hex": "ff"}), b"\xff"),
        (POINT, json_to_record({"x": 1}), {"x": 1, "y": 0}),
        ('{"type": "map", "values": "double"}', json_to_record({"a": 1}), {"a": 1.0}),
    ],
)
def test_input(schema: str, value: Any, taken: Any) -> None:
    assert contract(input=schema).take(value) == taken


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ('"string"', None),
        ('"string"', b"x"),
        ('"int"', json_to_record("x")),
        (POINT, json_to_record({"x": "one"})),
        (POINT, json_to_record({"z": 1})),
        (POINT, "{}"),
        (POINT, {"schema": "splnode.Json", "data": b"junk"}),
        (POINT, {"schema": "Point", "data": b"\xc3\x01"}),
        (POINT, {"schema": "Point", "data": b"\xc3\x01" + bytes(10)}),
    ],
)
def test_input_that_does_not_fit(schema: str, value: Any) -> None:
    with pytest.raises(ContractFault, match="does not fit the module's input") as caught:
        contract(input=schema).take(value)
    assert caught.value.code == "INVALID_INPUT"


def test_who_sends_a_typed_record_gets_one() -> None:
    made = contract(input=POINT, output='"Point"')
    assert made.input is not None
    typed = make_record(made.input, {"x": 1, "y": 2})
    assert made.take(typed) == {"x": 1, "y": 2}
    assert made.is_typed(typed)
    assert not made.is_typed(json_to_record({}))
    assert not made.is_typed("x")
    given = made.give({"x": 3}, typed=True)
    assert isinstance(given, dict)
    assert given["schema"] == "Point"
    assert decode(given["data"], lambda _: made.output) == {"x": 3, "y": 0}
    plain = made.give({"x": 3})
    assert isinstance(plain, dict)
    assert open_record(plain, lambda _: None)[1] == {"x": 3, "y": 0}


@pytest.mark.parametrize(
    ("schema", "value"),
    [('"string"', 5), ('"string"', None), (POINT, {}), (POINT, "x"), ('"int"', 2**31), (POINT, object())],
)
@pytest.mark.parametrize("typed", [True, False])
def test_output_that_does_not_fit(schema: str, value: Any, typed: bool) -> None:
    with pytest.raises(ContractFault) as caught:
        contract(output=schema).give(value, typed=typed)
    assert caught.value.code == "INVALID_OUTPUT"


def test_headers() -> None:
    optional = '{"name": "b", "type": ["null", "string"], "default": null}'
    record = f'{{"type": "record", "name": "H", "fields": [{{"name": "a", "type": "string"}}, {optional}]}}'
    made = contract(headers=record)
    made.check_headers({"a": "1", "other": "2"})
    with pytest.raises(ContractFault, match="needs the header a") as caught:
        made.check_headers({"b": "1"})
    assert caught.value.code == "INVALID_INPUT"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", ""),
        ("{", ""),
        ('"string"', "not a string"),
        ('{"type": "record", "name": "C", "fields": [{"name": "imput", "type": "int"}]}', "not imput"),
        ('{"type": "record", "name": "C", "fields": [{"name": "input", "type": "itn"}]}', "itn"),
        ('{"type": "record", "name": "C", "fields": [{"name": "headers", "type": "int"}]}', "record of strings"),
        (
            '{"type": "record", "name": "C", "fields": [{"name": "headers", "type":'
            ' {"type": "record", "name": "H", "fields": [{"name": "n", "type": "long"}]}}]}',
            "header n must be a string",
        ),
    ],
)
def test_a_contract_that_cannot_be_used(text: str, reason: str) -> None:
    with pytest.raises(ContractFault, match="contract cannot be used") as caught:
        ModuleContract(text)
    assert caught.value.code == "BROKEN"
    assert reason in caught.value.message
