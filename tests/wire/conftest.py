"""Protocols, sessions and bytes that the wire's tests share."""

import json
import struct
from collections.abc import Iterable
from typing import Any

import pytest

from splnode.avro.protocol import Protocol
from splnode.limits import DEFAULT_LIMITS, Limits
from splnode.wire.message import Contract
from splnode.wire.session import ClientProtocols, ClientSession, Directory, ServerSession


def calculator(**extra: Any) -> dict[str, Any]:
    return {
        "protocol": "Calculator",
        "namespace": "org.example",
        "types": [
            {"type": "error", "name": "Overflow", "fields": [{"name": "limit", "type": "long"}]},
            {"type": "error", "name": "DivisionByZero", "fields": [{"name": "self", "type": "string", "default": "?"}]},
        ],
        "messages": {
            "add": {
                "request": [{"name": "a", "type": "int"}, {"name": "b", "type": "int"}],
                "response": "int",
                "errors": ["Overflow", "DivisionByZero"],
            },
            "echo": {"request": [{"name": "text", "type": "string"}], "response": "string"},
            "nothing": {"request": [], "response": "null"},
            "log": {"request": [{"name": "line", "type": "string"}], "response": "null", "one-way": True},
        },
        **extra,
    }


def protocol(source: dict[str, Any]) -> Protocol:
    return Protocol.parse(json.dumps(source))


CALCULATOR = protocol(calculator())
OTHER = protocol(
    {
        "protocol": "Other",
        "namespace": "org.example",
        "messages": {"greet": {"request": [{"name": "name", "type": "string"}], "response": "string"}},
    }
)


class Wire:
    """A server session and what a test says to it."""

    def __init__(self, *protocols: Protocol, clients: ClientProtocols | None = None, **options: Any) -> None:
        limits = options.get("limits", DEFAULT_LIMITS)
        default = options.pop("default", None)
        self.clients = ClientProtocols(limits) if clients is None else clients
        self.directory = Directory([Contract(each, limits=limits) for each in protocols or (CALCULATOR,)], default)
        self.server = ServerSession(self.directory, self.clients, **options)

    def feed(self, data: bytes) -> list[Any]:
        return self.server.receive_data(data)

    def sent(self) -> bytes:
        return b"".join(self.server.data_to_send())


def hex_bytes(text: str) -> bytes:
    return bytes.fromhex(text)


def netty(serial: int, *buffers: bytes) -> bytes:
    return struct.pack(">II", serial, len(buffers)) + b"".join(struct.pack(">I", len(b)) + b for b in buffers)


def spec(*buffers: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(b)) + b for b in buffers) + b"\0\0\0\0"


def handshake(client: bytes, server: bytes, text: str | None = None, meta: bytes = b"\0") -> bytes:
    written = b"\0" if text is None else b"\x02" + long(len(text.encode())) + text.encode()
    return client + written + server + meta


def long(value: int) -> bytes:
    rest, out = (value << 1) ^ (value >> 63), bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*out, rest])


def string(text: str) -> bytes:
    return long(len(text.encode())) + text.encode()


def pump(client: ClientSession, server: ServerSession) -> tuple[list[Any], list[Any]]:
    """Carries bytes both ways until nobody has any; the events of the client and of the server."""
    at_client: list[Any] = []
    at_server: list[Any] = []
    while True:
        up, down = b"".join(client.data_to_send()), b"".join(server.data_to_send())
        if not up and not down:
            return at_client, at_server
        if up:
            at_server += server.receive_data(up)
        if down:
            at_client += client.receive_data(down)


def pieces(data: bytes) -> Iterable[bytes]:
    return (data[i : i + 1] for i in range(len(data)))


@pytest.fixture
def small_limits() -> Limits:
    return Limits(
        message_bytes=1000, message_buffers=8, protocol_bytes=4000, calls_per_connection=3, metadata_entries=4
    )


def take_all(reader):
    """Every whole message that a reader has, three at a time."""
    out = []
    while messages := reader.take(3):
        out += messages
    return out


def read(reader, chunks):
    """Every message of these chunks."""
    out = []
    for chunk in chunks:
        reader.feed(chunk)
        out += take_all(reader)
    return out
