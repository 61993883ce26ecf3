"""The oracle: what `avro` and `fastavro` make of thousands of generated schemas and values.

Equal bytes, equal values, and equal refusals where the specification is clear. Where the three differ and the
specification is not clear, the generator keeps away, and says so.

SPLNODE_ORACLE is the number of examples of each test (800 where it is not set); they are the same in each run.
"""

import copy
import datetime
import decimal
import io
import json
import math
import os
import uuid
import warnings
from typing import Any

import avro.errors
import avro.io
import avro.name
import avro.schema
import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splnode.avro import codec
from splnode.avro.codec import plain
from splnode.avro.schema import parse_schema
from splnode.errors import DataError, DecodeError, EncodeError, SchemaError

EXAMPLES = int(os.environ.get("SPLNODE_ORACLE", "800"))
ENGINES = codec.engines()
UTC = datetime.UTC

oracle = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


@pytest.fixture(autouse=True, scope="module")
def _generated_code_at_once() -> Any:
    """So that both ways through the plain engine are used: the code first, the functions where it gives up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "AFTER", 1)
        yield


# --- schemas

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
LOGICAL = (
    {"type": "int", "logicalType": "date"},
    {"type": "int", "logicalType": "time-millis"},
    {"type": "long", "logicalType": "time-micros"},
    {"type": "long", "logicalType": "timestamp-millis"},
    {"type": "long", "logicalType": "timestamp-micros"},
    {"type": "string", "logicalType": "uuid"},
    {"type": "bytes", "logicalType": "decimal", "precision": 8, "scale": 3},
)
# Types whose Python values look alike: a union takes one of each set, since the three choose differently
ALIKE = (
    {"null"},
    {"boolean", "int", "long", "float", "double"},
    {"bytes", "fixed", "array"},
    {"string", "enum"},
    {"map", "record"},
)


class Names:
    """Fresh names for one schema, and the records that enclose the place."""

    def __init__(self) -> None:
        self.count = 0
        self.open: list[str] = []

    def fresh(self) -> str:
        self.count += 1
        return f"ns{self.count % 2}.T{self.count}"


@st.composite
def schemas(draw: Any, names: Names | None = None, depth: int = 3, in_union: bool = False) -> Any:
    names = names or Names()
    kinds = ["primitive"] * 3 + ["logical", "enum", "fixed", "decimal fixed"]
    if depth > 0:
        kinds += ["record"] * 3 + ["array", "map"] + ([] if in_union else ["union"] * 2)
    kind = draw(st.sampled_from(kinds))
    if kind == "primitive":
        return draw(st.sampled_from(PRIMITIVES))
    if kind == "logical":
        return dict(draw(st.sampled_from(LOGICAL)))
    if kind == "enum":
        symbols = draw(st.lists(st.sampled_from("ABCDEFGH"), min_size=1, max_size=5, unique=True))
        return {"type": "enum", "name": names.fresh(), "symbols": symbols}
    if kind == "fixed":
        return {"type": "fixed", "name": names.fresh(), "size": draw(st.integers(0, 5))}
    if kind == "decimal fixed":
        made = {"type": "fixed", "name": names.fresh(), "size": 5}
        return {**made, "logicalType": "decimal", "precision": 9, "scale": 2}
    if kind == "array":
        return {"type": "array", "items": draw(schemas(names, depth - 1))}
    if kind == "map":
        return {"type": "map", "values": draw(schemas(names, depth - 1))}
    if kind == "union":
        return draw(unions(names, depth))
    return draw(records(names, depth))


@st.composite
def unions(draw: Any, names: Names, depth: int) -> Any:
    branches, taken = [], set()
    for _ in range(draw(st.integers(1, 4))):
        branch = draw(schemas(names, depth - 1, in_union=True))
        alike = next(place for place, each in enumerate(ALIKE) if kind_of(branch) in each)
        if alike not in taken and not (isinstance(branch, dict) and "logicalType" in branch):
            taken.add(alike)
            branches.append(branch)
    return branches or ["null"]


@st.composite
def records(draw: Any, names: Names, depth: int) -> Any:
    name = names.fresh()
    names.open.append(name)
    fields = []
    for place in range(draw(st.integers(0, 4))):
        if draw(st.integers(0, 5)) == 0:
            kind: Any = ["null", draw(st.sampled_from(names.open))]
        else:
            kind = draw(schemas(names, depth - 1))
        fields.append({"name": f"f{place}", "type": kind})
    names.open.pop()
    return {"type": "record", "name": name, "fields": fields}


def kind_of(schema: Any) -> str:
    if isinstance(schema, list):
        return "union"
    return schema if isinstance(schema, str) else schema["type"]


# --- values

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS: dict[str, Any] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1) | st.integers(-70, 70),
    "long": st.integers(-(2**63), 2**63 - 1) | st.integers(-70, 70),
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "bytes": st.binary(max_size=70),
    "string": TEXT | st.text("ab", min_size=60, max_size=70),
    "date": st.dates(),
    "time-millis": st.times().map(lambda value: value.replace(microsecond=value.microsecond // 1000 * 1000)),
    "time-micros": st.times(),
    "timestamp-millis": st.datetimes(timezones=st.just(UTC)).map(
        lambda value: value.replace(microsecond=value.microsecond // 1000 * 1000)
    ),
    "timestamp-micros": st.datetimes(timezones=st.just(UTC)),
    "uuid": st.uuids(),
}


def defined(schema: Any, known: dict[str, Any]) -> dict[str, Any]:
    """All named types of a schema by name."""
    if isinstance(schema, list):
        for branch in schema:
            defined(branch, known)
    elif isinstance(schema, dict):
        if "name" in schema:
            known[schema["name"]] = schema
        for part in [schema.get("items"), schema.get("values"), *(each["type"] for each in schema.get("fields", ()))]:
            defined(part, known)
    return known


@st.composite
def values(draw: Any, schema: Any, known: dict[str, Any], depth: int = 6) -> Any:
    if isinstance(schema, list):
        # near the end of the depth the branch that ends soonest
        branch = draw(st.sampled_from(schema)) if depth > 0 else schema[0]
        return draw(values(branch, known, depth - 1))
    if isinstance(schema, str) and schema in known:
        schema = known[schema]
    kind = kind_of(schema)
    logical = schema.get("logicalType") if isinstance(schema, dict) else None
    if logical == "decimal":
        precision, scale = schema["precision"], schema["scale"]
        unscaled = draw(st.integers(-(10**precision) + 1, 10**precision - 1))
        return decimal.Decimal(unscaled).scaleb(-scale)
    if logical or kind in SCALARS:
        return draw(SCALARS[logical or kind])
    if kind == "enum":
        return draw(st.sampled_from(schema["symbols"]))
    if kind == "fixed":
        return draw(st.binary(min_size=schema["size"], max_size=schema["size"]))
    if kind == "array":
        return draw(st.lists(values(schema["items"], known, depth - 2), max_size=3 if depth > 0 else 0))
    if kind == "map":
        return draw(st.dictionaries(TEXT, values(schema["values"], known, depth - 2), max_size=3 if depth > 0 else 0))
    return {field["name"]: draw(values(field["type"], known, depth - 1)) for field in schema["fields"]}


@st.composite
def data(draw: Any) -> tuple[Any, Any]:
    """A schema and a value of it."""
    schema = draw(schemas())
    return schema, draw(values(schema, defined(schema, {})))


# --- the other two

FASTAVRO_ERRORS = (ValueError, TypeError, KeyError, EOFError, IndexError, OverflowError, AttributeError)


def avro_schema(source: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return avro.schema.make_avsc_object(copy.deepcopy(source), avro.name.Names())


def fast_schema(source: Any) -> Any:
    return fastavro.parse_schema(copy.deepcopy(source), named_schemas={})


def avro_bytes(source: Any, value: Any) -> bytes:
    out = io.BytesIO()
    avro.io.DatumWriter(avro_schema(source)).write(uuids_as_text(value), avro.io.BinaryEncoder(out))
    return out.getvalue()


def fast_bytes(source: Any, value: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fast_schema(source), value)
    return out.getvalue()


def uuids_as_text(value: Any) -> Any:
    """The value as avro takes it."""
    if isinstance(value, dict):
        return {key: uuids_as_text(each) for key, each in value.items()}
    if isinstance(value, list):
        return [uuids_as_text(each) for each in value]
    return str(value) if isinstance(value, uuid.UUID) else value


def avro_value(source: Any, encoded: bytes, reader: Any = None) -> tuple[Any, int]:
    given = io.BytesIO(encoded)
    wanted = avro_schema(reader) if reader is not None else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = avro.io.DatumReader(avro_schema(source), wanted).read(avro.io.BinaryDecoder(given))
    return value, given.tell()


def fast_value(source: Any, encoded: bytes, reader: Any = None) -> tuple[Any, int]:
    given = io.BytesIO(encoded)
    wanted = fast_schema(reader) if reader is not None else None
    return fastavro.schemaless_reader(given, fast_schema(source), wanted), given.tell()


def same(left: Any, right: Any) -> bool:
    """Equal, and of the same classes all the way down; avro gives a UUID as text."""
    if isinstance(left, uuid.UUID) and isinstance(right, str):
        return str(left) == right
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float):
        return left == right or (math.isnan(left) and math.isnan(right))
    return bool(left == right)


def has(source: Any, *logical: str) -> bool:
    text = json.dumps(source)
    return any(f'"{each}"' in text for each in logical)


# --- the tests


@oracle
@given(data())
def test_equal_bytes_and_equal_values(case: tuple[Any, Any]) -> None:
    source, value = case
    schema = parse_schema(json.dumps(source))
    expected = fast_bytes(source, value)
    assert avro_bytes(source, value) == expected
    for engine in ENGINES:
        encoder, decoder = codec.encoder(schema, engine=engine), codec.decoder(schema, engine=engine)
        conform = codec.conformer(schema, engine=engine)
        for _ in range(2):
            assert encoder.encode(value) == expected
            read, end = decoder.decode(b"?" + expected, 1)
            assert end == 1 + len(expected)
            assert same(read, value)
            assert same(conform(value), value)
    fast, end = fast_value(source, expected)
    assert same(read, fast)
    assert end == len(expected)
    slow, end = avro_value(source, expected)
    assert same(read, slow)
    assert end == len(expected)


@oracle
@given(data(), st.data())
def test_what_we_read_of_broken_bytes_the_others_read_too(case: tuple[Any, Any], more: Any) -> None:
    """We refuse more than they do (bad UTF-8, booleans of 2, ...); but what we take must be what they take."""
    source, value = case
    schema = parse_schema(json.dumps(source))
    encoded = bytearray(codec.encoder(schema).encode(value))
    for _ in range(more.draw(st.integers(1, 3))):
        if encoded:
            encoded[more.draw(st.integers(0, len(encoded) - 1))] = more.draw(st.integers(0, 255))
    broken = bytes(encoded[: more.draw(st.integers(0, len(encoded)))]) if more.draw(st.booleans()) else bytes(encoded)
    results = []
    for engine in ENGINES:
        decoder = codec.decoder(schema, engine=engine)
        for _ in range(2):
            try:
                results.append(decoder.decode(broken))
            except DataError as error:
                results.append((type(error), error.path))
    first = results[0]
    for other in results[1:]:
        assert same(list(first), list(other)), (first, other)
    if isinstance(first[0], type):
        return
    # avro cannot read what it calls out of range in a decimal; both are asked where they can answer
    assert same(list(first), list(fast_value(source, broken)))


@oracle
@given(data(), st.data())
def test_truncated_data_are_refused_by_all(case: tuple[Any, Any], more: Any) -> None:
    source, value = case
    schema = parse_schema(json.dumps(source))
    encoded = codec.encoder(schema).encode(value)
    if not encoded:
        return
    short = encoded[: more.draw(st.integers(0, len(encoded) - 1))]
    for engine in ENGINES:
        with pytest.raises(DecodeError):
            codec.decoder(schema, engine=engine).decode(short)
    with pytest.raises(FASTAVRO_ERRORS):
        fast_value(source, short)
    with pytest.raises((avro.errors.AvroException, *FASTAVRO_ERRORS)):
        avro_value(source, short)


WRONG = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXT, st.binary(max_size=5), st.just([]),
    st.just({}), st.dates(), st.just({"f0": None}), st.just([None]), st.just({"f0": 1, "zzz": 2}), st.just(object()),
)  # fmt: skip


@oracle
@given(schemas(), WRONG)
def test_a_value_that_both_refuse_we_refuse(source: Any, value: Any) -> None:
    schema = parse_schema(json.dumps(source))
    outcomes = []
    for engine in ENGINES:
        encoder = codec.encoder(schema, engine=engine)
        for _ in range(2):
            try:
                outcomes.append(encoder.encode(value))
            except EncodeError as error:
                outcomes.append(error.path)
    assert all(each == outcomes[0] and type(each) is type(outcomes[0]) for each in outcomes), outcomes
    if isinstance(outcomes[0], bytes) and not has(source, "uuid", "decimal"):
        # a value of the raw type is taken for a logical one by us alone
        if any(each in json.dumps(source) for each in ("date", "time-", "timestamp-")):
            return
        assert fast_bytes(source, value) == outcomes[0]
        assert avro_bytes(source, value) == outcomes[0]


# --- resolution


@st.composite
def evolved(draw: Any, schema: Any, fresh: list[int]) -> Any:
    """A reader's schema for what `schema` wrote: promoted, reordered, with more and fewer fields, in unions."""
    if isinstance(schema, list):
        return [draw(evolved(branch, fresh)) for branch in schema]
    if isinstance(schema, str):
        wider = {"int": ["long", "float", "double"], "long": ["double"], "float": ["double"], "bytes": ["string"],
                 "string": ["bytes"]}  # fmt: skip
        return draw(st.sampled_from([schema, *wider.get(schema, [])]))
    schema = dict(schema)
    if schema["type"] == "enum" and draw(st.booleans()):
        kept = draw(st.permutations(schema["symbols"]))[: draw(st.integers(1, len(schema["symbols"])))]
        schema.update(symbols=list(kept), default=kept[0])
    elif schema["type"] in ("array", "map"):
        key = "items" if schema["type"] == "array" else "values"
        schema[key] = draw(evolved(schema[key], fresh))
    elif schema["type"] == "record":
        schema["fields"] = draw(evolved_fields(schema["fields"], fresh))
    return schema


@st.composite
def evolved_fields(draw: Any, fields: list[Any], fresh: list[int]) -> Any:
    made = [{**field, "type": draw(evolved(field["type"], fresh))} for field in fields]
    # A field that defines a type must stay before those that refer to it: only the end is dropped or moved
    if made and not has(made[-1], "name") and draw(st.booleans()):
        last = made.pop()
        if draw(st.booleans()):
            made.insert(0, last)
    if draw(st.booleans()):
        fresh[0] += 1
        kind, default = draw(st.sampled_from(DEFAULTS))
        made.append({"name": f"new{fresh[0]}", "type": copy.deepcopy(kind), "default": default})
    return made


DEFAULTS: list[tuple[Any, Any]] = [
    ("int", 7),
    ("string", "é"),
    (["null", "int"], None),
    ({"type": "array", "items": "string"}, ["x"]),
    ({"type": "map", "values": "int"}, {}),
    ("boolean", False),
]


@oracle
@given(data(), st.data())
def test_equal_values_for_another_reader(case: tuple[Any, Any], more: Any) -> None:
    # avro is not asked: it leaves promoted numbers as they were, and does not know bytes as string
    source, value = case
    reader = more.draw(evolved(source, [0]))
    if isinstance(reader, list) and len({str(kind_of(branch)) for branch in reader}) < len(reader):
        return  # a promotion made two branches of one type
    try:
        wanted = parse_schema(json.dumps(reader))
    except SchemaError:
        return  # the same, deeper
    if takes_the_first(reader):
        return
    schema = parse_schema(json.dumps(source))
    encoded = codec.encoder(schema).encode(value)
    results = []
    for engine in ENGINES:
        decoder = codec.decoder(schema, wanted, engine=engine)
        conform = codec.conformer(schema, wanted, engine=engine)
        for _ in range(2):
            try:
                results.append(decoder.decode(encoded))
            except DecodeError as error:
                results.append(error.path)  # type: ignore[arg-type]  # a result is a value or a path
                with pytest.raises(DecodeError):
                    conform(value)
            else:
                assert same(conform(value), results[-1][0])
    assert all(same([each], [results[0]]) for each in results[1:]), results
    if isinstance(results[0], str):
        with pytest.raises((UnicodeDecodeError, *FASTAVRO_ERRORS)):
            fast_value(source, encoded, reader)
    else:
        fast, end = fast_value(source, encoded, reader)
        assert same(results[0][0], fast), (results[0][0], fast)
        assert end == results[0][1]


def takes_the_first(schema: Any) -> bool:
    """True where a union has a type behind one that it promotes to.

    fastavro takes the first, which makes `["string", "bytes"]` read its own bytes as strings; we, as Java, do not.
    """
    if isinstance(schema, list):
        text = [kind_of(branch) for branch in schema]
        if {"string", "bytes"} <= set(text):
            return True
        numbers = [
            ["int", "long", "float", "double"].index(each) for each in text if each in SCALARS and each[0] in "ilfd"
        ]
        return any(map(takes_the_first, schema)) or numbers != sorted(numbers)
    if isinstance(schema, dict):
        parts = [schema.get("items"), schema.get("values"), *(each["type"] for each in schema.get("fields", ()))]
        return any(map(takes_the_first, parts))
    return False


MATRIX = [*PRIMITIVES, {"type": "fixed", "name": "F", "size": 2}, {"type": "enum", "name": "E", "symbols": ["A"]},
          {"type": "array", "items": "int"}, {"type": "map", "values": "int"},
          {"type": "record", "name": "R", "fields": []}]  # fmt: skip
SAMPLES = {"null": None, "boolean": True, "int": 1, "long": 2, "float": 1.5, "double": 2.5, "bytes": b"ab",
           "string": "ab", "fixed": b"ab", "enum": "A", "array": [1], "map": {"a": 1}, "record": {}}  # fmt: skip


@pytest.mark.parametrize("writer", MATRIX, ids=kind_of)
@pytest.mark.parametrize("reader", MATRIX, ids=kind_of)
def test_the_same_pairs_of_types_match(writer: Any, reader: Any) -> None:
    encoded = fast_bytes(writer, SAMPLES[kind_of(writer)])
    try:
        ours: Any = codec.decoder(parse_schema(json.dumps(writer)), parse_schema(json.dumps(reader))).decode(encoded)[0]
    except SchemaError:
        ours = SchemaError
    try:
        theirs: Any = fast_value(writer, encoded, reader)[0]
    except fastavro._read_common.SchemaResolutionError:
        theirs = SchemaError
    assert same([ours], [theirs]), (ours, theirs)
