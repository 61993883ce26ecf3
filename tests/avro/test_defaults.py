import datetime
import json
import math
from typing import Any

import pytest

from splnode.avro.defaults import Defaults, fresh
from splnode.avro.protocol import Protocol
from splnode.avro.schema import parse_schema
from splnode.errors import SchemaError


def record(name: str, *fields: Any) -> dict[str, Any]:
    made = [{"name": each[0], "type": each[1], **({"default": each[2]} if len(each) > 2 else {})} for each in fields]
    return {"type": "record", "name": name, "fields": made}


def parse(kind: Any, default: Any) -> Any:
    schema = parse_schema(json.dumps(record("R", ("f", kind, default))))
    return Defaults().of(schema.fields[0])


PAIR = record("P", ("a", "int"), ("b", "string", "x"))
ENUM = {"type": "enum", "name": "E", "symbols": ["A"]}

FITTING = [
    ("null", None, None),
    ("boolean", True, True),
    ("int", -(2**31), -(2**31)),
    ("long", 2**63 - 1, 2**63 - 1),
    ("float", 1, 1.0),
    ("double", 1.5, 1.5),
    ("double", "Infinity", math.inf),
    ("bytes", "\u00ffa", b"\xffa"),
    ("string", "é", "é"),
    ({"type": "fixed", "name": "F", "size": 2}, "ab", b"ab"),
    (ENUM, "A", "A"),
    ({"type": "array", "items": "int"}, [1, 2], [1, 2]),
    ({"type": "map", "values": "int"}, {"a": 1}, {"a": 1}),
    (PAIR, {"a": 1}, {"a": 1, "b": "x"}),
    (["null", "int"], None, None),
    (["null", "int"], 5, 5),
    (["int", "null"], None, None),
    ([PAIR, {"type": "map", "values": "int"}], {"z": 1}, {"z": 1}),
    ({"type": "int", "logicalType": "date"}, 1, datetime.date(1970, 1, 2)),
]


@pytest.mark.parametrize(("kind", "default", "value"), FITTING)
def test_a_default_becomes_a_value(kind: Any, default: Any, value: Any) -> None:
    made = parse(kind, default)
    assert made.value == value
    assert type(made.value) is type(value)
    assert made.make() == value
    assert made.make() is not made.make() or not isinstance(value, (dict, list))


MISFITS = [
    ("null", 0, "0 is no null"),
    ("boolean", 1, "1 is no boolean"),
    ("int", 2**31, "is no int"),
    ("int", 1.0, "1.0 is no int"),
    ("int", True, "True is no int"),
    ("int", 10**50, "a huge number is no int"),
    ("long", 2**63, "is no long"),
    ("double", "x", "'x' is no double"),
    ("double", 10**400, "is no double"),
    ("bytes", "\u0100", "is no bytes"),
    ("string", 5, "5 is no string"),
    ({"type": "fixed", "name": "F", "size": 2}, "abc", "is no F of 2 bytes"),
    (ENUM, "B", "'B' is no E"),
    ({"type": "array", "items": "int"}, {}, "an array is needed, not an object of 0"),
    ({"type": "array", "items": "int"}, [1, "x"], "[1]: 'x' is no int"),
    ({"type": "map", "values": "int"}, {"k": None}, "['k']: None is no int"),
    (PAIR, {}, "the field 'a' of P is missing"),
    (PAIR, {"a": 1, "z": 1}, "no field 'z'"),
    (PAIR, {"a": "x"}, "a: 'x' is no int"),
    (PAIR, 5, "a record P is needed"),
    (["null", "int"], "x", "'x' is none of null, int"),
    ({"type": "int", "logicalType": "date"}, 2**31 - 1, "the default does not fit"),
    ({"type": "string", "logicalType": "uuid"}, "x", "is not a UUID"),
]


@pytest.mark.parametrize(("kind", "default", "reason"), MISFITS)
def test_a_default_that_does_not_fit_is_refused_with_its_place(kind: Any, default: Any, reason: str) -> None:
    with pytest.raises(SchemaError) as caught:
        parse(kind, default)
    assert caught.value.path == "fields.f"
    assert reason in caught.value.reasons[0]


def test_a_default_that_holds_itself_is_refused() -> None:
    with pytest.raises(SchemaError, match="holds itself"):
        parse_schema(json.dumps(record("A", ("f", ["A", "null"], {}))))


def types(*sources: Any) -> Protocol:
    return Protocol.parse(json.dumps({"protocol": "P", "types": sources}))


def test_defaults_that_double_are_counted_and_not_made() -> None:
    doubling = [record(f"R{n}", ("a", f"R{n - 1}", {}), ("b", f"R{n - 1}", {})) for n in range(1, 60)]
    with pytest.raises(SchemaError, match="more than 10000 nodes"):
        types(record("R0"), *doubling)
    protocol = types(record("R0"), *doubling[:10])
    assert Defaults().of(protocol.types["R10"].fields[0]).nodes == 4 * (2**10 - 1)


def test_defaults_that_nest_from_type_to_type_are_counted() -> None:
    chain = [record(f"R{n}", ("a", f"R{n - 1}", {})) for n in range(1, 2_500)]
    with pytest.raises(SchemaError, match="deeper than 64"):
        types(record("R0"), *chain)


def test_a_default_that_could_go_a_million_ways_through_unions_is_given_up() -> None:
    many = [record(f"R{n}", ("a", ["int", *(f"R{k}" for k in range(n))])) for n in range(40)]
    value: Any = "no int"
    for _ in range(50):
        value = {"a": value}
    with pytest.raises(SchemaError, match="tries"):
        types(*many, record("Z", ("a", ["null", *(f"R{k}" for k in range(40))], value)))


def test_a_fresh_value_shares_no_container() -> None:
    value = {"a": [{"b": 1}], "c": "x"}
    copy = fresh(value)
    assert copy == value
    assert copy["a"] is not value["a"]
    assert copy["a"][0] is not value["a"][0]
