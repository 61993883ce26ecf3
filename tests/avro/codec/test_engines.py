"""What every engine must do: the same values, the same bytes, and the same class of error at the same place."""

import datetime
import decimal
import enum
import json
import math
import struct
import uuid
from typing import Any

import msgspec
import pytest

from splnode.avro import codec
from splnode.avro.codec import Branch, plain
from splnode.avro.logical_values import Duration
from splnode.avro.protocol import Protocol
from splnode.avro.schema import Schema, parse_schema
from splnode.errors import DataError, DecodeError, EncodeError, LimitExceeded
from splnode.limits import Limits

UTC = datetime.UTC


@pytest.fixture(params=[*codec.engines(), "plain with generated code"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name, _, generated = str(request.param).partition(" ")
    monkeypatch.setattr(plain, "AFTER", 0 if generated else 1_000_000)
    return name


def schema_of(source: Any) -> Schema:
    return parse_schema(json.dumps(source))


def record(name: str, *fields: Any, **more: Any) -> dict[str, Any]:
    """A record; a field is (name, type) or (name, type, default)."""
    made = [{"name": each[0], "type": each[1], **({"default": each[2]} if len(each) > 2 else {})} for each in fields]
    return {"type": "record", "name": name, "fields": made, **more}


def fixed(name: str, size: int, **more: Any) -> dict[str, Any]:
    return {"type": "fixed", "name": name, "size": size, **more}


def colours(*symbols: str, **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "Colour", "symbols": list(symbols), **more}


LIST = record("List", ("value", "int"), ("next", ["null", "List"], None))
TREE = {"type": "array", "items": "string"}
MAP = {"type": "map", "values": "long"}
PAIR = record("Pair", ("a", "int"), ("b", "string", "x"))

# schema, value, the bytes in hex
SPECIFIED = [
    ("null", None, ""),
    ("boolean", True, "01"),
    ("boolean", False, "00"),
    ("int", 0, "00"),
    ("int", -1, "01"),
    ("int", 1, "02"),
    ("int", -64, "7f"),
    ("int", 64, "8001"),
    ("int", 2**31 - 1, "feffffff0f"),
    ("int", -(2**31), "ffffffff0f"),
    ("long", 2**63 - 1, "feffffffffffffffff01"),
    ("long", -(2**63), "ffffffffffffffffff01"),
    ("float", 1.5, struct.pack("<f", 1.5).hex()),
    ("float", math.inf, struct.pack("<f", math.inf).hex()),
    ("double", -0.1, struct.pack("<d", -0.1).hex()),
    ("double", 2**60, struct.pack("<d", 2.0**60).hex()),
    ("bytes", b"", "00"),
    ("bytes", b"\x00\xff", "0400ff"),
    ("string", "foo", "06666f6f"),
    ("string", "é€😀", "12" + "é€😀".encode().hex()),
    ("string", "x" * 100, "c801" + "78" * 100),
    (fixed("F", 3), b"abc", "616263"),
    (fixed("F", 0), b"", ""),
    (colours("RED", "GREEN"), "GREEN", "02"),
    ({"type": "array", "items": "long"}, [3, 27], "04063600"),
    ({"type": "array", "items": "long"}, [], "00"),
    ({"type": "array", "items": "null"}, [None] * 3, "0600"),
    (MAP, {"a": 1, "b": -1}, "040261020262" + "0100"),
    (MAP, {}, "00"),
    (record("R", ("a", "long"), ("b", "string")), {"a": 27, "b": "foo"}, "3606666f6f"),
    (record("E"), {}, ""),
    (["null", "string"], None, "00"),
    (["null", "string"], "a", "020261"),
    (LIST, {"value": 1, "next": {"value": 2, "next": None}}, "02020400"),
    ({"type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 2}, decimal.Decimal("12.34"), "0404d2"),
    ({"type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 2}, decimal.Decimal("-0.01"), "02ff"),
    (
        fixed("D", 4, logicalType="decimal", precision=5, scale=2),
        decimal.Decimal("-12.34"),
        "fffffb2e",
    ),
    (
        {"type": "string", "logicalType": "uuid"},
        uuid.UUID("12345678-1234-5678-1234-567812345678"),
        "48" + b"12345678-1234-5678-1234-567812345678".hex(),
    ),
    (fixed("U", 16, logicalType="uuid"), uuid.UUID(int=1), "00" * 15 + "01"),
    ({"type": "int", "logicalType": "date"}, datetime.date(1970, 1, 2), "02"),
    ({"type": "int", "logicalType": "time-millis"}, datetime.time(0, 0, 0, 1000), "02"),
    ({"type": "long", "logicalType": "time-micros"}, datetime.time(0, 0, 0, 1), "02"),
    ({"type": "long", "logicalType": "timestamp-millis"}, datetime.datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), "d00f"),
    (
        {"type": "long", "logicalType": "timestamp-micros"},
        datetime.datetime(1969, 12, 31, 23, 59, 59, 999999, UTC),
        "01",
    ),
    ({"type": "long", "logicalType": "local-timestamp-millis"}, datetime.datetime(1970, 1, 1, 0, 0, 1), "d00f"),
    ({"type": "long", "logicalType": "local-timestamp-micros"}, datetime.datetime(1970, 1, 1, 0, 0, 0, 1), "02"),
    ({"type": "long", "logicalType": "timestamp-nanos"}, 1, "02"),
    (fixed("N", 12, logicalType="duration"), Duration(1, 2, 3), "010000000200000003000000"),
]


@pytest.mark.parametrize(("source", "value", "hexadecimal"), SPECIFIED)
def test_each_type_has_the_bytes_of_the_specification(engine: str, source: Any, value: Any, hexadecimal: str) -> None:
    schema = schema_of(source)
    data = bytes.fromhex(hexadecimal)
    assert codec.encoder(schema, engine=engine).encode(value) == data
    decoder = codec.decoder(schema, engine=engine)
    for given in (data, bytearray(data), memoryview(data)):
        read, end = decoder.decode(given)
        assert (read, end) == (value, len(data))
        assert type(read) in (type(value), float)
    assert decoder.decode(b"\xaa" + data + b"\xbb", 1) == (value, len(data) + 1)
    conformed = codec.conformer(schema, engine=engine)(value)
    assert conformed == value
    assert type(conformed) is type(read)


# schema, value that is written, what is read
TAKEN = [
    ("bytes", bytearray(b"ab"), b"ab"),
    ("bytes", memoryview(b"abcd")[::2], b"ac"),
    ("double", 1, 1.0),
    ("float", 0.1, struct.unpack("<f", struct.pack("<f", 0.1))[0]),
    ({"type": "array", "items": "int"}, (1, 2), [1, 2]),
    (PAIR, {"a": 1}, {"a": 1, "b": "x"}),
    ({"type": "long", "logicalType": "timestamp-millis"}, 0, datetime.datetime(1970, 1, 1, tzinfo=UTC)),
    (
        {"type": "long", "logicalType": "timestamp-millis"},
        datetime.datetime(1970, 1, 1, 1, 0, 0, 1999, datetime.timezone(datetime.timedelta(hours=1))),
        datetime.datetime(1970, 1, 1, 0, 0, 0, 1000, UTC),
    ),
    ({"type": "string", "logicalType": "uuid"}, str(uuid.UUID(int=5)), uuid.UUID(int=5)),
    ({"type": "bytes", "logicalType": "decimal", "precision": 3}, decimal.Decimal("1E+2"), decimal.Decimal(100)),
    # ignored logical types leave the type below
    ({"type": "string", "logicalType": "date"}, "x", "x"),
    ({"type": "bytes", "logicalType": "decimal", "precision": 2, "scale": 3}, b"x", b"x"),
    (fixed("N", 11, logicalType="duration"), b"01234567890", b"01234567890"),
]


@pytest.mark.parametrize(("source", "value", "read"), TAKEN)
def test_values_of_a_near_type_are_taken(engine: str, source: Any, value: Any, read: Any) -> None:
    schema = schema_of(source)
    data = codec.encoder(schema, engine=engine).encode(value)
    assert codec.decoder(schema, engine=engine).decode(data) == (read, len(data))
    assert codec.conformer(schema, engine=engine)(value) == read


# schema, value, the path of the fault
REFUSED = [
    ("null", 0, ""),
    ("boolean", 1, ""),
    ("int", True, ""),
    ("int", "1", ""),
    ("int", 1.0, ""),
    ("int", 2**31, ""),
    ("int", -(2**31) - 1, ""),
    ("long", 2**63, ""),
    ("float", 1e39, ""),
    ("float", "1", ""),
    ("double", 10**400, ""),
    ("double", True, ""),
    ("double", None, ""),
    ("bytes", "text", ""),
    ("bytes", [1], ""),
    ("string", b"text", ""),
    ("string", "\ud800", ""),
    ("string", None, ""),
    (fixed("F", 3), b"ab", ""),
    (fixed("F", 3), "abc", ""),
    (colours("RED"), "BLUE", ""),
    (colours("RED"), 0, ""),
    (colours("RED"), None, ""),
    (TREE, "text", ""),
    (TREE, {"a": 1}, ""),
    (TREE, ["a", 1], "[1]"),
    (TREE, iter(["a"]), ""),
    (MAP, [1], ""),
    (MAP, {"a": "x"}, '["a"]'),
    (MAP, {1: 1}, ""),
    (MAP, {"\ud800": 1}, ""),
    (PAIR, {"b": "x"}, "a"),
    (PAIR, {"a": 1, "c": 2}, ""),
    (PAIR, {"a": "x"}, "a"),
    (PAIR, [1, "x"], ""),
    (PAIR, None, ""),
    (record("Outer", ("p", PAIR)), {"p": {"a": 1, "b": 2}}, "p.b"),
    (LIST, {"value": 1, "next": {"value": 2, "next": {"value": None}}}, "next.next.value"),
    ({"type": "map", "values": TREE}, {"k": ["a", 1]}, '["k"][1]'),
    ({"type": "bytes", "logicalType": "decimal", "precision": 3, "scale": 1}, decimal.Decimal("1.25"), ""),
    ({"type": "bytes", "logicalType": "decimal", "precision": 3, "scale": 1}, decimal.Decimal("100"), ""),
    ({"type": "bytes", "logicalType": "decimal", "precision": 3}, decimal.Decimal("NaN"), ""),
    ({"type": "bytes", "logicalType": "decimal", "precision": 3}, decimal.Decimal("1E+999999"), ""),
    ({"type": "bytes", "logicalType": "decimal", "precision": 3}, 5, ""),
    ({"type": "string", "logicalType": "uuid"}, "no uuid", ""),
    ({"type": "int", "logicalType": "date"}, datetime.datetime(1970, 1, 1), ""),
    ({"type": "long", "logicalType": "timestamp-millis"}, datetime.datetime(1970, 1, 1), ""),
    ({"type": "long", "logicalType": "local-timestamp-millis"}, datetime.datetime(1970, 1, 1, tzinfo=UTC), ""),
    ({"type": "int", "logicalType": "time-millis"}, datetime.time(1, tzinfo=UTC), ""),
    (fixed("N", 12, logicalType="duration"), Duration(-1, 0, 0), ""),
    (fixed("N", 12, logicalType="duration"), (1, 2, 3), ""),
    (["null", "int"], "x", ""),
    (["null", "int"], 2**31, ""),
    ([], None, ""),
]


@pytest.mark.parametrize(("source", "value", "path"), REFUSED)
def test_what_the_schema_does_not_admit_is_not_written(engine: str, source: Any, value: Any, path: str) -> None:
    schema = schema_of(source)
    with pytest.raises(EncodeError) as caught:
        codec.encoder(schema, engine=engine).encode(value)
    assert caught.value.path == path
    with pytest.raises(EncodeError) as conformed:
        codec.conformer(schema, engine=engine)(value)
    assert conformed.value.path == path


# schema, bytes in hex, the path of the fault
HOSTILE = [
    ("boolean", "", ""),
    ("boolean", "02", ""),
    ("int", "", ""),
    ("int", "80", ""),
    ("int", "8080808010", ""),  # 2^31
    ("int", "feffffffffffffffff01", ""),
    ("long", "ffffffffffffffffff02", ""),
    ("long", "ffffffffffffffffffff01", ""),  # 11 bytes
    ("long", "80" * 10 + "00", ""),
    ("float", "000000", ""),
    ("double", "00000000000000", ""),
    ("bytes", "01", ""),  # length -1
    ("bytes", "0461", ""),
    ("bytes", "ffffffffffffffffff01", ""),  # length -2^63
    ("string", "02ff", ""),
    ("string", "06eda080", ""),  # a surrogate
    ("string", "04c080", ""),  # an overlong NUL
    (fixed("F", 3), "6162", ""),
    (colours("RED"), "01", ""),
    (colours("RED"), "02", ""),
    (["null", "int"], "01", ""),
    (["null", "int"], "04", ""),
    ([], "00", ""),
    (TREE, "02", "[0]"),
    (TREE, "0402610462", "[1]"),
    (TREE, "03060261026200", ""),  # 2 items in 3 bytes, of which they fill 4
    (TREE, "030a026102620000", ""),  # in 5 bytes
    (TREE, "030c0261026200", ""),  # in 6, but 5 are left
    (TREE, "0101", ""),  # size -1
    (TREE, "01ff", ""),
    (TREE, "ffffffffffffffffff01" + "00", ""),  # count -2^63
    (TREE, "020261", ""),  # no end
    (MAP, "0202ff00", ""),
    (MAP, "020261", '["a"]'),
    (MAP, "0103", ""),
    (PAIR, "02", "b"),
    (record("Outer", ("p", {"type": "array", "items": PAIR})), "040202610204", "p[1].b"),
    (LIST, "0202", "next.value"),
    ({"type": "bytes", "logicalType": "decimal", "precision": 2}, "0464ff", ""),
    ({"type": "string", "logicalType": "uuid"}, "0461" + "62", ""),
    ({"type": "int", "logicalType": "date"}, "feffffff0f", ""),
    ({"type": "int", "logicalType": "time-millis"}, "01", ""),
    ({"type": "long", "logicalType": "timestamp-millis"}, "feffffffffffffffff01", ""),
]


@pytest.mark.parametrize(("source", "hexadecimal", "path"), HOSTILE)
def test_bytes_that_are_no_datum_are_refused_with_the_place(
    engine: str, source: Any, hexadecimal: str, path: str
) -> None:
    decoder = codec.decoder(schema_of(source), engine=engine)
    data = bytes.fromhex(hexadecimal)
    for given in (data, bytearray(data), memoryview(data)):
        with pytest.raises(DecodeError) as caught:
            decoder.decode(given)
        assert caught.value.path == path


def test_a_number_longer_than_needed_is_read(engine: str) -> None:
    assert codec.decoder(schema_of("int"), engine=engine).decode(bytes.fromhex("82808080808080808000")) == (1, 10)
    assert codec.decoder(schema_of("long"), engine=engine).decode(bytes.fromhex("ff808080808080808000")) == (-64, 10)


def test_blocks_of_every_shape_are_one_array(engine: str) -> None:
    decoder = codec.decoder(schema_of({"type": "array", "items": "int"}), engine=engine)
    for data in ("0602040600", "020202040206" + "00", "0506020406" + "00", "01020204040600", "03040204020600"):
        assert decoder.decode(bytes.fromhex(data)) == ([1, 2, 3], len(data) // 2)


def test_the_later_of_two_equal_keys_wins(engine: str) -> None:
    assert codec.decoder(schema_of(MAP), engine=engine).decode(bytes.fromhex("0402610202610400"))[0] == {"a": 2}


@pytest.mark.parametrize("start", [-1, 2, 2**40])
def test_a_start_outside_of_the_data_is_refused(engine: str, start: int) -> None:
    with pytest.raises(DecodeError):
        codec.decoder(schema_of("null"), engine=engine).decode(b"a", start)


# --- limits


def limited(engine: str, source: Any, **limits: int) -> Any:
    return codec.decoder(schema_of(source), limits=Limits(**limits), engine=engine)


def refuses(decoder: Any, data: bytes, limit: str, allowed: int) -> None:
    with pytest.raises(LimitExceeded) as caught:
        decoder.decode(data)
    assert (caught.value.limit, caught.value.allowed) == (limit, allowed)


def test_depth_is_exact_both_ways(engine: str) -> None:
    schema, limits = schema_of(LIST), Limits(depth=10)

    def nested(levels: int) -> Any:
        value = None
        for _ in range(levels):
            value = {"value": 1, "next": value}
        return value

    data = codec.encoder(schema, engine=engine).encode(nested(10))
    assert codec.decoder(schema, limits=limits, engine=engine).decode(data)[0] == nested(10)
    refuses(codec.decoder(schema, limits=limits, engine=engine), b"\x02\x02" + data, "depth", 10)
    assert codec.encoder(schema, limits=limits, engine=engine).encode(nested(10)) == data
    for face in (codec.encoder(schema, limits=limits, engine=engine).encode, codec.conformer(schema, limits=limits)):
        with pytest.raises(LimitExceeded) as caught:
            face(nested(11))
        assert caught.value.limit == "depth"


@pytest.mark.parametrize("levels", [65, 5_000, 1_000_000])
def test_a_deep_datum_does_not_reach_the_stack(engine: str, levels: int) -> None:
    refuses(codec.decoder(schema_of(LIST), engine=engine), b"\x02\x02" * levels, "depth", 64)


def test_a_deep_datum_within_the_largest_limit_is_read(engine: str) -> None:
    schema = schema_of(LIST)
    data = b"\x02\x02" * 511 + b"\x02\x00"
    read, _ = codec.decoder(schema, limits=Limits(depth=512), engine=engine).decode(data)
    assert codec.encoder(schema, limits=Limits(depth=512), engine=engine).encode(read) == data


def test_a_value_that_holds_itself_ends_at_the_depth(engine: str) -> None:
    value: dict[str, Any] = {"value": 1}
    value["next"] = value
    with pytest.raises(LimitExceeded) as caught:
        codec.encoder(schema_of(LIST), engine=engine).encode(value)
    assert caught.value.limit == "depth"


@pytest.mark.parametrize("count", ["80a8d6b907", "808080808040", "feffffffffffffffff01"])  # 10^9, 2^40, 2^63-1
def test_a_few_bytes_do_not_unfold_to_a_great_array(engine: str, count: str) -> None:
    refuses(limited(engine, {"type": "array", "items": "null"}), bytes.fromhex(count + "00"), "nodes", 1_000_000)
    refuses(limited(engine, {"type": "array", "items": record("E")}), bytes.fromhex(count + "00"), "nodes", 1_000_000)


def test_nodes_are_counted_over_blocks_and_over_containers(engine: str) -> None:
    nulls = {"type": "array", "items": "null"}
    assert limited(engine, nulls, nodes=5).decode(bytes.fromhex("020400"))[0] == [None] * 3
    refuses(limited(engine, nulls, nodes=4), bytes.fromhex("020400"), "nodes", 4)
    pairs = {"type": "array", "items": PAIR}
    data = codec.encoder(schema_of(pairs)).encode([{"a": 1}, {"a": 2}])
    assert len(limited(engine, pairs, nodes=18).decode(data)[0]) == 2
    refuses(limited(engine, pairs, nodes=17), data, "nodes", 17)
    maps = {"type": "map", "values": ["null", {"type": "array", "items": "null"}]}
    data = codec.encoder(schema_of(maps)).encode({"a": None, "b": [None, None]})
    assert limited(engine, maps, nodes=15).decode(data)
    refuses(limited(engine, maps, nodes=14), data, "nodes", 14)


def test_nodes_are_counted_in_writing_too(engine: str) -> None:
    pairs = schema_of({"type": "array", "items": PAIR})
    assert codec.encoder(pairs, limits=Limits(nodes=18), engine=engine).encode([{"a": 1}, {"a": 2}])
    for face in (
        codec.encoder(pairs, limits=Limits(nodes=17), engine=engine).encode,
        codec.conformer(pairs, limits=Limits(nodes=17), engine=engine),
    ):
        with pytest.raises(LimitExceeded) as caught:
            face([{"a": 1}, {"a": 2}])
        assert caught.value.limit == "nodes"


def test_records_that_double_end_at_the_nodes(engine: str) -> None:
    types = [record("R0")] + [record(f"R{n}", ("a", f"R{n - 1}"), ("b", f"R{n - 1}")) for n in range(1, 60)]
    protocol = Protocol.parse(json.dumps({"protocol": "P", "types": types}))
    refuses(codec.decoder(protocol.types["R59"], engine=engine), b"", "nodes", 1_000_000)


def test_defaults_count_as_nodes(engine: str) -> None:
    writer = schema_of({"type": "array", "items": record("R")})
    reader = schema_of({"type": "array", "items": record("R", ("a", TREE, ["x"] * 9))})
    read = codec.decoder(writer, reader, limits=Limits(nodes=68), engine=engine)
    values = read.decode(b"\x04\x00")[0]
    assert values == [{"a": ["x"] * 9}] * 2
    values[0]["a"].append("y")
    assert values[1]["a"] == ["x"] * 9 == read.decode(b"\x04\x00")[0][0]["a"]
    refuses(codec.decoder(writer, reader, limits=Limits(nodes=67), engine=engine), b"\x04\x00", "nodes", 67)
    refuses(codec.decoder(writer, reader, engine=engine), bytes.fromhex("80897a00"), "nodes", 1_000_000)


@pytest.mark.parametrize(("source", "data"), [("bytes", "0a6162636465"), ("string", "0a6162636465"), ("bytes", "0a")])
def test_the_longest_bytes_are_limited(engine: str, source: Any, data: str) -> None:
    refuses(limited(engine, source, message_bytes=4), bytes.fromhex(data), "message_bytes", 4)
    assert limited(engine, source, message_bytes=5).decode(bytes.fromhex("0a6162636465"))[1] == 6


def test_a_fixed_is_limited_when_it_is_met(engine: str) -> None:
    union = ["null", fixed("F", 2**31 - 1)]
    assert limited(engine, union).decode(b"\x00") == (None, 1)
    refuses(limited(engine, union), b"\x02", "message_bytes", 4 * 1024 * 1024)


def test_a_great_length_is_not_allocated(engine: str) -> None:
    refuses(limited(engine, "bytes"), bytes.fromhex("feffffffffffffffff01"), "message_bytes", 4 * 1024 * 1024)
    refuses(limited(engine, MAP), bytes.fromhex("02feffffffffffffffff01"), "message_bytes", 4 * 1024 * 1024)


def test_the_encoded_size_is_limited(engine: str) -> None:
    schema = schema_of(TREE)
    limits = Limits(message_bytes=8)
    assert len(codec.encoder(schema, limits=limits, engine=engine).encode(["ab", "cd"])) == 8
    for face in (
        codec.encoder(schema, limits=limits, engine=engine).encode,
        codec.conformer(schema, limits=limits, engine=engine),
    ):
        for value in (["ab", "cde"], ["x" * 9]):
            with pytest.raises(LimitExceeded) as caught:
                face(value)
            assert caught.value.limit == "message_bytes"


# --- unions

DATES = [
    {"type": "int", "logicalType": "date"},
    {"type": "long", "logicalType": "timestamp-micros"},
    {"type": "string", "logicalType": "uuid"},
    {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 1},
]
SHAPES = [
    "null",
    record("com.acme.Circle", ("radius", "double")),
    record("com.acme.Square", ("side", "double"), ("name", "string", "")),
]

# union, value, the branch it must go to
CHOSEN = [
    (["int", "long"], 1, 0),
    (["int", "long"], 2**31, 1),
    (["long", "int"], 1, 0),
    (["int", "double"], 2**40, 1),
    (["double", "int"], 1, 0),
    (["int", "boolean"], True, 1),
    (["boolean", "int"], 1, 1),
    (["null", "float"], 1.5, 1),
    (["bytes", "string"], "x", 1),
    (["string", "bytes"], b"x", 1),
    (["string", "bytes"], bytearray(b"x"), 1),
    ([fixed("F", 2), "bytes"], b"xy", 0),
    ([fixed("F", 2), "bytes"], b"xyz", 1),
    ([fixed("F", 2), fixed("G", 3)], memoryview(b"xyz"), 1),
    ([colours("RED"), "string"], "RED", 0),
    ([colours("RED"), "string"], "BLUE", 1),
    (["string", colours("RED")], "RED", 0),
    (["string", colours("RED")], Branch("Colour", "RED"), 1),
    (["null", TREE], ("a",), 1),
    ([MAP, PAIR], {"a": 1}, 0),
    ([PAIR, MAP], {"a": 1}, 0),
    ([PAIR, MAP], {"z": 1}, 1),
    (SHAPES, {"radius": 1.0}, 1),
    (SHAPES, {"side": 1.0}, 2),
    (SHAPES, {"side": 1.0, "name": "x"}, 2),
    (SHAPES, Branch("com.acme.Square", {"side": 1.0}), 2),
    (SHAPES, Branch("Square", {"side": 1.0}), 2),
    (SHAPES, Branch("null", None), 0),
    (["int", "long"], Branch("long", 1), 1),
    (DATES, datetime.date(2020, 1, 1), 0),
    (DATES, datetime.datetime(2020, 1, 1, tzinfo=UTC), 1),
    (DATES, uuid.UUID(int=1), 2),
    (DATES, decimal.Decimal("1.5"), 3),
    (DATES, 5, 0),
    (DATES, 2**40, 1),
]


@pytest.mark.parametrize(("source", "value", "index"), CHOSEN)
def test_the_value_chooses_the_branch(engine: str, source: Any, value: Any, index: int) -> None:
    schema = schema_of(source)
    data = codec.encoder(schema, engine=engine).encode(value)
    assert data[0] == 2 * index
    inner = value.value if isinstance(value, Branch) else value
    assert data[1:] == codec.encoder(schema.branches[index], engine=engine).encode(inner)
    conformed = codec.conformer(schema, engine=engine)(value)
    assert conformed == codec.decoder(schema, engine=engine).decode(data)[0]


def test_the_only_record_says_what_is_wrong_inside(engine: str) -> None:
    encoder = codec.encoder(schema_of(["null", "int", PAIR]), engine=engine)
    for value, path in (({"a": "x"}, "a"), ({"b": "x"}, "a"), ({"a": 1, "z": 1}, "")):
        with pytest.raises(EncodeError) as caught:
            encoder.encode(value)
        assert caught.value.path == path
        assert "branch" not in caught.value.reason


@pytest.mark.parametrize("value", [{"radius": 1.0, "side": 2.0}, {}, Branch("Triangle", {}), Branch("acme.Circle", 1)])
def test_a_value_of_no_branch_is_refused(engine: str, value: Any) -> None:
    with pytest.raises(EncodeError):
        codec.encoder(schema_of(SHAPES), engine=engine).encode(value)


# --- two schemas

# writer, value, reader, what is read
RESOLVED = [
    ("int", 5, "long", 5),
    ("int", 5, "float", 5.0),
    ("int", 5, "double", 5.0),
    ("long", 2**40, "float", 2.0**40),
    ("long", 2**60, "double", 2.0**60),
    ("float", 1.5, "double", 1.5),
    ("bytes", b"abc", "string", "abc"),
    ("string", "abc", "bytes", b"abc"),
    ("int", 5, ["null", "int"], 5),
    ("int", 5, ["double", "int"], 5),
    ("int", 5, ["null", "double"], 5.0),
    (["null", "int"], 5, "int", 5),
    (["int", "string"], 5, ["string", "long"], 5),
    (["double", "long"], Branch("long", 2**60 + 1), ["double", "long"], 2**60 + 1),
    (["int", "string"], 5, "long", 5),
    ({"type": "array", "items": "int"}, [1], {"type": "array", "items": "double"}, [1.0]),
    ({"type": "map", "values": "string"}, {"a": "b"}, {"type": "map", "values": "bytes"}, {"a": b"b"}),
    (colours("A", "B"), "B", colours("B", "A"), "B"),
    (colours("A", "B", "C"), "C", colours("A", "B", default="A"), "A"),
    (record("x.R", ("a", "int")), {"a": 1}, record("y.R", ("a", "int")), {"a": 1}),
    (record("Old", ("a", "int")), {"a": 1}, record("New", ("a", "long"), aliases=["Old"]), {"a": 1}),
    (
        record("R", ("a", "int"), ("b", "int")),
        {"a": 1, "b": 2},
        record("R", ("b", "int"), ("a", "int")),
        {"b": 2, "a": 1},
    ),
    (record("R", ("a", TREE), ("b", "int")), {"a": ["x"], "b": 2}, record("R", ("b", "int")), {"b": 2}),
    (record("R", ("a", "int")), {"a": 1}, record("R", ("b", "string", "é"), ("a", "int")), {"b": "é", "a": 1}),
    (record("R"), {}, record("R", ("b", "bytes", "\u00ff")), {"b": b"\xff"}),
    (record("R"), {}, record("R", ("u", ["null", "int"], None)), {"u": None}),
    (record("R"), {}, record("R", ("u", ["null", "int"], 7)), {"u": 7}),
    (
        record("R"),
        {},
        record("R", ("m", MAP, {"k": 1}), ("p", PAIR, {"a": 5})),
        {"m": {"k": 1}, "p": {"a": 5, "b": "x"}},
    ),
    (record("R"), {}, record("R", ("c", colours("RED", "GREEN"), "GREEN")), {"c": "GREEN"}),
    (
        record("R"),
        {},
        record("R", ("d", {"type": "int", "logicalType": "date"}, 1)),
        {"d": datetime.date(1970, 1, 2)},
    ),
    ("int", 1, {"type": "int", "logicalType": "date"}, datetime.date(1970, 1, 2)),
    ({"type": "int", "logicalType": "date"}, datetime.date(1970, 1, 2), "int", 1),
    ({"type": "int", "logicalType": "date"}, datetime.date(1970, 1, 2), "double", 1.0),
    (
        LIST,
        {"value": 1, "next": None},
        record("List", ("next", ["null", "List"], None), ("value", "double")),
        {"next": None, "value": 1.0},
    ),
    (
        {"type": "error", "name": "R", "fields": []},
        {},
        record("R"),
        {},
    ),
]


@pytest.mark.parametrize(("writer", "value", "reader", "read"), RESOLVED)
def test_a_reader_gets_what_it_wants(engine: str, writer: Any, value: Any, reader: Any, read: Any) -> None:
    written, wanted = schema_of(writer), schema_of(reader)
    data = codec.encoder(written, engine=engine).encode(value)
    got, end = codec.decoder(written, wanted, engine=engine).decode(data)
    assert (got, end) == (read, len(data))
    assert type(got) is type(read)
    if isinstance(read, dict):
        assert list(got) == list(read)
    conformed = codec.conformer(written, wanted, engine=engine)(value)
    assert conformed == read
    assert repr(conformed) == repr(got)


# writer, value, reader: the pair fits, this datum does not
UNREADABLE = [
    (["int", "string"], "x", "int"),
    (["null", "int"], None, "int"),
    (["int", "string"], "x", ["null", "int"]),
    (colours("A", "B"), "B", colours("A")),
    (["null", record("R", ("a", "int"))], {"a": 1}, ["null", record("R", ("a", "string"))]),
    ("bytes", b"\xff", "string"),
]


@pytest.mark.parametrize(("writer", "value", "reader"), UNREADABLE)
def test_a_datum_that_the_reader_cannot_take_is_refused(engine: str, writer: Any, value: Any, reader: Any) -> None:
    written, wanted = schema_of(writer), schema_of(reader)
    data = codec.encoder(written, engine=engine).encode(value)
    with pytest.raises(DecodeError):
        codec.decoder(written, wanted, engine=engine).decode(data)
    with pytest.raises(DecodeError):
        codec.conformer(written, wanted, engine=engine)(value)


@pytest.mark.parametrize("dropped", ["02ff", "03", "04", "feffffffffffffffff01"])
def test_a_dropped_field_is_checked_as_any_other(engine: str, dropped: str) -> None:
    writer, reader = schema_of(record("R", ("a", "string"), ("b", "int"))), schema_of(record("R", ("b", "int")))
    decoder = codec.decoder(writer, reader, engine=engine)
    assert decoder.decode(bytes.fromhex("026102")) == ({"b": 1}, 3)
    with pytest.raises(DataError) as caught:
        decoder.decode(bytes.fromhex(dropped))
    assert caught.value.path == "a"


def test_a_string_read_as_bytes_is_utf8_all_the_same(engine: str) -> None:
    with pytest.raises(DecodeError):
        codec.decoder(schema_of("string"), schema_of("bytes"), engine=engine).decode(b"\x02\xff")


def test_a_chain_of_5000_records_is_read_to_its_depth(engine: str) -> None:
    types = [record("R0", ("a", "int"))] + [record(f"R{n}", ("a", f"R{n - 1}")) for n in range(1, 5_000)]
    text = json.dumps({"protocol": "P", "types": types}, separators=(",", ":"))
    protocol, other = (Protocol.parse(text, limits=Limits(protocol_bytes=2**20)) for _ in range(2))
    writer, reader = protocol.types["R4999"], other.types["R4999"]
    refuses(codec.decoder(writer, reader, engine=engine), b"\x02", "depth", 64)
    assert codec.decoder(protocol.types["R63"], other.types["R63"], engine=engine).decode(b"\x02")[1] == 1
    with pytest.raises(EncodeError):
        codec.encoder(writer, engine=engine).encode({})


# --- Structs


class Circle(msgspec.Struct):
    radius: float


class Square(msgspec.Struct, tag="Square"):
    side: float
    name: str = ""


class Named(msgspec.Struct, rename="camel"):
    long_name: str
    item_count: int = 7


class Drawing(msgspec.Struct):
    shapes: list[Circle | Square]
    by_name: dict[str, Circle | None] = {}
    size: int = 0


class Node(msgspec.Struct):
    value: int
    next: "Node | None" = None


class Colour(enum.Enum):
    RED = 1
    GREEN = 2


class Level(enum.StrEnum):
    LOW = "low"
    HIGH = "high"


DRAWING = record(
    "Drawing",
    ("size", "int"),
    ("shapes", {"type": "array", "items": SHAPES[1:]}),
    ("by_name", {"type": "map", "values": ["null", "com.acme.Circle"]}),
    ("extra", "string", ""),
)


def test_a_struct_is_written_as_the_dict_of_its_fields(engine: str) -> None:
    schema = schema_of(DRAWING)
    plain = {
        "size": 3,
        "shapes": [{"side": 2.0, "name": "x"}, {"radius": 1.0}],
        "by_name": {"a": {"radius": 2.0}, "b": None},
    }
    drawing = Drawing([Square(2.0, "x"), Circle(1.0)], {"a": Circle(2.0), "b": None}, 3)
    encoder = codec.encoder(schema, engine=engine)
    assert encoder.encode(drawing) == encoder.encode(plain)
    data = encoder.encode(drawing)
    assert codec.decoder(schema, into=Drawing, engine=engine).decode(data) == (drawing, len(data))
    assert codec.conformer(schema, into=Drawing, engine=engine)(drawing) == drawing
    assert codec.conformer(schema, engine=engine)(drawing) == {**plain, "extra": ""}


def test_a_struct_has_its_names_in_data(engine: str) -> None:
    schema = schema_of(record("Named", ("longName", "string"), ("itemCount", "int", 7)))
    encoder = codec.encoder(schema, engine=engine)
    assert encoder.encode(Named("a", 1)) == encoder.encode({"longName": "a", "itemCount": 1})
    assert codec.decoder(schema, into=Named, engine=engine).decode(encoder.encode(Named("a", 1)))[0] == Named("a", 1)


def test_a_struct_gets_its_own_default_for_what_the_schema_lacks(engine: str) -> None:
    schema = schema_of(record("Named", ("longName", "string")))
    assert codec.decoder(schema, into=Named, engine=engine).decode(b"\x02a")[0] == Named("a", 7)


def test_a_struct_that_lacks_a_field_that_must_be_there_is_refused(engine: str) -> None:
    with pytest.raises(EncodeError) as caught:
        codec.encoder(schema_of(PAIR), engine=engine).encode(Circle(1.0))
    assert caught.value.path == "a"


def test_a_recursive_struct(engine: str) -> None:
    schema = schema_of(LIST)
    node = Node(1, Node(2))
    data = codec.encoder(schema, engine=engine).encode(node)
    assert codec.decoder(schema, into=Node, engine=engine).decode(data)[0] == node


def test_a_parameter_becomes_the_type_that_is_named(engine: str) -> None:
    schema = schema_of(record("send", ("circle", SHAPES[1]), ("colour", colours("RED", "GREEN")), ("n", "int")))
    value = {"circle": Circle(1.0), "colour": Colour.GREEN, "n": 3}
    data = codec.encoder(schema, engine=engine).encode(value)
    decoder = codec.decoder(schema, into={"circle": Circle, "colour": Colour}, engine=engine)
    assert decoder.decode(data)[0] == value


def test_members_stand_for_their_symbols(engine: str) -> None:
    schema = schema_of(["null", colours("low", "high")])
    encoder = codec.encoder(schema, engine=engine)
    assert encoder.encode(Level.HIGH) == encoder.encode("high") == b"\x02\x02"
    read, _ = codec.decoder(schema, into=Level | None, engine=engine).decode(b"\x02\x02")
    assert read is Level.HIGH
    with pytest.raises(EncodeError):
        encoder.encode(Colour.RED)


def test_a_struct_of_the_branch_that_has_its_name(engine: str) -> None:
    encoder = codec.encoder(schema_of(["null", record("Other", ("radius", "double")), *SHAPES[1:]]), engine=engine)
    assert encoder.encode(Circle(1.0))[0] == 4
    assert encoder.encode(Square(1.0))[0] == 6


def test_a_struct_without_its_name_there_goes_where_it_fits(engine: str) -> None:
    encoder = codec.encoder(
        schema_of([record("A", ("side", "double")), record("B", ("radius", "double"), ("x", "int", 0))]), engine=engine
    )
    assert encoder.encode(Circle(1.0))[0] == 2


class Positive(msgspec.Struct):
    value: int

    def __post_init__(self) -> None:
        if self.value < 0:
            raise ValueError("it must not be negative")


def test_a_struct_that_refuses_its_values_makes_bad_data(engine: str) -> None:
    decoder = codec.decoder(
        schema_of(record("R", ("p", record("P", ("value", "int"))))), into={"p": Positive}, engine=engine
    )
    assert decoder.decode(b"\x02")[0] == {"p": Positive(1)}
    with pytest.raises(DecodeError, match="negative") as caught:
        decoder.decode(b"\x01")
    assert caught.value.path == "p"


def test_a_default_becomes_the_struct_too(engine: str) -> None:
    writer = schema_of(record("R"))
    reader = schema_of(
        record("R", ("c", SHAPES[1], {"radius": 2.5}), ("cs", {"type": "array", "items": "com.acme.Circle"}, []))
    )

    class Holder(msgspec.Struct):
        c: Circle
        cs: list[Circle]

    decoder = codec.decoder(writer, reader, into=Holder, engine=engine)
    first, second = decoder.decode(b"")[0], decoder.decode(b"")[0]
    assert first == second == Holder(Circle(2.5), [])
    assert first.cs is not second.cs


# --- the copy that stays in the process


def test_conforming_copies_every_container(engine: str) -> None:
    schema = schema_of({"type": "map", "values": {"type": "array", "items": PAIR}})
    value = {"k": [{"a": 1, "b": "x"}]}
    copy = codec.conformer(schema, engine=engine)(value)
    assert copy == value
    assert copy is not value
    assert copy["k"] is not value["k"]
    assert copy["k"][0] is not value["k"][0]


def test_conforming_gives_dicts_as_decoding_would(engine: str) -> None:
    """In the schema's order, with keys that are plain strings, whatever the value's own are like."""

    class Key(str):
        __slots__ = ()

    schema = schema_of(record("R", ("a", "long"), ("b", {"type": "map", "values": "double"}), ("c", ["null", "int"])))
    conform = codec.conformer(schema, schema_of(record("R", ("a", "double"), ("b", {"type": "map", "values": "double"}),
                                                       ("c", ["null", "int"]))), engine=engine)  # fmt: skip
    inner = {"x": 1, Key("y"): 2.5}
    for value in (
        {"a": 1, "b": inner, "c": None},
        {"c": None, "a": 1, "b": inner},
        {"".join(("a",)): 1, "".join(("b",)): inner, Key("c"): None},
    ):
        before = list(value.items())
        for _ in range(12):  # the plain engine has another way from the ninth time on
            given = conform(value)
            assert list(given.items()) == [("a", 1.0), ("b", {"x": 1.0, "y": 2.5}), ("c", None)]
            assert [type(key) for key in (*given, *given["b"])] == [str] * 5
            assert [type(each) for each in (given["a"], given["b"]["x"])] == [float] * 2
        assert list(value.items()) == before
        assert [type(each) for each in inner.values()] == [int, float]
    for wrong in ({"a": 1, "b": {}}, {"a": 1, "b": {}, "d": None}, {"a": 1, "b": {}, "c": None, "d": 1}):
        with pytest.raises(EncodeError):
            conform(wrong)


def test_conforming_writes_first(engine: str) -> None:
    """A value that cannot be written is the caller's fault, whatever the reader would say to the rest of it."""
    writer = schema_of(record("R", ("u", ["int", "string"]), ("n", "int")))
    reader = schema_of(record("R", ("u", ["int"]), ("n", "int")))
    with pytest.raises(EncodeError):
        codec.conformer(writer, reader, engine=engine)({"u": "x", "n": "not a number"})
    with pytest.raises(DecodeError):
        codec.conformer(writer, reader, engine=engine)({"u": "x", "n": 1})
