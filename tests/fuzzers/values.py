"""Targets: schemas, values and their bytes, in Avro and in JSON. Each takes any bytes; AssertionError is a find."""

import contextlib
import json
from collections.abc import Callable
from functools import cache
from typing import Any

from splnode.avro import plain_json, single_object
from splnode.avro.codec import decoder, encoder, engines
from splnode.avro.compatibility import schema_reasons, verdicts
from splnode.avro.fingerprint import canonical_form, crc64_avro, resolution_form
from splnode.avro.json_text import dumps, loads
from splnode.avro.json_value import JSON_NAME
from splnode.avro.lint import lint
from splnode.avro.protocol import Protocol
from splnode.avro.schema import Schema, parse_schema
from splnode.errors import DataError, SchemaError
from splnode.limits import Limits
from tests.fuzzers.dice import Fed

LIMITS = Limits(message_bytes=20_000, depth=8, nodes=2000, protocol_bytes=20_000)

TREE = {"type": "record", "name": "Tree", "fields": [
    {"name": "label", "type": ["null", "string", "long"]},
    {"name": "leaves", "type": {"type": "array", "items": "Tree"}},
]}  # fmt: skip
COLOUR = {"type": "enum", "name": "Colour", "symbols": ["RED", "GREEN", "BLUE"]}
EVERYTHING = {"type": "record", "name": "Everything", "fields": [
    {"name": "b", "type": "boolean"}, {"name": "i", "type": "int"}, {"name": "l", "type": "long"},
    {"name": "f", "type": "float"}, {"name": "d", "type": "double"}, {"name": "raw", "type": "bytes"},
    {"name": "text", "type": "string", "default": "?"}, {"name": "colour", "type": COLOUR},
    {"name": "fixed", "type": {"type": "fixed", "name": "Four", "size": 4}},
    {"name": "more", "type": {"type": "map", "values": ["null", "double", "string", "bytes", "Four", "Colour"]}},
    {"name": "when", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
    {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
]}  # fmt: skip
SHIFTED = {"type": "record", "name": "Everything", "fields": [
    {"name": "l", "type": "double"}, {"name": "i", "type": "long"}, {"name": "added", "type": "int", "default": 7},
    {"name": "raw", "type": "string"}, {"name": "colour", "type": {**COLOUR, "symbols": ["RED", "BLUE"],
                                                                   "default": "RED"}},
]}  # fmt: skip
SOURCES: tuple[tuple[Any, Any], ...] = (
    (TREE, TREE),
    (EVERYTHING, EVERYTHING),
    (EVERYTHING, SHIFTED),
    ({"type": "array", "items": "null"}, {"type": "array", "items": "null"}),
    ({"type": "map", "values": {"type": "array", "items": "long"}}, {"type": "map",
                                                                      "values": {"type": "array", "items": "double"}}),
    (["null", "int", "string", TREE], ["string", "null", "long", TREE]),
)  # fmt: skip


def outcome(function: Callable[..., Any], *args: Any) -> tuple[str, ...]:
    """What came of it, to compare."""
    try:
        return ("value", repr(function(*args)))
    except DataError as error:
        return (type(error).__name__, error.path, error.reason)


@cache
def _codecs(which: int) -> tuple[list[Any], list[Any], list[Any]]:
    writer, reader = (parse_schema(json.dumps(source)) for source in SOURCES[which])
    resolving = [decoder(writer, reader, limits=LIMITS, engine=name).decode for name in engines()]
    plain = [decoder(writer, limits=LIMITS, engine=name).decode for name in engines()]
    return resolving, plain, [encoder(writer, limits=LIMITS, engine=name).encode for name in engines()]


def decode(data: bytes) -> None:
    """Bytes as data of known schemas: both engines say the same, and what was read is written and read alike."""
    if not data:
        return
    resolving, plain, encoders = _codecs(data[0] % len(SOURCES))
    data = data[1:]
    for decoders in (resolving, plain):
        told = [outcome(each, data) for each in decoders]
        assert len(set(told)) == 1, told
    try:
        value, end = plain[0](data)
    except DataError:
        return
    assert 0 <= end <= len(data)
    written = [outcome(each, value) for each in encoders]
    assert len(set(written)) == 1, written
    with contextlib.suppress(DataError):  # it may have become larger than it may be: blocks, defaults
        again = encoders[0](value)
        assert repr(plain[-1](again)) == repr((value, len(again)))


def codec(data: bytes) -> None:
    """Random schemas, values and damaged bytes: the native engine says what the plain one says."""
    from tests.avro.codec.test_native import fuzz_once

    if "native" in engines():
        fuzz_once(Fed(data))


def conform(data: bytes) -> None:
    """Conforming a value gives what encoding and decoding it gives, with either engine."""
    from tests.avro.codec.test_conform import compare

    compare(Fed(data))


def schema(data: bytes) -> None:
    """Texts of schemas: refused, or the same schema in each of its forms; two of them are resolved or told apart."""
    parsed = [found for part in data.split(b"\n\n")[:2] if (found := _schema(part)) is not None]
    for each in parsed:
        for text in (canonical_form(each), resolution_form(each)):
            again = parse_schema(text, referee=False)
            assert crc64_avro(again) == crc64_avro(each), text
    if len(parsed) == 2:
        writer, reader = parsed
        reasons = schema_reasons(writer, reader)
        with contextlib.suppress(SchemaError):
            decoder(writer, reader, limits=LIMITS)
            return
        assert reasons, "it cannot be read, and nobody says why"


def _schema(text: bytes) -> Schema | None:
    try:
        return parse_schema(text, limits=LIMITS, referee=False)
    except SchemaError as error:
        assert str(error)
        with contextlib.suppress(SchemaError):
            lint(text, limits=LIMITS)
        return None


def protocol(data: bytes) -> None:
    """Texts of protocols: refused, or parsed and compared with themselves."""
    try:
        found = Protocol.parse(data, limits=LIMITS, referee=False)
    except SchemaError as error:
        assert str(error)
        return
    assert found == Protocol.parse(found.text, referee=False)
    assert all(verdict.fit == "same" for verdict in verdicts(found, found).values())
    lint(data)


@cache
def _schemas() -> list[Schema]:
    kinds = ["null", "boolean", "int", "long", "float", "double", "bytes", "string", {"type": "array", "items": TREE}]
    return [parse_schema(json.dumps(source)) for source in (*(pair[0] for pair in SOURCES), *kinds)]


@cache
def _known() -> dict[int, Schema]:
    return {crc64_avro(each): each for each in _schemas()}


def json_value(data: bytes) -> None:
    """JSON that a person types, plain and tagged: refused, or a value that is written and read back the same."""
    if len(data) < 2:
        return
    kind = _schemas()[data[0] % len(_schemas())]
    style = ("plain", "avro")[data[1] & 1]
    bytes_as = ("base64", "hex", "utf8")[(data[1] >> 1) % 3]
    try:
        given = loads(data[2:])
        value = plain_json.from_json(kind, given, style=style, bytes_as=bytes_as, limits=LIMITS)
        encoded = encoder(kind, limits=LIMITS).encode(value)
    except DataError as error:
        assert str(error)
        return
    plain, _ = decoder(kind, limits=LIMITS).decode(encoded)
    try:
        shown = plain_json.to_json(kind, plain, style=style, bytes_as=bytes_as, limits=LIMITS)
    except DataError as error:
        assert "utf8" in bytes_as or "depth" in str(error) or "nodes" in str(error), (style, plain, error)
        return
    again = plain_json.from_json(kind, loads(dumps(shown)), style=style, bytes_as=bytes_as, limits=LIMITS)
    assert encoder(kind, limits=LIMITS).encode(again) == encoded, (style, shown)


def record(data: bytes) -> None:
    """Single-object messages and the records that carry them."""
    known = _known()
    if data[:1] == b"\1" and len(data) > 1:
        kind = _schemas()[data[1] % len(_schemas())]
        data = single_object.header(kind) + data[2:]
    with contextlib.suppress(DataError):
        value = single_object.decode(data, known.get, limits=LIMITS)
        kind = known[single_object.fingerprint_of(data)]
        assert single_object.encode(kind, value).startswith(single_object.header(kind))
    for name in (JSON_NAME, "Tree"):
        with contextlib.suppress(DataError):
            shown = plain_json.record_to_json({"schema": name, "data": data}, known.get, limits=LIMITS)
            plain_json.wrap_record(loads(dumps(shown)))
