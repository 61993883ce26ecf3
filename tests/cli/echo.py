"""A service for the shell's tests, and a thread that serves it as a node or as a stock Avro server would."""

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import splnode
from splnode.avro.fingerprint import crc64_avro
from splnode.avro.json_value import JSON_AVSC, RECORD_AVSC, make_record
from splnode.avro.protocol import Protocol
from splnode.avro.schema import parse_schema
from splnode.avro.single_object import show
from splnode.errors import CallError, Code, DeclaredError
from splnode.rpc.call import current_call
from splnode.services.health import HealthService
from splnode.services.reflection import ReflectionService

SHIPPED = Path(splnode.__file__).parent / "protocols"
CELSIUS_AVSC = '{"type": "record", "name": "Celsius", "fields": [{"name": "degrees", "type": "double"}]}'
CELSIUS = parse_schema(CELSIUS_AVSC)

TEXT = json.dumps({
    "protocol": "Echo", "namespace": "test", "doc": "Gives back what it gets.",
    "types": [
        json.loads(RECORD_AVSC),
        {"type": "enum", "name": "Color", "symbols": ["RED", "BLUE"]},
        {"type": "fixed", "name": "Two", "size": 2},
        {"type": "record", "name": "Node", "fields": [
            {"name": "value", "type": "int", "default": 0},
            {"name": "node", "type": ["null", "Node"], "default": None},
        ]},
        {"type": "record", "name": "Thing", "doc": "What is given back.", "fields": [
            {"name": "text", "type": "string", "doc": "Any text."},
            {"name": "data", "type": "bytes", "default": ""},
            {"name": "color", "type": "Color", "default": "RED"},
            {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []},
            {"name": "maybe", "type": ["null", "long", "string"], "default": None},
        ]},
        {"type": "error", "name": "Missing", "fields": [
            {"name": "what", "type": "string"}, {"name": "near", "type": "bytes"},
        ]},
    ],
    "messages": {
        "thing": {"doc": "A thing, unchanged.", "request": [{"name": "request", "type": "Thing"}], "response": "Thing"},
        "tree": {"request": [{"name": "node", "type": "Node"}], "response": "Node"},
        "add": {"doc": "The sum.", "idempotent": True, "response": "int",
                "request": [{"name": "a", "type": "int", "doc": "One."}, {"name": "b", "type": "int", "default": 2}]},
        "fail": {"request": [{"name": "code", "type": "string"}], "response": "null", "errors": ["Missing"]},
        "wait": {"request": [], "response": "null"},
        "note": {"request": [{"name": "text", "type": "string"}], "response": "null", "one-way": True},
        "headers": {"request": [], "response": {"type": "map", "values": "bytes"}},
        "record": {"request": [{"name": "kind", "type": "string"}], "response": "splnode.Record"},
        "open": {"request": [{"name": "value", "type": "splnode.Record"}], "response": "splnode.Record"},
    },
})  # fmt: skip
PROTOCOL = Protocol.parse(TEXT)
assert JSON_AVSC


class Missing(DeclaredError):
    schema_name = "test.Missing"


class Echo:
    """Implements test.Echo; `notes` are the texts of one-way calls."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def thing(self, request: dict[str, Any]) -> dict[str, Any]:
        return request

    def tree(self, node: dict[str, Any]) -> dict[str, Any]:
        return node

    def add(self, a: int, b: int) -> int:
        return a + b

    def fail(self, code: str) -> None:
        if code == "declared":
            raise Missing(what="it", near=b"\x00\xff")
        raise CallError(Code[code], "as asked")

    async def wait(self) -> None:
        await asyncio.Event().wait()

    def note(self, text: str) -> None:
        self.notes.append(text)

    def headers(self) -> dict[str, bytes]:
        call = current_call()
        call.answer_metadata = {"answer": b"42"}
        return {key: value for key, value in call.metadata.items() if not key.startswith("spl-")}

    def record(self, kind: str) -> dict[str, Any]:
        known = CELSIUS if kind == "known" else parse_schema('{"type": "enum", "name": "Lost", "symbols": ["A"]}')
        return make_record(known, {"degrees": 21.5} if kind == "known" else "A")

    def open(self, value: dict[str, Any]) -> dict[str, Any]:
        return value


async def schema_text(fingerprint: str) -> str | None:
    return CELSIUS_AVSC if fingerprint == show(crc64_avro(CELSIUS)) else None


@contextmanager
def serving(
    listen: list[str], *, stock: bool = False, more: Mapping[Protocol, object] = MappingProxyType({})
) -> Iterator[list[str]]:
    """Serves Echo in a thread, with health and reflection unless it is a `stock` server, and what is said besides;
    gives the endpoints."""
    echo, health = Echo(), HealthService()
    services: dict[Protocol, object] = {PROTOCOL: echo, **more}
    if not stock:
        services[Protocol.load(SHIPPED / "splnode.Health.avpr")] = health
        services[Protocol.load(SHIPPED / "splnode.Reflection.avpr")] = ReflectionService(
            lambda: list(services), [schema_text]
        )
        health.set("", "SERVING")
        health.set("test.Echo", "SERVING")
        health.set("test.Tired", "NOT_SERVING")
    found: list[str] = []
    loop, started, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with splnode.listen(listen, services) as server:
            found.extend(str(endpoint) for endpoint in server.endpoints)
            started.set()
            await stop.wait()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run, name="echo")
    thread.start()
    assert started.wait(10)
    try:
        yield found
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
