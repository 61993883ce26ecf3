import json
from typing import Any

import pytest

from splnode.avro.protocol import Message, Protocol
from splnode.cli.params import JsonForm, bare_parameter
from splnode.errors import EncodeError
from tests.cli.echo import PROTOCOL

FORM = JsonForm()


def message(*request: dict[str, Any], types: tuple[Any, ...] = ()) -> Message:
    text = {"protocol": "P", "types": list(types), "messages": {"m": {"request": list(request), "response": "null"}}}
    return Protocol.parse(json.dumps(text)).messages["m"]


def test_by_name() -> None:
    assert FORM.params(PROTOCOL.messages["add"], {"a": 1}) == {"a": 1}
    assert FORM.params(PROTOCOL.messages["wait"], {}) == {}


def test_a_record_by_name_and_bare() -> None:
    thing = PROTOCOL.messages["thing"]
    whole = FORM.params(thing, {"request": {"text": "x", "data": "aGk="}})
    assert whole["request"]["data"] == b"hi"
    assert FORM.params(thing, {"text": "x", "data": "aGk="}) == whole


def test_two_readings_are_refused_with_both() -> None:
    tree = PROTOCOL.messages["tree"]
    with pytest.raises(EncodeError, match="two ways") as caught:
        FORM.params(tree, {"node": {"value": 1}})
    assert "the Node that is the parameter node itself" in str(caught.value)
    assert '{"node": {"node": ...}}' in str(caught.value)
    assert FORM.params(tree, {"value": 1}) == {"node": {"value": 1}}
    assert FORM.params(tree, {"node": {"value": 1}, "value": 2})["node"]["value"] == 2
    named = JsonForm(named=True)
    assert named.params(tree, {"node": {"value": 1}}) == {"node": {"value": 1}}
    assert named.params(tree, {"node": {"node": {"value": 1}}})["node"]["node"] is not None
    with pytest.raises(EncodeError):
        named.params(tree, {"value": 1})


def test_an_empty_object_names_nothing() -> None:
    record = {"type": "record", "name": "R", "fields": [{"name": "x", "type": "int", "default": 1}]}
    assert FORM.params(message({"name": "r", "type": record}), {}) == {"r": {}}
    assert FORM.params(message({"name": "r", "type": record, "default": {"x": 5}}), {}) == {}
    nullable = message({"name": "r", "type": ["null", "R"], "default": None}, types=(record,))
    assert FORM.params(nullable, {}) == {}
    assert "r" in FORM.params(nullable, {"x": 3})


def test_which_parameter_may_be_bare() -> None:
    assert bare_parameter(PROTOCOL.messages["thing"]) == "request"
    for name in ("add", "wait", "fail", "open"):  # two, none, a text, any JSON
        assert bare_parameter(PROTOCOL.messages[name]) is None


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("add", {"a": "x"}, "^a: expected int"),
        ("add", {"a": 1, "c": 2}, "c"),
        ("add", {}, "a"),
        ("add", [1], "the parameters of add: a, b"),
        ("thing", {"txt": "x"}, "txt"),
        ("thing", {"request": {"text": 1}}, "request.text: expected a string"),
    ],
)
def test_faults_are_those_of_the_likelier_reading(name: str, value: Any, said: str) -> None:
    with pytest.raises(EncodeError, match=said):
        FORM.params(PROTOCOL.messages[name], value)


def test_forms_of_bytes_and_of_json() -> None:
    thing = PROTOCOL.messages["thing"]
    value = {"text": "x", "data": b"\x00\xff", "color": "RED", "tags": [], "maybe": 3}
    assert FORM.result(thing.response, value)["data"] == "AP8="
    assert JsonForm(bytes_as="hex").result(thing.response, value)["data"] == "00ff"
    tagged = JsonForm("avro").result(thing.response, value)
    assert (tagged["data"], tagged["maybe"]) == ("\x00\xff", {"long": 3})
    assert JsonForm("avro").params(thing, tagged)["request"]["data"] == b"\x00\xff"


def test_any_json_in_a_record() -> None:
    anything = PROTOCOL.messages["open"]
    for value in ({"a": [1, {"b": None}]}, {"value": 1}, [1], "x", None):
        params = FORM.params(anything, {"value": value})
        assert params["value"]["schema"] == "splnode.Json"
        assert FORM.result(anything.response, params["value"]) == value
