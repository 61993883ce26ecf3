"""Conforming gives what decoding the encoded value would give, or its error; random pairs of schemas show it."""

import contextlib
import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from splnode.avro import codec
from splnode.avro.codec import plain, source_write, write
from splnode.avro.codec.binding import bind
from splnode.avro.codec.conform import Measure, compile_conform, size_of_long
from splnode.avro.codec.pairing import pair_up
from splnode.avro.codec.plan import ReadNode, WriteNode
from splnode.avro.codec.source import AFTER
from splnode.avro.resolution import read_plan, write_plan
from splnode.avro.schema import Schema, parse_schema
from splnode.errors import DataError, DecodeError, EncodeError, LimitExceeded, SchemaError
from splnode.limits import DEFAULT_LIMITS, Limits
from tests.avro.codec import arbitrary

ROUNDS = int(os.environ.get("SPLNODE_FUZZ", "20000")) // 20
NUMBERS = (0, 1, -1, 63, -64, 64, -65, 8191, 8192, 2**31 - 1, -(2**31), 2**62, 2**63 - 1, -(2**63))


def schema_of(source: Any) -> Schema:
    return parse_schema(json.dumps(source))


def record(*fields: tuple[Any, ...], name: str = "R") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [dict(zip(("name", "type", "default"), f)) for f in fields]}  # noqa: B905 - a default is not always there


def outcome(function: Callable[[Any], Any], value: Any) -> tuple[str, ...]:
    try:
        return ("value", repr(function(value)))
    except DataError as error:
        return (type(error).__name__, error.path, str(error))


def plans(rng: random.Random) -> Iterator[tuple[Schema, WriteNode, ReadNode]]:
    """A random schema with its plans: read as itself, as some others, and into Structs."""
    source = arbitrary.Schemas(rng).any()
    for reader in (source, arbitrary.evolved(rng, source), arbitrary.evolved(rng, source)):
        with contextlib.suppress(SchemaError):  # what is random need not fit, nor be a schema
            writer, other = schema_of(source), schema_of(reader)
            read = read_plan(writer, other)
            yield writer, write_plan(writer), read
            yield writer, write_plan(writer), bind(read, arbitrary.Structs(rng).type_of(other))


class Encoded:
    """What conforming stands for."""

    def __init__(self, writing: WriteNode, reading: ReadNode, limits: Limits) -> None:
        self._encoder = plain.Encoder(writing, limits)
        self._decoder = plain.Decoder(reading, limits)

    def conform(self, value: Any) -> Any:
        return self._decoder.decode(self._encoder.encode(value))[0]


def is_early(result: tuple[str, ...]) -> bool:
    """Whether the size was found too large while there was more to look at: an engine may check it when it likes."""
    return result[0] == "LimitExceeded" and "the encoded value is too long" in result[2]


def compare(rng: random.Random) -> int:
    """Some values through all ways there are. The number of values."""
    done = 0
    for writer, writing, reading in plans(rng):
        limits = Limits(
            message_bytes=rng.choice((9, 60, 2000)), depth=rng.choice((2, 5, 9)), nodes=rng.choice((5, 300))
        )
        encoded = Encoded(writing, reading, limits)
        conform = plain.Conformer(writing, reading, limits).conform
        others = [codec._engine(name).Conformer(writing, reading, limits).conform for name in codec.engines()]
        for _ in range(AFTER + 4):  # so that generated code has its turn
            value = arbitrary.value_of(rng, writer)
            expected = outcome(encoded.conform, value)
            assert outcome(conform, value) == expected, (value, limits)
            for other in others:
                other_outcome = outcome(other, value)
                assert other_outcome == expected or (
                    expected[0] in ("EncodeError", "LimitExceeded") and is_early(other_outcome)
                ), (value, limits)
            done += 1
    return done


def test_conforming_is_encoding_and_decoding() -> None:
    done, seed = 0, int(os.environ.get("SPLNODE_FUZZ_SEED", "0"))
    while done < ROUNDS:
        seed += 1
        try:
            done += compare(random.Random(seed))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


def test_nothing_is_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: Any) -> Any:
        raise AssertionError("an encoder or a decoder was called")

    writer = schema_of(record(("u", ["int", "string"]), ("n", {"type": "map", "values": "double"})))
    reader = schema_of(record(("u", ["int"]), ("n", {"type": "map", "values": "double"})))
    for face in ("encode", "_encode"):
        monkeypatch.setattr(plain.Encoder, face, forbidden)
    for module, name in ((plain, "compile_write"), (plain, "compile_read"), (plain, "quick_write"),
                         (plain, "quick_read"), (write, "write_long"), (source_write, "_varint")):  # fmt: skip
        monkeypatch.setattr(module, name, forbidden)
    monkeypatch.setattr(plain.Decoder, "decode", forbidden)
    conform = codec.conformer(writer, reader, engine="plain")
    for _ in range(AFTER + 2):
        assert conform({"u": 1, "n": {"é": 1}}) == {"u": 1, "n": {"é": 1.0}}
        with pytest.raises(DecodeError, match=r"^u: "):
            conform({"u": "x", "n": {}})
        with pytest.raises(EncodeError, match=r'^n."k".: float expected'):
            conform({"u": "x", "n": {"k": ""}})


@pytest.mark.parametrize("number", NUMBERS)
def test_the_size_of_a_varint(number: int) -> None:
    out = bytearray()
    write.write_long(number, out)
    assert size_of_long(number) == len(out)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("null", None),
        ("boolean", True),
        (["null", "int"], -(2**31)),
        ("float", 1),
        ("double", 1.5),
        ("bytes", bytearray(64)),
        ("string", "é" * 32),
        ({"type": "fixed", "name": "F", "size": 3}, memoryview(b"abc")),
        ({"type": "enum", "name": "E", "symbols": [f"S{i}" for i in range(70)]}, "S69"),
        ({"type": "array", "items": "long"}, [2**63 - 1] * 70),
        ({"type": "map", "values": "string"}, {"é": "日本", "": "x" * 8192}),
        (record(("a", {"type": "array", "items": "int"}), ("b", "long", 64)), {"a": []}),
    ],
)
def test_the_size_is_that_of_the_encoding(source: Any, value: Any) -> None:
    schema = schema_of(source)
    size = len(codec.encoder(schema).encode(value))
    left = Measure(DEFAULT_LIMITS)
    compile_conform(pair_up(write_plan(schema), read_plan(schema)))(value, left)
    assert left.size == size
    if size > 0:
        conform = plain.Conformer(write_plan(schema), read_plan(schema), Limits(message_bytes=max(size, 1))).conform
        for _ in range(AFTER + 2):
            conform(value)
    if size > 1:
        conform = plain.Conformer(write_plan(schema), read_plan(schema), Limits(message_bytes=size - 1)).conform
        for _ in range(AFTER + 2):
            with pytest.raises(LimitExceeded, match="message_bytes"):
                conform(value)


def test_subclasses_become_what_is_read() -> None:
    class Text(str):
        def encode(self, *args: Any) -> bytes:  # type: ignore[override]  # it is odd on purpose
            return b"other"

    class Number(int):
        def __int__(self) -> int:
            return 99

    schema = schema_of({"type": "map", "values": ["string", "int"]})
    for engine in codec.engines():
        made = codec.conformer(schema, engine=engine)({Text("k"): Text("v"), "n": Number(5)})
        assert made == {"k": "v", "n": 5}
        assert [type(each) for each in (*made, *made.values())] == [str, str, str, int]


def test_any_other_exception_passes_through_unless_the_value_cannot_be_written() -> None:
    def stop(raw: str) -> str:
        raise KeyError("mine")

    schema = schema_of(record(("a", "string"), ("b", "int")))
    read = read_plan(schema)
    read.steps[0][1].logical = stop
    conform = plain.Conformer(write_plan(schema), read, DEFAULT_LIMITS).conform
    with pytest.raises(KeyError, match="mine"):
        conform({"a": "", "b": 1})
    with pytest.raises(EncodeError, match=r"^b: int expected"):
        conform({"a": "", "b": ""})


@pytest.mark.parametrize("face", ["encode", "conform"])
@pytest.mark.parametrize(
    ("source", "change"),
    [
        ({"type": "array", "items": "string"}, lambda value: value.append("x")),
        ({"type": "array", "items": "string"}, list.clear),
        ({"type": "map", "values": "string"}, lambda value: value.update(new="x")),
    ],
)
def test_a_list_or_dict_that_changes_is_refused(source: Any, change: Callable[[Any], Any], face: str) -> None:
    schema = schema_of(source)
    value: Any = ["a", "b"] if source["type"] == "array" else {"a": "b", "c": "d"}
    plan = write_plan(schema)
    assert plan.items is not None
    plan.items.logical = lambda item: change(value) or item
    faces = {
        "encode": plain.Encoder(plan, DEFAULT_LIMITS).encode,
        "conform": plain.Conformer(plan, read_plan(schema), DEFAULT_LIMITS).conform,
    }
    with pytest.raises(EncodeError, match="changed"):
        faces[face](value)


def test_the_deepest_value_that_may_be_allowed() -> None:
    schema = schema_of(record(("next", ["null", "R"], None)))
    conform = codec.conformer(schema, limits=Limits(depth=512), engine="plain")
    value: Any = {}
    for _ in range(511):
        value = {"next": value}
    assert conform(value)["next"]["next"]
    with pytest.raises(LimitExceeded, match="depth = 512"):
        conform({"next": value})


def test_a_stack_that_is_nearly_full_is_a_limit() -> None:
    schema = schema_of(record(("next", ["null", "R"], None)))
    conform = codec.conformer(schema, limits=Limits(depth=512), engine="plain")
    value: Any = {}
    for _ in range(300):
        value = {"next": value}
    was, frame, used = sys.getrecursionlimit(), sys._getframe(), 0
    while frame is not None:
        frame, used = frame.f_back, used + 1  # type: ignore[assignment]  # the outermost has none
    sys.setrecursionlimit(used + 100)
    try:
        with pytest.raises(LimitExceeded) as caught:
            conform(value)
    finally:
        sys.setrecursionlimit(was)
    assert caught.value.limit == "depth"
