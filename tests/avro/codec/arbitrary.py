"""Random schemas, readers for them, values of them and not quite of them, and damaged bytes: from a seed."""

import datetime
import decimal
import random
import uuid
from collections.abc import Callable
from typing import Any

import msgspec

from splnode.avro.logical_values import Duration
from splnode.avro.schema import Schema

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
LOGICAL: tuple[dict[str, Any], ...] = (
    {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2},
    {"type": "string", "logicalType": "uuid"},
    {"type": "int", "logicalType": "date"},
    {"type": "int", "logicalType": "time-millis"},
    {"type": "long", "logicalType": "time-micros"},
    {"type": "long", "logicalType": "timestamp-millis"},
    {"type": "long", "logicalType": "local-timestamp-micros"},
    {"type": "long", "logicalType": "timestamp-nanos"},
)
WIDER = {"int": ("long", "float", "double"), "long": ("float", "double"), "float": ("double",), "bytes": ("string",),
         "string": ("bytes",)}  # fmt: skip
NUMBERS = (0, 1, -1, 63, 64, -64, -65, 2**31 - 1, -(2**31), 2**31, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1)
TEXTS = ("", "a", "name", "x" * 31, "x" * 32, "x" * 33, "é", "日本", "\U0001f600", "a\0b", "\x80")
UTC = datetime.UTC


class Schemas:
    """Makes the JSON of one random schema; its named types may be referred to again, also by themselves."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.names: list[str] = []
        self.open: list[str] = []

    def any(self, depth: int = 4) -> Any:
        make: list[Callable[[int], Any]] = [self.primitive, self.primitive, self.logical, self.named]
        if depth > 0:
            make += [self.container, self.record, self.record, self.union]
        return self.rng.choice(make)(depth)

    def primitive(self, depth: int) -> Any:
        return self.rng.choice(PRIMITIVES)

    def logical(self, depth: int) -> Any:
        if self.rng.random() < 0.2:
            return {"type": "fixed", "name": self._name(), "size": 12, "logicalType": "duration"}
        return dict(self.rng.choice(LOGICAL))

    def named(self, depth: int) -> Any:
        if self.names and self.rng.random() < 0.5:
            return self.rng.choice(self.names)
        name = self._name()
        self.names.append(name)
        if self.rng.random() < 0.5:
            return {"type": "fixed", "name": name, "size": self.rng.choice((0, 1, 4, 16))}
        return {"type": "enum", "name": name, "symbols": [f"S{i}" for i in range(self.rng.randint(1, 5))]}

    def container(self, depth: int) -> Any:
        if self.rng.random() < 0.5:
            return {"type": "array", "items": self.any(depth - 1)}
        return {"type": "map", "values": self.any(depth - 1)}

    def record(self, depth: int) -> Any:
        name = self._name()
        self.open.append(name)
        fields = [{"name": f"f{i}", "type": self.any(depth - 1)} for i in range(self.rng.choice((0, 1, 2, 3, 7, 18)))]
        if self.rng.random() < 0.4:
            fields.append({"name": "again", "type": ["null", self.rng.choice(self.open)], "default": None})
        self.open.pop()
        self.names.append(name)
        return {"type": "record", "name": name, "fields": fields}

    def union(self, depth: int) -> Any:
        branches: list[Any] = []
        kinds: set[str] = set()
        for _ in range(self.rng.randint(1, 5)):
            branch = self.any(depth - 1)
            kind = branch if isinstance(branch, str) else branch.get("type") if isinstance(branch, dict) else "union"
            kind = branch["name"] if isinstance(branch, dict) and "name" in branch else kind
            if kind not in kinds and kind != "union":
                kinds.add(kind)
                branches.append(branch)
        return branches or ["null"]

    def _name(self) -> str:
        self.count = getattr(self, "count", 0) + 1
        return f"N{self.count}"


def evolved(rng: random.Random, source: Any) -> Any:
    """A reader for the schema: fields dropped, moved and added, types widened, symbols gone. It may not match."""
    if isinstance(source, str):
        return rng.choice(WIDER[source]) if source in WIDER and rng.random() < 0.3 else source
    if isinstance(source, list):
        branches = [branch for branch in source if rng.random() < 0.9] or source
        return list(reversed(branches)) if rng.random() < 0.3 else branches
    result = dict(source)
    for key in ("items", "values"):
        if key in result:
            result[key] = evolved(rng, result[key])
    if result["type"] == "enum" and len(result["symbols"]) > 1 and rng.random() < 0.5:
        result["symbols"] = result["symbols"][:-1]
        if rng.random() < 0.5:
            result["default"] = result["symbols"][0]
    if result["type"] == "record":
        fields = [dict(field, type=evolved(rng, field["type"])) for field in result["fields"]]
        if rng.random() < 0.3:
            rng.shuffle(fields)
        if rng.random() < 0.4:
            fields.append({"name": "added", "type": {"type": "array", "items": "int"}, "default": [1, 2]})
        result["fields"] = fields
    return result


def value_of(rng: random.Random, schema: Schema, depth: int = 6) -> Any:
    """A value of the schema; seldom one that it refuses."""
    if rng.random() < 0.02:
        return odd_value(rng)
    if schema.logical is not None:
        return _logical_value(rng, schema)
    if schema.is_record:
        return _record_value(rng, schema, depth)
    if schema.kind == "union":
        null = [branch for branch in schema.branches if branch.kind == "null"]
        branches = null if depth <= 0 and null else schema.branches
        return value_of(rng, rng.choice(branches), depth)
    if schema.items is not None:
        count = 0 if depth <= 0 else rng.choice((0, 0, 1, 2, 5))
        if schema.kind == "array":
            return [value_of(rng, schema.items, depth - 1) for _ in range(count)]
        return {rng.choice(TEXTS) + str(i): value_of(rng, schema.items, depth - 1) for i in range(count)}
    return _SIMPLE[schema.kind](rng, schema)


def odd_value(rng: random.Random) -> Any:
    return rng.choice(
        (None, True, 5, 2**40, 2**70, 1.5, 1e300, float("inf"), b"x" * 4, bytearray(b"12"), memoryview(b"1234")[::2],
         "S0", "\ud800", [], (1, "2"), {}, {"f0": 1}, {1: 2}, decimal.Decimal("1.5"), uuid.UUID(int=5), object(),
         Exception)
    )  # fmt: skip


def _record_value(rng: random.Random, schema: Schema, depth: int) -> Any:
    result = {field.name: value_of(rng, field.schema, depth - 1) for field in schema.fields}
    if rng.random() < 0.02:
        result["unknown"] = 1
    if result and rng.random() < 0.05:
        del result[rng.choice(list(result))]
    return result


def _logical_value(rng: random.Random, schema: Schema) -> Any:
    when = datetime.datetime(rng.randint(1, 9999), 3, 4, 5, 6, 7, rng.randint(0, 999_999))
    values: dict[str, Any] = {
        "decimal": decimal.Decimal(rng.randint(-(10**6), 10**6)) / 100,
        "uuid": uuid.UUID(int=rng.getrandbits(128)),
        "date": when.date(),
        "time-millis": when.time(),
        "time-micros": when.time(),
        "timestamp-millis": when.replace(tzinfo=UTC),
        "local-timestamp-micros": when,
        "timestamp-nanos": rng.choice(NUMBERS),
        "duration": Duration(1, 2, rng.choice((3, 2**32))),
    }
    return values[str(schema.logical)]


_SIMPLE: dict[str, Callable[[random.Random, Schema], Any]] = {
    "null": lambda rng, schema: None,
    "boolean": lambda rng, schema: rng.random() < 0.5,
    "int": lambda rng, schema: rng.choice((*NUMBERS[:9], rng.randint(-999, 999))),
    "long": lambda rng, schema: rng.choice((*NUMBERS[:12], rng.getrandbits(rng.randint(1, 62)))),
    "float": lambda rng, schema: rng.choice((0.0, 1.5, -2.25, 3, float("inf"), 1e300 if rng.random() < 0.1 else 0.5)),
    "double": lambda rng, schema: rng.choice((0.0, -0.0, 1e300, 3, rng.random())),
    "bytes": lambda rng, schema: rng.choice((b"", bytearray(b"ab"), memoryview(b"abc"), rng.randbytes(40), b"text")),
    "string": lambda rng, schema: rng.choice(TEXTS),
    "fixed": lambda rng, schema: rng.randbytes(schema.size),
    "enum": lambda rng, schema: rng.choice(schema.symbols),
}

_EXTREMES = (b"\x00", b"\x01", b"\x02", b"\x80", b"\xff", b"\x80" * 9 + b"\x01", b"\xff" * 9 + b"\x01", b"\xff" * 10,
             b"\xff\xff\xff\xff\x0f", b"\xfe\xff\xff\xff\x0f", b"\x80\x80\x80\x80\x80\x40", b"\x03\x02",
             b"\xc3\x28")  # fmt: skip


def damaged(rng: random.Random, data: bytes) -> bytes:
    """The bytes with some changed, cut out, put in, doubled or cut off; or quite other ones."""
    result = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randint(0, len(result))
        action = rng.randrange(6)
        if action == 0 and at < len(result):
            result[at] ^= 1 << rng.randrange(8)
        elif action == 1:
            result[at:at] = rng.choice(_EXTREMES)
        elif action == 2:
            del result[at : at + rng.randint(1, 4)]
        elif action == 3:
            del result[at:]
        elif action == 4:
            result[at : at + 1] = rng.choice(_EXTREMES)
        else:
            result += rng.randbytes(rng.randint(0, 9))
    return bytes(result)


class Structs:
    """Makes a random type to read a schema's values into; each record of one schema has one class."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.classes: dict[str, Any] = {}

    def type_of(self, schema: Schema) -> Any:
        if schema.is_record:
            return self._struct(schema)
        if schema.kind == "array" and schema.items is not None:
            return list[self.type_of(schema.items)]  # type: ignore[misc]  # made here
        if schema.kind == "map" and schema.items is not None:
            return dict[str, self.type_of(schema.items)]  # type: ignore[misc]  # made here
        return Any

    def _struct(self, schema: Schema) -> Any:
        if schema.name in self.classes:
            return self.classes[schema.name]
        self.classes[schema.name] = Any  # within itself
        fields = [(field.name, self.type_of(field.schema)) for field in schema.fields if self.rng.random() < 0.95]
        namespace = {"__post_init__": _dislikes} if self.rng.random() < 0.3 else {}
        made: Any = msgspec.defstruct(
            schema.name,
            fields,
            namespace=namespace,
            kw_only=self.rng.random() < 0.3,
            frozen=self.rng.random() < 0.3,
            rename="camel" if self.rng.random() < 0.1 else None,
        )
        self.classes[schema.name] = made
        return made


def _dislikes(self: Any) -> None:
    if any(getattr(self, name) in ("a", 63, True) for name in self.__struct_fields__):
        raise ValueError("it dislikes that")
