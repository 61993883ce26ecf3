"""Both ends against each other, in memory: every framing, the handshake in its variants, calls and errors."""

import json

import pytest

from splnode.errors import CallError, Code, DeclaredError
from splnode.wire.events import Ready, Request, Response
from splnode.wire.message import Contract
from splnode.wire.session import ClientSession
from tests.wire.conftest import CALCULATOR, OTHER, Wire, calculator, protocol, pump

STATEFUL = ("netty", "spec", "sasl")


class Overflow(DeclaredError):
    schema_name = "org.example.Overflow"


def connected(framing: str = "netty", *, own=CALCULATOR, **options):
    wire = Wire(**options)
    client = ClientSession(Contract(own), framing=framing)
    client.start()
    events, requests = pump(client, wire.server)
    assert [type(each) for each in events] == [Ready]
    assert not requests
    return client, wire.server


@pytest.mark.parametrize("framing", STATEFUL)
def test_call_and_answer(framing):
    client, server = connected(framing)
    assert server.framing == framing
    serial = client.call("add", {"a": 2, "b": 40}, {"x-trace": b"abc123"})
    _, (request,) = pump(client, server)
    assert isinstance(request, Request)
    assert request.message.name == "add"
    assert request.params == {"a": 2, "b": 40}
    assert request.metadata == {"x-trace": b"abc123"}
    assert server.in_flight == 1
    server.respond(request, 42, {"spl-load": b"0.5"})
    (response,), _ = pump(client, server)
    assert isinstance(response, Response)
    assert (response.serial, response.value, response.error) == (serial, 42, None)
    assert response.metadata == {"spl-load": b"0.5"}
    assert server.in_flight == client.in_flight == 0


@pytest.mark.parametrize("framing", STATEFUL)
def test_errors(framing):
    client, server = connected(framing)
    for _ in range(3):
        client.call("add", {"a": 1, "b": 1})
    _, requests = pump(client, server)
    server.fail(requests[0], Overflow(limit=7))
    server.fail(requests[1], CallError(Code.NOT_FOUND, "no such thing", retry_after=1.5, started=False))
    server.fail(requests[2], CallError(Code.UNKNOWN, "ü" * 20_000))
    (declared, system, long), _ = pump(client, server)
    assert type(declared.error).schema_name == "org.example.Overflow"
    assert declared.error.limit == 7
    assert system.error.code is Code.NOT_FOUND
    assert (system.error.message, system.error.remote) == ("no such thing", True)
    assert (system.error.retry_after, system.error.started) == (1.5, False)
    assert long.error.started
    assert long.error.retry_after is None


def test_discover():
    empty = protocol({"protocol": "Empty", "messages": {}})
    client, _ = connected(own=empty)
    assert client.server == CALCULATOR


@pytest.mark.parametrize("framing", STATEFUL)
def test_other_version_of_one_of_many(framing):
    newer = calculator()
    newer["messages"]["add"]["request"].append({"name": "c", "type": "int", "default": 3})
    wire = Wire(OTHER, protocol(newer))
    client = ClientSession(Contract(CALCULATOR), framing=framing)
    client.call("add", {"a": 1, "b": 2})
    client.start()
    (ready,), (request,) = pump(client, wire.server)
    assert json.loads(ready.server.text) == newer
    assert request.params == {"a": 1, "b": 2, "c": 3}
