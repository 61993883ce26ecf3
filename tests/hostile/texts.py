"""Protocol texts that mean harm: each as long as it may be, and made of what costs most to read."""

import json
from collections.abc import Callable, Iterable
from typing import Any

LONGEST = 256 * 1024

Types = list[dict[str, Any]]


def dumps(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def protocol(types: Iterable[Any] = (), messages: dict[str, Any] | None = None, **more: Any) -> str:
    return dumps({"protocol": "Hostile", "types": list(types), "messages": messages or {}, **more})


def many(make: Callable[[int], dict[str, Any]], room: int = LONGEST - 2000) -> Types:
    """As many types as fit."""
    types: Types = []
    size = 0
    while True:
        size += len(dumps(made := make(len(types)))) + 1
        if size > room:
            return types
        types.append(made)


def fixed(number: int) -> dict[str, Any]:
    return {"type": "fixed", "name": f"F{number}", "size": 1}


def record(name: str, *fields: Any, **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields), **more}


def field(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


def doubling(number: int) -> dict[str, Any]:
    """R_n has two R_(n-1): 2 kB of schema, 2^60 values and no bytes."""
    before = f"R{number - 1}"
    return record(f"R{number}", *([field("a", before), field("b", before)] if number else []))


def nested(kind: str, key: str, levels: int) -> Any:
    made: Any = "int"
    for _ in range(levels):
        made = {"type": kind, key: made}
    return made


def defaulted(number: int) -> dict[str, Any]:
    """Like `doubling`, but in defaults."""
    before = f"L{number - 1}"
    return record(f"L{number}", *([field("a", before, default={}), field("b", before, default={})] if number else []))


FIXED = [fixed(number) for number in range(250)]
UNION = [each["name"] for each in FIXED]

READABLE = {
    "a chain of records": protocol(many(doubling)),
    "6,500 fixed types": protocol(many(fixed)),
    "thousands of enums": protocol(many(lambda n: {"type": "enum", "name": f"E{n}", "symbols": ["a"]})),
    "records of 4,000 fields": protocol(many(lambda n: record(f"R{n}", *(field(f"f{i}", "int") for i in range(4000))))),
    "6,000 messages": protocol(messages={f"m{n}": {"request": [], "response": "null"} for n in range(5800)}),
    "100 messages of 250 errors": protocol(
        [{"type": "error", "name": f"X{n}", "fields": []} for n in range(250)],
        {f"m{n}": {"request": [], "response": "null", "errors": [f"X{i}" for i in range(250)]} for n in range(100)},
    ),
    "the largest unions": protocol(
        [*FIXED, *(record(f"U{n}", *(field(f"f{i}", UNION) for i in range(10))) for n in range(13))]
    ),
    "4,000 arrays": protocol([record("R", *(field(f"f{i}", nested("array", "items", 1)) for i in range(3900)))]),
    "maps of maps of maps": protocol([record("R", *(field(f"f{i}", nested("map", "values", 25)) for i in range(350)))]),
    "unions with defaults": protocol(
        [record("R", *(field(f"f{i}", ["null", "int", "string"], default=None) for i in range(3900)))]
    ),
    "18,000 keys of its own": protocol(**{f"x{n}": n for n in range(17_000)}),
    "a long text about itself": protocol(doc="x" * 250_000),
    "nothing but escapes": protocol(doc="\u0001" * 40_000),
    "numbers": protocol(x=[1.5] * 60_000),
    "numbers of 4,200 digits": '{"protocol":"P","types":[],"messages":{},"x":[' + ",".join(["9" * 4200] * 58) + "]}",
    "empty objects": protocol(x=[{}] * 80_000),
    "brackets in brackets": '{"protocol":"P","types":[],"messages":{},"x":['
    + ",".join(["[" * 60 + "]" * 60] * 2100)
    + "]}",
    "decimals": protocol(many(lambda n: {**fixed(n), "size": 2000, "logicalType": "decimal", "precision": 4000})),
}
"""What is a protocol, and served like any other."""

REFUSED = {
    "deep JSON": "[" * 250_000,
    "half a string": '"' + '\\"' * 125_000,
    "a million symbols": protocol([{"type": "enum", "name": "E", "symbols": [f"s{n}" for n in range(1_000_000)]}]),
    "one name twice": protocol([fixed(1), fixed(1)]),
    "one key twice": '{"protocol":"P","types":[],"messages":{},'
    + ",".join(f'"k{n}":0' for n in range(20_000))
    + ',"k5":1}',
    "a default that does not fit": protocol([record("R", field("f", "int", default="x"))]),
    "a default of 120,000 items": protocol(
        [record("R", field("f", nested("array", "items", 1), default=[1] * 120_000))]
    ),
    "defaults that double": protocol([defaulted(n) for n in range(60)]),
    "a union of 20,000 branches": protocol([record("R", field("f", [f"F{n}" for n in range(20_000)]))]),
    "a name of 80,000 characters": protocol([{**fixed(1), "name": "a." * 40_000 + "b"}]),
    "a namespace of 40,000 characters": protocol(
        [record("a." * 20_000 + "b", *(field(f"f{n}", fixed(n)) for n in range(2000)))]
    ),
    "what nobody has declared": protocol([record("R", field("f", "x" * 200_000))]),
    "no protocol": "5",
    "half a character": '{"protocol":"P\\ud800"}',
    "not a number": '{"protocol":"P","types":[],"messages":{},"x":' + "9" * 5000 + "}",
}
"""What is none, and ends its connection."""


def executing(types: Iterable[Any] = (), *fields: Any, value: Any = None) -> str:
    """SPLExecuteService as a client may know it: with types of its own, and more fields in the request."""
    request = record(
        "ExecuteRequest",
        field("module", "string"),
        field("headers", {"type": "map", "values": "string"}),
        field("value", value or ["null", "string"]),
        field("schema", ["null", "string"]),
        *fields,
    )
    return dumps({
        "protocol": "SPLExecuteService",
        "types": [*types, request],
        "messages": {
            "execute": {
                "request": [field("request", "ExecuteRequest")],
                "response": record("ExecuteResponse"),
            }
        },
    })  # fmt: skip


CHAIN = many(doubling, LONGEST - 3000)
RESOLVED = {
    "a chain": executing(CHAIN, field("x", CHAIN[-1]["name"])),
    "3,900 fields to skip": executing((), *(field(f"f{n}", nested("array", "items", 1)) for n in range(3900))),
    "records to skip": executing(
        (pair := many(lambda n: record(f"R{n}", *(field(f"f{i}", "int") for i in range(4000))), LONGEST - 20_000)),
        *(field(f"x{n}", each["name"]) for n, each in enumerate(pair)),
    ),
    "large unions to skip": executing(FIXED, *(field(f"f{n}", UNION) for n in range(120))),
    "a value of 240 records": executing(
        value=["null", "string"]
        + [record(f"n{n}.Record", *(field(f"f{i}", "int") for i in range(30))) for n in range(240)]
    ),
    "maps to skip": executing((), *(field(f"f{n}", nested("map", "values", 25)) for n in range(340))),
    "an enum to skip": executing(
        [{"type": "enum", "name": "E", "symbols": [f"s{n}" for n in range(24_000)]}], field("x", "E")
    ),
}
"""Protocols of clients whose call has to be resolved against ours."""
