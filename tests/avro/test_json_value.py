"""splnode.avro.json_value: any JSON goes in and comes out as it was; a Record says what it is."""

import datetime
import json
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splnode.avro import json_value, single_object
from splnode.avro.codec import decoder, encoder
from splnode.avro.fingerprint import crc64_avro
from splnode.avro.json_value import JSON_AVSC, RECORD_AVSC, json_to_record, make_record, open_record
from splnode.avro.schema import Schema, parse_schema
from splnode.errors import DecodeError, EncodeError, LimitExceeded
from splnode.limits import Limits

SURROGATES = st.text(st.characters(exclude_categories=()), max_size=3)  # with those that UTF-8 cannot hold
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | SURROGATES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3) | SURROGATES, inner, max_size=4),
    max_leaves=30,
)
USER = parse_schema('{"type": "record", "name": "acme.User", "fields": [{"name": "name", "type": "string"}]}')


def nothing(number: int) -> Schema | None:
    return None


def users(number: int) -> Schema | None:
    return USER if number == crc64_avro(USER) else None


def nested(levels: int, leaf: Any = 1) -> Any:
    for level in range(levels):
        leaf = [leaf] if level % 2 else {"k": leaf}
    return leaf


def exactly(value: object) -> str:
    """A text in which 1 and 1.0 and True differ."""
    return json.dumps(value, sort_keys=False)


def test_the_types_are_what_avro_takes() -> None:
    for text, name in ((RECORD_AVSC, json_value.RECORD_NAME), (JSON_AVSC, json_value.JSON_NAME)):
        parsed: Any = fastavro.parse_schema(json.loads(text))
        assert parsed["name"] == name
    assert json_value.is_record(json_value.record_schema())
    assert json_value.is_json(json_value.json_schema())
    assert not json_value.is_json(USER)


def test_the_fingerprint_never_changes() -> None:
    """It stands in every stored record."""
    assert single_object.show(json_value.json_fingerprint()) == "5392a433010b2e4b"


@given(ANY_JSON)
def test_any_json_comes_out_as_it_was(value: object) -> None:
    record = json_to_record(value)
    data = encoder(json_value.record_schema()).encode(record)
    record, _ = decoder(json_value.record_schema()).decode(data)
    schema, found = open_record(record, nothing)
    assert schema.name == "splnode.Json"
    assert exactly(found) == exactly(value)


@pytest.mark.parametrize("levels", [0, 1, 30, 31, 32, 63, 64, 65, 200, 256])
@pytest.mark.parametrize("leaf", [1, [], {}, "x", 2**70, "\ud800", {"text": "x"}], ids=repr)
def test_deep_json_comes_out_as_it_was(levels: int, leaf: Any) -> None:
    value = nested(levels - isinstance(leaf, (list, dict)), leaf)
    assert exactly(open_record(json_to_record(value), nothing)[1]) == exactly(value)


@pytest.mark.parametrize("depth", [4, 5, 6, 7, 64])
def test_the_depth_limit_is_never_the_callers_trouble(depth: int) -> None:
    limits = Limits(depth=depth)
    record = json_to_record(nested(50), limits=limits)
    assert open_record(record, nothing, limits=limits)[1] == nested(50)


def test_31_levels_are_structure_and_the_rest_is_text() -> None:
    assert b'{"k":' not in json_to_record(nested(31))["data"]
    assert b'{"k":[' not in json_to_record(nested(32))["data"]
    assert b'{"k":1}' in json_to_record(nested(33))["data"] or b'[{"k":1}]' in json_to_record(nested(33))["data"]


@pytest.mark.parametrize("value", [{"text": "x"}, {"value": 1}, {"text": {"text": "y"}}, {"schema": "a", "data": "b"}])
def test_an_object_that_looks_like_our_own_types(value: Any) -> None:
    assert open_record(json_to_record(value), nothing)[1] == value


def test_not_a_number_and_infinities_pass() -> None:
    """Values of a program, though no JSON: Avro's double holds them."""
    found = open_record(json_to_record([float("nan"), float("inf")]), nothing)[1]
    assert found[0] != found[0] and found[1] == float("inf")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": [1, b"x"]}, '["a"][1]: JSON has no bytes'),
        ([datetime.date(2024, 5, 1)], "[0]: JSON has no date"),
        ({1: "x"}, "the key 1 of an object must be a string"),
        (nested(40, {1: "x"}), "the key 1 of an object must be a string"),
        (nested(40, b"x"), "not JSON that can be written"),
        (nested(300), "deeper than 256 levels"),
        (nested(40, float("nan")), "not JSON that can be written"),
        pytest.param(10**5000, "not JSON that can be written", id="huge"),
    ],
)
def test_what_json_has_not_is_refused(value: Any, words: str) -> None:
    with pytest.raises(EncodeError) as caught:
        json_to_record(value)
    assert words in str(caught.value)


def test_a_value_that_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(EncodeError):
        json_to_record(value)


def test_a_typed_record() -> None:
    record = make_record(USER, {"name": "Ada"})
    assert record == {"schema": "acme.User", "data": single_object.encode(USER, {"name": "Ada"})}
    assert open_record(record, users) == (USER, {"name": "Ada"})
    assert make_record(Schema("int"), 5)["schema"] == "int"


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"schema": "acme.User", "data": b"no message"}, "begins with c301"),
        ({"schema": "acme.User", "data": b"\xc3\x01" + b"\0" * 9}, "no schema is known for 'acme.User'"),
        ({"schema": "acme.User", "data": json_to_record(1)["data"]}, "says it is 'acme.User' is a 'splnode.Json'"),
        ({"schema": "splnode.Json", "data": make_record(USER, {"name": "x"})["data"]}, "is a 'acme.User'"),
        ({"schema": "splnode.Json", "data": json_to_record(1)["data"] + b"x"}, "1 bytes follow"),
    ],
)
def test_a_bad_record_is_refused(record: Any, words: str) -> None:
    with pytest.raises(DecodeError) as caught:
        open_record(record, users)
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "1 2", '{"a":1,"a":2}', "9" * 5000])
def test_a_bad_text_is_refused(text: str) -> None:
    union = json_value.json_schema().fields[0].schema
    place = [branch.label for branch in union.branches].index("splnode.JsonText")
    data = single_object.header(json_value.json_schema()) + bytes([2 * place]) + encoder(Schema("string")).encode(text)
    with pytest.raises(DecodeError):
        open_record({"schema": "splnode.Json", "data": data}, nothing)


def test_the_size_limit_holds() -> None:
    with pytest.raises(LimitExceeded):
        json_to_record("x" * 100, limits=Limits(message_bytes=50))
