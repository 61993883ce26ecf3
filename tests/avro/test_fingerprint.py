"""splnode.avro.fingerprint: the vectors of the Avro project, avro and fastavro as oracles, hostile graphs."""

import json
import random
from typing import Any, ClassVar

import avro.schema
import fastavro.schema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splnode.avro import fingerprint
from splnode.avro.builder import SchemaBuilder
from splnode.avro.protocol import Protocol
from splnode.avro.schema import Schema, parse_schema
from splnode.errors import SchemaError
from tests.avro.codec.arbitrary import Schemas

# (schema, canonical form, CRC-64-AVRO as a signed long), from share/test/data/schema-tests.txt of Apache Avro
VECTORS: list[tuple[str, str, int]] = [
    ('"null"', '"null"', 7195948357588979594),
    ('{"type":"null"}', '"null"', 7195948357588979594),
    ('"boolean"', '"boolean"', -6970731678124411036),
    ('"int"', '"int"', 8247732601305521295),
    ('"long"', '"long"', -3434872931120570953),
    ('"float"', '"float"', 5583340709985441680),
    ('"double"', '"double"', -8181574048448539266),
    ('"bytes"', '"bytes"', 5746618253357095269),
    ('{"type":"string"}', '"string"', -8142146995180207161),
    ("[  ]", "[]", -1241056759729112623),
    ('[ "int"  ]', '["int"]', -5232228896498058493),
    ('[ "int" , {"type":"boolean"} ]', '["int","boolean"]', 5392556393470105090),
    (
        '{"fields":[], "type":"record", "name":"foo"}',
        '{"name":"foo","type":"record","fields":[]}',
        -4824392279771201922,
    ),
    (
        '{"fields":[], "type":"record", "name":"foo", "namespace":"x.y"}',
        '{"name":"x.y.foo","type":"record","fields":[]}',
        5916914534497305771,
    ),
    (
        '{"fields":[], "type":"record", "name":"a.b.foo", "namespace":"x.y"}',
        '{"name":"a.b.foo","type":"record","fields":[]}',
        -4616218487480524110,
    ),
    (
        '{"fields":[], "type":"record", "name":"foo", "doc":"foo", "aliases":["foo","bar"]}',
        '{"name":"foo","type":"record","fields":[]}',
        -4824392279771201922,
    ),
    (
        '{"fields":[{"type":{"type":"boolean"}, "name":"f1"}], "type":"record", "name":"foo"}',
        '{"name":"foo","type":"record","fields":[{"name":"f1","type":"boolean"}]}',
        7843277075252814651,
    ),
    (
        '{"fields":[{"type":"boolean", "aliases":[], "name":"f1", "default":true},'
        '{"order":"descending","name":"f2","doc":"Hello","type":"int"}], "type":"record", "name":"foo"}',
        '{"name":"foo","type":"record","fields":[{"name":"f1","type":"boolean"},{"name":"f2","type":"int"}]}',
        -4860222112080293046,
    ),
    (
        '{"type":"enum", "name":"foo", "symbols":["A1"]}',
        '{"name":"foo","type":"enum","symbols":["A1"]}',
        -6342190197741309591,
    ),
    (
        '{"namespace":"x.y.z", "type":"enum", "name":"foo", "doc":"foo bar", "symbols":["A1", "A2"]}',
        '{"name":"x.y.z.foo","type":"enum","symbols":["A1","A2"]}',
        -4448647247586288245,
    ),
    (
        '{"name":"foo","type":"fixed","size":15}',
        '{"name":"foo","type":"fixed","size":15}',
        1756455273707447556,
    ),
    (
        '{"namespace":"x.y.z", "type":"fixed", "name":"foo", "doc":"foo bar", "size":32}',
        '{"name":"x.y.z.foo","type":"fixed","size":32}',
        -3064184465700546786,
    ),
    ('{ "items":{"type":"null"}, "type":"array"}', '{"type":"array","items":"null"}', -589620603366471059),
    ('{ "values":"string", "type":"map"}', '{"type":"map","values":"string"}', -8732877298790414990),
    (
        '{"name":"PigValue","type":"record","fields":[{"name":"value", "type":["null", "int", "long", "PigValue"]}]}',
        '{"name":"PigValue","type":"record","fields":[{"name":"value","type":["null","int","long","PigValue"]}]}',
        -1759257747318642341,
    ),
]


def schema_of(source: Any) -> Schema:
    return SchemaBuilder().build(source)


def protocol_of(messages: dict[str, Any], types: list[Any] | None = None, name: str = "p.P") -> Protocol:
    return Protocol.parse(json.dumps({"protocol": name, "types": types or [], "messages": messages}))


@pytest.mark.parametrize(("text", "canonical", "crc"), VECTORS)
def test_the_vectors_of_the_avro_project(text: str, canonical: str, crc: int) -> None:
    schema = schema_of(json.loads(text))
    assert fingerprint.canonical_form(schema) == canonical
    assert fingerprint.crc64_avro(schema) == crc % 2**64


def test_crc64_of_nothing() -> None:
    assert fingerprint.crc64(b"") == 0xC15D213AA4D7A795


@pytest.mark.parametrize("source", ["int", {"type": "array", "items": "string"}])
def test_digests_are_those_of_fastavro_and_avro(source: Any) -> None:
    schema, form = schema_of(source), fastavro.schema.to_parsing_canonical_form(source)
    assert fingerprint.md5(schema).hex() == fastavro.schema.fingerprint(form, "MD5")
    assert fingerprint.sha256(schema).hex() == fastavro.schema.fingerprint(form, "SHA-256")
    assert fingerprint.crc64_avro(schema).to_bytes(8, "little") == avro.schema.parse(json.dumps(source)).fingerprint()


def schemas() -> st.SearchStrategy[Any]:
    """JSON of schemas; names may occur again, then as references."""
    space = st.sampled_from(["", "a", "a.b"])
    primitive = st.sampled_from(["null", "boolean", "int", "long", "float", "double", "bytes", "string"])
    names = st.sampled_from("ABCDEF")
    leaf = (
        primitive
        | primitive.map(lambda kind: {"type": kind, "doc": "x"})
        | st.builds(lambda n, s: {"type": "enum", "name": n, "namespace": s, "symbols": ["X", "Y"]}, names, space)
        | st.builds(lambda n, s: {"type": "fixed", "name": n, "namespace": s, "size": 4}, names, space)
    )

    def inner(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return (
            children.map(lambda c: {"type": "array", "items": c})
            | children.map(lambda c: {"type": "map", "values": c})
            | st.builds(
                lambda n, s, f: {
                    "type": "record",
                    "name": n,
                    "namespace": s,
                    "fields": [{"name": f"f{i}", "type": c, "doc": "d"} for i, c in enumerate(f)],
                },
                names,
                space,
                st.lists(children, max_size=4),
            )
        )

    return st.recursive(leaf, inner, max_leaves=12)


def named_once(source: Any, space: str = "", seen: set[str] | None = None) -> Any:
    """The same with each name defined where it comes first and referred to afterwards."""
    seen = set() if seen is None else seen
    if not isinstance(source, dict):
        return source
    if "name" in source:
        own = source["namespace"] or space
        full = f"{own}.{source['name']}".lstrip(".")
        if full in seen:
            return full
        seen.add(full)
        named = {**source, "name": full}
        del named["namespace"]
        if "fields" in source:
            named["fields"] = [{**f, "type": named_once(f["type"], own, seen)} for f in source["fields"]]
        return named
    return {k: named_once(v, space, seen) if k in ("items", "values") else v for k, v in source.items()}


@given(schemas())
def test_canonical_form_is_that_of_avro_and_fastavro(source: Any) -> None:
    source = named_once(source)
    ours = fingerprint.canonical_form(schema_of(source))
    assert ours == fastavro.schema.to_parsing_canonical_form(source)
    assert fingerprint.canonical_form(schema_of(json.loads(ours))) == ours


@pytest.mark.parametrize("seed", range(100))
def test_both_forms_are_schemas_of_their_own(seed: int) -> None:
    """The resolution form is sent where a schema is asked for, so it must read as the same schema."""
    try:
        schema = parse_schema(json.dumps(Schemas(random.Random(seed)).any()))
    except SchemaError:
        return  # one in a few is not to be parsed, on purpose
    for form in (fingerprint.canonical_form, fingerprint.resolution_form):
        assert form(parse_schema(form(schema))) == form(schema)


class TestResolution:
    BASE: ClassVar[Any] = {
        "type": "record",
        "name": "R",
        "fields": [
            {"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["A", "B"]}},
            {"name": "b", "type": "bytes"},
        ],
    }

    def changed(self, **changes: Any) -> Schema:
        source = json.loads(json.dumps(self.BASE))
        for place, change in changes.items():
            target = {"record": source, "enum": source["fields"][0]["type"], "field": source["fields"][1]}[place]
            target.update(change)
        return schema_of(source)

    @pytest.mark.parametrize(
        "changes",
        [
            {"record": {"aliases": ["Q"]}},
            {"enum": {"aliases": ["Q"]}},
            {"enum": {"default": "A"}},
            {"field": {"aliases": ["c"]}},
            {"field": {"default": ""}},
            {"field": {"type": {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}}},
        ],
        ids=str,
    )
    def test_sees_what_the_canonical_form_leaves_out(self, changes: Any) -> None:
        base, other = self.changed(), self.changed(**changes)
        assert fingerprint.canonical_form(base) == fingerprint.canonical_form(other)
        assert fingerprint.wire_fingerprint(base) == fingerprint.wire_fingerprint(other)
        assert fingerprint.resolution_fingerprint(base) != fingerprint.resolution_fingerprint(other)

    def test_ignores_what_resolution_ignores(self) -> None:
        same = self.changed(record={"doc": "x", "mine": 1}, field={"doc": "y", "order": "ignore"})
        assert fingerprint.resolution_fingerprint(self.changed()) == fingerprint.resolution_fingerprint(same)
        one, two = self.changed(record={"aliases": ["P", "Q"]}), self.changed(record={"aliases": ["Q", "P"]})
        assert fingerprint.resolution_form(one) == fingerprint.resolution_form(two)

    def test_scale_and_none_as_a_default(self) -> None:
        forms = {
            fingerprint.resolution_form(self.changed(field={"type": "bytes" if s is None else self.decimal(s)}))
            for s in (None, 0, 1)
        }
        assert len(forms) == 3
        nullable = {"type": ["null", "int"]}
        assert fingerprint.resolution_form(self.changed(field=nullable)) != fingerprint.resolution_form(
            self.changed(field={**nullable, "default": None})
        )

    @staticmethod
    def decimal(scale: int) -> Any:
        return {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": scale}

    def test_a_default_that_is_no_unicode(self) -> None:
        schema = schema_of(
            {"type": "record", "name": "R", "fields": [{"name": "s", "type": "string", "default": "\ud800"}]}
        )
        assert len(fingerprint.resolution_fingerprint(schema)) == 16


class TestProtocol:
    ADD: ClassVar[Any] = {"request": [{"name": "a", "type": "int"}], "response": "int"}
    RECORD: ClassVar[Any] = {"type": "record", "name": "R", "fields": [{"name": "x", "type": "int"}]}

    def prints(self, message: Any, types: list[Any] | None = None) -> tuple[bytes, bytes]:
        protocol = protocol_of({"m": message}, types)
        return fingerprint.wire_fingerprint(protocol), fingerprint.resolution_fingerprint(protocol)

    def test_a_golden_pair(self) -> None:
        """Nodes of different versions compare these: they must never change by accident."""
        wire, resolution = self.prints(self.ADD)
        message = '{"request":[{"name":"a","type":"int"}],"response":"int","errors":["string"]}'
        text = f'{{"protocol":"p.P","messages":{{"m":{message}}}}}'
        assert wire == resolution == fingerprint._digest(text)

    @pytest.mark.parametrize(
        "change",
        [
            {"request": [{"name": "b", "type": "int"}]},
            {"request": [{"name": "a", "type": "long"}]},
            {"response": "long"},
            {"response": "null", "one-way": True},
            {"errors": ["E"]},
        ],
        ids=str,
    )
    def test_what_changes_the_bytes_changes_both(self, change: Any) -> None:
        types = [{"type": "error", "name": "E", "fields": []}]
        base, other = self.prints(self.ADD, types), self.prints({**self.ADD, **change}, types)
        assert base[0] != other[0]
        assert base[1] != other[1]

    def test_one_way_counts(self) -> None:
        quiet = {"request": [], "response": "null"}
        assert self.prints(quiet)[0] != self.prints({**quiet, "one-way": True})[0]

    def test_a_default_changes_the_resolution_alone(self) -> None:
        base = self.prints(self.ADD)
        other = self.prints({**self.ADD, "request": [{"name": "a", "type": "int", "default": 1}]})
        assert base[0] == other[0]
        assert base[1] != other[1]

    def test_order_docs_and_unused_types_do_not_count(self) -> None:
        one = protocol_of({"a": self.ADD, "b": {**self.ADD, "doc": "x"}}, [self.RECORD])
        two = protocol_of({"b": self.ADD, "a": self.ADD})
        assert fingerprint.wire_fingerprint(one) == fingerprint.wire_fingerprint(two)
        assert fingerprint.resolution_fingerprint(one) == fingerprint.resolution_fingerprint(two)

    def test_the_name_counts(self) -> None:
        one, two = protocol_of({"a": self.ADD}), protocol_of({"a": self.ADD}, name="p.Q")
        assert fingerprint.wire_fingerprint(one) != fingerprint.wire_fingerprint(two)


class TestHostile:
    def test_a_chain_of_names_may_be_long(self) -> None:
        builder = SchemaBuilder()
        last = "int"
        for i in range(20_000):
            builder.build({"type": "record", "name": f"R{i}", "fields": [{"name": "f", "type": last}]})
            last = f"R{i}"
        form = fingerprint.canonical_form(builder.names[last])
        assert form.count('"type":"record"') == 20_000
        assert fingerprint.resolution_form(builder.names[last]) == form

    def test_names_that_double_stay_linear(self) -> None:
        builder = SchemaBuilder()
        last = "int"
        for i in range(60):
            fields = [{"name": "a", "type": last}, {"name": "b", "type": last}]
            builder.build({"type": "record", "name": f"R{i}", "fields": fields})
            last = f"R{i}"
        assert len(fingerprint.canonical_form(builder.names[last])) < 60 * 100
