import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splnode.avro.lint import lint
from splnode.avro.protocol import Protocol, find_protocol
from splnode.errors import SchemaError
from splnode.limits import Limits

ROOT = Path(__file__).parents[2]

GREETER: dict[str, Any] = {
    "protocol": "Greeter",
    "namespace": "com.acme",
    "doc": "Greets.",
    "version": "1.2",
    "types": [
        {"type": "record", "name": "Greeting", "fields": [{"name": "text", "type": "string"}]},
        {"type": "error", "name": "Curse", "fields": [{"name": "reason", "type": "string"}]},
    ],
    "messages": {
        "hello": {
            "doc": "Says hello.",
            "request": [
                {"name": "greeting", "type": "Greeting", "doc": "what"},
                {"name": "times", "type": "int", "default": 1},
            ],
            "response": "Greeting",
            "errors": ["Curse"],
            "idempotent": True,
            "origin": "here",
        },
        "shout": {"request": [], "response": "null", "one-way": True},
    },
}


def changed(**more: Any) -> str:
    return json.dumps({**GREETER, **more})


def message(**more: Any) -> str:
    return changed(messages={"m": {"request": [], "response": "null", **more}})


def test_a_protocol_is_its_types_and_messages() -> None:
    protocol = Protocol.parse(json.dumps(GREETER))
    assert (protocol.name, protocol.short_name, protocol.namespace) == ("com.acme.Greeter", "Greeter", "com.acme")
    assert protocol.doc == "Greets."
    assert protocol.properties == {"version": "1.2"}
    assert list(protocol.types) == ["com.acme.Greeting", "com.acme.Curse"]
    assert list(protocol.messages) == ["hello", "shout"]
    hello, shout = protocol.messages["hello"], protocol.messages["shout"]
    assert (hello.name, hello.doc, hello.one_way, hello.idempotent) == ("hello", "Says hello.", False, True)
    assert hello.request.kind == "record"
    assert hello.request.name == "hello"
    assert [(each.name, each.doc, each.default) for each in hello.request.fields][1] == ("times", "", 1)
    assert hello.response is protocol.types["com.acme.Greeting"]
    assert [branch.label for branch in hello.errors.branches] == ["string", "com.acme.Curse"]
    assert hello.properties == {"idempotent": True, "origin": "here"}
    assert shout.one_way
    assert not shout.idempotent
    assert [branch.label for branch in shout.errors.branches] == ["string"]
    assert repr(protocol) == "<Protocol com.acme.Greeter>"
    assert repr(hello) == "<Message hello>"


def test_the_text_is_kept_byte_for_byte() -> None:
    text = json.dumps(GREETER, indent=7) + "\n\n \u00e9"[:2]
    protocol = Protocol.parse(text.encode())
    assert protocol.text == text
    assert protocol.md5 == hashlib.md5(text.encode()).digest()
    assert protocol == Protocol.parse(text)
    assert hash(protocol) == hash(Protocol.parse(text))
    assert protocol != Protocol.parse(json.dumps(GREETER))
    assert protocol != text


@pytest.mark.parametrize(
    ("name", "namespace", "full"),
    [
        ("a.b.P", None, "a.b.P"),
        ("a.P", "x", "a.P"),
        ("P", "x.y", "x.y.P"),
        ("P", "", "P"),
        ("fake-camera", None, "fake-camera"),
    ],
)
def test_the_name_of_a_protocol(name: str, namespace: str | None, full: str) -> None:
    source = {"protocol": name, "types": [{"type": "fixed", "name": "F", "size": 1}]}
    protocol = Protocol.parse(json.dumps(source if namespace is None else {**source, "namespace": namespace}))
    assert protocol.name == full
    assert list(protocol.types) == [f"{protocol.namespace}.F" if protocol.namespace else "F"]


# text, the path, what the reason says
MALFORMED = [
    ("[]", "", "a protocol is an object"),
    ('{"type": "int"}', "", "a schema, not a protocol"),
    ("{}", "", 'the key "protocol"'),
    ("{", "", "line 1 column 2"),
    (changed(protocol=""), "protocol", "needs a name"),
    (changed(protocol=5), "protocol", "needs a name"),
    (changed(protocol="a\nb"), "protocol", "needs a name"),
    (changed(protocol="a. of them."), "protocol", "needs a name"),
    (changed(namespace="a-b"), "namespace", "is not a name"),
    (changed(namespace=["a"]), "namespace", "needs a name"),
    (changed(types={}), "types", "a list of definitions"),
    (changed(types=["int"]), "types[0]", "a definition"),
    (changed(types=[{"type": "array", "items": "int"}]), "types[0]", "a definition"),
    (changed(types=GREETER["types"] * 2), "types[2]", "'com.acme.Greeting' is given to two types"),
    (
        changed(types=[{"type": "record", "name": "A", "fields": [{"name": "b", "type": "B"}]}]),
        "types[0].fields.b",
        "'com.acme.B'",
    ),
    (changed(messages=[]), "messages", "an object"),
    (changed(messages={"": {}}), "messages", "ping"),
    (changed(messages={"m": 5}), "messages.m", "not 5"),
    (changed(messages={"m": {"response": "null"}}), "messages.m", "no request"),
    (changed(messages={"m": {"request": []}}), "messages.m", "no response"),
    (message(request={}), "messages.m.request", "a list of fields"),
    (message(request=[{"name": "a", "type": "x"}]), "messages.m.request.a", "'com.acme.x'"),
    (message(request=[{"name": "a", "type": "int"}] * 2), "messages.m.request", "'a' stands twice"),
    (message(request=[{"name": "a", "type": "int", "default": "x"}]), "messages.m.request.a", "'x' is no int"),
    (message(response="x"), "messages.m.response", "'com.acme.x'"),
    (message(errors="Curse"), "messages.m.errors", "a list of types"),
    (message(errors=["x"]), "messages.m.errors[0]", "'com.acme.x'"),
    (message(errors=["Curse", "Curse"]), "messages.m.errors", "twice"),
    (message(errors=["Curse", "string"]), "messages.m.errors", "'string' twice"),
    (message(**{"one-way": "yes"}), "messages.m", "true or false"),
    (message(response="int", **{"one-way": True}), "messages.m", "one-way message has no errors"),
    (message(errors=["Curse"], **{"one-way": True}), "messages.m", "one-way message has no errors"),
]


@pytest.mark.parametrize(("text", "path", "reason"), MALFORMED)
def test_what_is_malformed_is_named_with_its_place(text: str, path: str, reason: str) -> None:
    with pytest.raises(SchemaError) as caught:
        Protocol.parse(text)
    assert caught.value.path == path
    assert reason in caught.value.reasons[0]
    with pytest.raises(SchemaError) as from_peer:
        Protocol.parse(text, source="the peer")
    assert from_peer.value.path == (f"the peer: {path}" if path else "the peer")


def test_rubys_implicit_string_is_understood() -> None:
    protocol = Protocol.parse(message(errors=["string", "Curse"]))
    assert [branch.label for branch in protocol.messages["m"].errors.branches] == ["string", "com.acme.Curse"]


def test_the_text_of_the_avro_package_is_understood() -> None:
    """It shortens names by the protocol's namespace wherever they stand."""
    text = json.dumps(
        {
            "protocol": "P",
            "namespace": "a",
            "types": [
                {"type": "record", "name": "T", "fields": []},
                {"type": "record", "name": "R", "namespace": "b", "fields": [{"name": "t", "type": "T"}]},
            ],
        }
    )
    protocol = Protocol.parse(text)
    assert protocol.types["b.R"].fields[0].schema is protocol.types["a.T"]


def test_what_instruments_send_is_understood() -> None:
    """yaq: keys that Avro does not know, everywhere; a hyphen in the name; a logical type of their own."""
    ndarray = {
        "type": "record",
        "name": "ndarray",
        "logicalType": "ndarray",
        "fields": [{"name": "data", "type": "bytes"}],
    }
    measured = {"request": [], "origin": "is-sensor", "response": {"type": "map", "values": ["int", "ndarray"]}}
    text = json.dumps(
        {"protocol": "fake-camera", "traits": ["is-sensor"], "types": [ndarray], "messages": {"m": measured}}
    )
    protocol = Protocol.parse(text)
    assert protocol.properties == {"traits": ["is-sensor"]}
    assert protocol.messages["m"].properties == {"origin": "is-sensor"}
    assert protocol.types["ndarray"].logical is None
    assert protocol.types["ndarray"].properties == {"logicalType": "ndarray"}


def test_a_type_defined_in_a_message_is_known_behind_it() -> None:
    inner = {"type": "record", "name": "Inner", "fields": []}
    first = {"request": [{"name": "a", "type": inner}], "response": "Inner"}
    protocol = Protocol.parse(changed(messages={"m": first, "n": {"request": [], "response": "Inner"}}))
    assert protocol.messages["n"].response is protocol.types["com.acme.Inner"]


def test_a_protocol_is_loaded_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "greeter.avpr"
    path.write_text(json.dumps(GREETER))
    assert Protocol.load(path).source == str(path)
    path.write_text("{\n")
    with pytest.raises(SchemaError, match=r"greeter\.avpr: .* line 2 column 1"):
        Protocol.load(path)
    with pytest.raises(SchemaError, match=r"none\.avpr: the protocol file cannot be read: No such file"):
        Protocol.load(tmp_path / "none.avpr")


@pytest.mark.parametrize("path", sorted((ROOT / "protocols").glob("*.avpr")), ids=lambda path: path.stem)
def test_our_own_protocols_are_well_formed_and_named_as_their_files(path: Path) -> None:
    assert Protocol.load(path).name == path.stem


def parts(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all that a JSON value holds."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [path, *(deeper for key in keys for deeper in parts(value[key], (*path, key)))]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["int", "Greeting", "x", "", "record", "map"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "name", "fields", "items", "size", "symbols", "request", "default"]), inner
        )
    ),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(st.data())
def test_a_protocol_with_anything_in_it_is_parsed_or_refused(data: st.DataObject) -> None:
    source = json.loads(json.dumps(GREETER))
    for _ in range(data.draw(st.integers(1, 2))):
        *way, last = data.draw(st.sampled_from(parts(source)[1:]))
        holder = source
        for key in way:
            holder = holder[key]
        if data.draw(st.booleans()) and isinstance(holder, dict):
            del holder[last]
        else:
            holder[last] = data.draw(JSON)
    text = json.dumps(source)
    try:
        Protocol.parse(text)
    except SchemaError:
        with pytest.raises(SchemaError):
            lint(text)
    else:
        lint(text)


def test_hostile_texts_end_soon() -> None:
    names = [f"n{n}" for n in range(20_000)]
    texts = [
        json.dumps({"protocol": "P", "types": [{"type": "enum", "name": "E", "symbols": names}]}),
        json.dumps({"protocol": "P", "messages": {name: {"request": [], "response": "x"} for name in names}}),
        '{"protocol": "P", "types": ' + "[" * 200_000,
        '{"protocol": "P", "types": [' + '{"type": ' * 60 + '"int"' + "}" * 60 + "]}",
        json.dumps({"protocol": "P", "x": "y" * 300_000}),
    ]
    for text in texts[1:]:
        with pytest.raises(SchemaError):
            Protocol.parse(text, limits=Limits(protocol_bytes=300_000))
    assert len(Protocol.parse(texts[0], limits=Limits(protocol_bytes=300_000)).types["E"].symbols) == 20_000


def test_a_protocol_is_found_by_path_by_shipped_name_or_is_one(tmp_path: Path) -> None:
    shipped = find_protocol("SPLDataService")
    assert shipped.name == "SPLDataService"
    assert find_protocol(shipped) is shipped
    copy = tmp_path / "copy.avpr"
    copy.write_text(shipped.text)
    assert find_protocol(copy) == find_protocol(str(copy)) == shipped
    for wrong in ("Nothing", tmp_path / "none.avpr", "../protocols/SPLDataService"):
        with pytest.raises(SchemaError, match=r"none\.avpr|no protocol of that name is shipped"):
            find_protocol(wrong)
