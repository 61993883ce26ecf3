"""Large bytes are neither copied when they are encoded nor when they were received by themselves."""

import json
import sys
from typing import Any

import pytest

from splnode.avro.codec import decoder, encoder, engines
from splnode.avro.schema import Schema, parse_schema
from splnode.errors import DecodeError, EncodeError, LimitExceeded
from splnode.limits import Limits

LARGE = bytes(range(256)) * 200
OTHER = LARGE[::-1]


@pytest.fixture(params=engines())
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def schema_of(source: Any) -> Schema:
    return parse_schema(json.dumps(source))


def record(**fields: Any) -> Schema:
    return schema_of({"type": "record", "name": "R", "fields": [{"name": n, "type": t} for n, t in fields.items()]})


CASES: list[tuple[Schema, Any]] = [
    (schema_of("bytes"), LARGE),
    (schema_of("bytes"), b"short"),
    (schema_of("string"), "x" * 100_000),
    (schema_of(["null", "bytes"]), LARGE),
    (record(a="int", b="bytes"), {"a": 1, "b": LARGE}),
    (record(a="int", b="bytes", c="string"), {"a": 1, "b": LARGE, "c": "behind"}),
    (record(a="bytes", b="string", c="bytes"), {"a": LARGE, "b": "between" * 20_000, "c": OTHER}),
    (schema_of({"type": "array", "items": "bytes"}), [LARGE, b"", OTHER, b"x" * 40_000]),
    (schema_of({"type": "map", "values": ["null", "bytes"]}), {"a": LARGE, "b": None, "c": OTHER}),
    (record(a="bytes", b="bytes"), {"a": LARGE, "b": bytearray(LARGE)}),
    (record(a="bytes", b="bytes"), {"a": memoryview(LARGE), "b": memoryview(LARGE)[::-1]}),
]


def joined(parts: bytes | list[bytes]) -> bytes:
    return parts if isinstance(parts, bytes) else b"".join(parts)


@pytest.mark.parametrize(("schema", "value"), CASES)
def test_parts_are_the_encoding(engine: str, schema: Schema, value: Any) -> None:
    made = encoder(schema, engine=engine)
    for _ in range(8):  # by then the plain engine has made its code
        parts = made.encode_parts(value)
        assert joined(parts) == made.encode(value)
    assert type(parts) is bytes or (len(parts) > 1 and all(type(part) is bytes for part in parts))


def test_a_large_bytes_object_is_a_part_as_it_is() -> None:
    made = encoder(record(a="int", b="bytes", c="string"), engine="native" if "native" in engines() else None)
    parts = made.encode_parts({"a": 1, "b": LARGE, "c": "behind"})
    if "native" in engines():
        assert [type(parts), len(parts)] == [list, 3]
        assert parts[1] is LARGE
    short = made.encode_parts({"a": 1, "b": LARGE[:100], "c": "behind"})
    assert type(short) is bytes


@pytest.mark.parametrize("made", [bytearray, lambda data: memoryview(bytearray(data)), memoryview])
def test_what_may_change_is_copied(engine: str, made: Any) -> None:
    value = made(LARGE)
    parts = encoder(schema_of("bytes"), engine=engine).encode_parts(value)
    before = joined(parts)
    if not memoryview(value).readonly:
        value[0] ^= 0xFF
    assert joined(parts) == before


def test_parts_count_to_the_limit(engine: str) -> None:
    limits = Limits(message_bytes=2 * len(LARGE))
    schema = schema_of({"type": "array", "items": "bytes"})
    with pytest.raises(LimitExceeded):
        encoder(schema, limits=limits, engine=engine).encode_parts([LARGE, LARGE])
    with pytest.raises(LimitExceeded):
        encoder(schema_of("bytes"), limits=Limits(message_bytes=40_000), engine=engine).encode_parts(LARGE)


def test_a_fault_behind_a_large_value_keeps_nothing(engine: str) -> None:
    made = encoder(record(a="bytes", b="int"), engine=engine)
    value = bytes(100_000)
    before = sys.getrefcount(value)
    for _ in range(10):
        with pytest.raises(EncodeError, match=r"b: .*int"):
            made.encode_parts({"a": value, "b": "no"})
    assert sys.getrefcount(value) == before
    assert made.encode({"a": b"x", "b": 1}) == b"\x02x\x02"


# -- received by itself


def cut(schema: Schema, value: Any, engine: str, seen: int) -> tuple[bytes, tuple[int, int] | None]:
    data = encoder(schema).encode(value)
    return data, decoder(schema, engine=engine).locate(data[:seen], 0)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (schema_of("bytes"), LARGE),
        (schema_of("string"), "y" * 50_000),
        (record(a="int", b="bytes"), {"a": 1, "b": LARGE}),
        (record(a="string", b=["null", "bytes"], c="long"), {"a": "é", "b": LARGE, "c": -1}),
        (schema_of({"type": "array", "items": "bytes"}), [b"a", LARGE, b"b"]),
        (schema_of({"type": "map", "values": "bytes"}), {"a": b"1", "b": LARGE}),
    ],
)
def test_apart_is_the_same_value(engine: str, schema: Schema, value: Any) -> None:
    data, found = cut(schema, value, engine, 1000)
    if found is None:
        assert engine == "plain"
        found = (data.index(LARGE), len(LARGE)) if LARGE in data else (data.index(b"y"), 50_000)
    at, size = found
    part = data[at : at + size]
    rest = b"?" + data[:at] + data[at + size :] + b"behind"
    made = decoder(schema, engine=engine)
    assert made.decode_apart(rest[: -len(b"behind")], 1, at + 1, part) == (value, len(data) - size + 1)
    assert made.decode_apart(rest, 1, at + 1, part) == (value, len(data) - size + 1)


def test_the_part_is_the_value_itself(engine: str) -> None:
    made = decoder(record(a="int", b="bytes"), engine=engine)
    found = made.locate(b"\x02" + b"\x80\x89\x7a" + b"begins", 0)
    assert found == ((4, 1_000_000) if engine == "native" else None)  # zigzag of the varint 80 89 7a is 1,000,000
    part = bytes(1_000_000)
    value, end = made.decode_apart(b"\x02\x80\x89\x7a", 0, 4, part)
    assert end == 4
    assert (value["b"] is part) == (engine == "native")


@pytest.mark.parametrize("data", [b"", b"\x02", b"\x02\x80", b"\x02\x03", b"\x02\x06abc", b"\x80" * 20])
def test_nothing_to_locate(engine: str, data: bytes) -> None:
    assert decoder(record(a="int", b="bytes"), engine=engine).locate(data, 0) is None


def test_a_value_over_the_limit_is_not_located(engine: str) -> None:
    made = decoder(schema_of("bytes"), limits=Limits(message_bytes=1000), engine=engine)
    assert made.locate(encoder(schema_of("bytes")).encode(LARGE)[:50], 0) is None


def test_a_part_that_does_not_belong_there(engine: str) -> None:
    schema = record(a="int", b="bytes")
    data = encoder(schema).encode({"a": 1, "b": LARGE})
    at = len(data) - len(LARGE)
    made = decoder(schema, engine=engine)
    for place, part in ((at, LARGE[:-1]), (at, LARGE + b"x"), (at - 1, LARGE), (0, LARGE)):
        try:
            value, end = made.decode_apart(data[:at], 0, place, part)
        except DecodeError:
            continue
        # The plain engine reads what the joined bytes say, and leaves the judging of the end to its caller.
        assert engine == "plain"
        assert (value, end) != ({"a": 1, "b": part}, at)
    with pytest.raises(ValueError, match="no place"):
        made.decode_apart(data[:at] + b"123", 0, at, b"123")
    with pytest.raises(ValueError, match="no place"):
        made.decode_apart(data[:at], 0, at + 1, LARGE)


def test_promoted_and_dropped_parts(engine: str) -> None:
    data = encoder(schema_of("bytes")).encode(b"z" * 40_000)
    made = decoder(schema_of("bytes"), schema_of("string"), engine=engine)
    assert made.decode_apart(data[:3], 0, 3, data[3:]) == ("z" * 40_000, 3)
    with pytest.raises(DecodeError, match="UTF-8"):
        made.decode_apart(data[:3], 0, 3, b"\xff" * 40_000)
    writer, reader = record(a="bytes", b="int"), record(b="int")
    data = encoder(writer).encode({"a": LARGE, "b": 7})
    at = data.index(LARGE)
    rest = data[:at] + data[at + len(LARGE) :]
    assert decoder(writer, reader, engine=engine).decode_apart(rest, 0, at, LARGE) == ({"b": 7}, len(rest))
