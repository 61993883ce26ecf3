import json
from typing import Any

import pytest

from splnode.avro.compatibility import Verdict, changes, message_verdict, schema_reasons, verdicts
from splnode.avro.protocol import Protocol
from splnode.avro.schema import parse_schema

ORDER = [{"name": "sku", "type": "string"}]
TYPES = [
    {"type": "error", "name": "Gone", "fields": [{"name": "sku", "type": "string"}]},
    {"type": "error", "name": "Late", "fields": []},
]


def protocol(**messages: dict[str, Any]) -> Protocol:
    whole = {name: {"request": [], "response": "null"} | message for name, message in messages.items()}
    return Protocol.parse(json.dumps({"protocol": "Shop", "namespace": "x", "types": TYPES, "messages": whole}))


def verdict(caller: dict[str, Any], server: dict[str, Any]) -> Verdict:
    return message_verdict(protocol(m=caller), protocol(m=server, another={}), "m")


@pytest.mark.parametrize(
    ("caller", "server"),
    [
        ({}, {}),
        ({"request": ORDER, "response": "string"}, {"request": ORDER, "response": "string", "doc": "else"}),
        ({"errors": ["Gone"]}, {"errors": ["Gone"]}),
    ],
)
def test_the_same(caller: dict[str, Any], server: dict[str, Any]) -> None:
    assert verdict(caller, server) == Verdict("same")


@pytest.mark.parametrize(
    ("caller", "server"),
    [
        ({"request": ORDER}, {"request": [*ORDER, {"name": "count", "type": "int", "default": 1}]}),
        ({"request": [*ORDER, {"name": "more", "type": "int"}]}, {"request": ORDER}),
        ({"response": "long"}, {"response": "int"}),
        ({"one-way": True}, {"response": "string"}),
        ({"errors": ["Gone", "Late"]}, {"errors": ["Gone"]}),
    ],
)
def test_what_resolves(caller: dict[str, Any], server: dict[str, Any]) -> None:
    assert verdict(caller, server) == Verdict("resolved")


@pytest.mark.parametrize(
    ("caller", "server", "reasons"),
    [
        (
            {"request": ORDER},
            {"request": [{"name": "sku", "type": "int"}, {"name": "n", "type": "int"}]},
            ["request: the reader's field 'n'", "request.sku: the writer's string cannot be read as the reader's int"],
        ),
        ({"response": "int"}, {"response": "long"}, ["response: the writer's long cannot be read as the reader's int"]),
    ],
)
def test_what_does_not_says_where_and_both_sides(
    caller: dict[str, Any], server: dict[str, Any], reasons: list[str]
) -> None:
    found = verdict(caller, server)
    assert (found.fit, found.fits) == ("misfit", False)
    assert len(found.reasons) == len(reasons)
    for said, expected in zip(sorted(found.reasons), sorted(reasons), strict=True):
        assert said.startswith(expected)
    assert all(reason in str(found) for reason in found.reasons)


def test_an_error_that_the_caller_does_not_know_keeps_no_call_from_being_made() -> None:
    found = verdict({"errors": ["Gone"]}, {"errors": ["Gone", "Late"]})
    assert found.fits
    assert found.notes == ("the server's error x.Late is no error that the caller declares",)


def test_messages_that_one_side_has_not() -> None:
    old, new = protocol(a={}, b={}), protocol(a={}, c={})
    found = verdicts(old, new)
    assert {name: each.fits for name, each in found.items()} == {"a": True, "b": False}
    assert "the server's x.Shop has no message b" in str(found["b"])
    assert "the caller's x.Shop has no message c" in str(message_verdict(old, new, "c"))


def test_both_directions_of_a_change() -> None:
    old = protocol(put={"request": ORDER}, gone={})
    new = protocol(put={"request": [*ORDER, {"name": "count", "type": "int"}]}, fresh={})
    found = changes(old, new)
    assert list(found) == ["put", "gone", "fresh"]
    assert found["put"].old_calls_new is not None and not found["put"].old_calls_new.fits
    assert found["put"].new_calls_old is not None and found["put"].new_calls_old.fits
    assert found["gone"].new_calls_old is None
    assert found["fresh"].old_calls_new is None


def test_schemas() -> None:
    assert schema_reasons(parse_schema('"int"'), parse_schema('"long"')) == ()
    assert schema_reasons(parse_schema('"long"'), parse_schema('"int"')) == (
        "the writer's long cannot be read as the reader's int",
    )
