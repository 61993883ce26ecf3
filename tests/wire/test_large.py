"""Large values through both sessions: received by themselves, written as they are, in whatever pieces they come."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from splnode.avro.codec import engine_used
from splnode.errors import RemoteWireError
from splnode.limits import DEFAULT_LIMITS, Limits
from splnode.wire.events import Request
from splnode.wire.message import Contract
from splnode.wire.session import ClientProtocols, ClientSession, Directory, ServerSession
from tests.wire.conftest import protocol

BLOBS = protocol(
    {
        "protocol": "Blobs",
        "types": [
            {
                "type": "record",
                "name": "Blob",
                "fields": [
                    {"name": "name", "type": "string"},
                    {"name": "data", "type": ["null", "bytes"]},
                    {"name": "more", "type": {"type": "array", "items": "bytes"}},
                ],
            }
        ],
        "messages": {
            "swap": {"request": [{"name": "blob", "type": "Blob"}], "response": "Blob"},
            "text": {"request": [{"name": "text", "type": "string"}], "response": "string"},
            "drop": {"request": [{"name": "data", "type": "bytes"}], "response": "null", "one-way": True},
        },
    }
)
LARGE = random.Random(1).randbytes(300_000)
LIMITS = Limits(message_bytes=1_000_000)


class Ends:
    """A client and a server that talk in pieces of the sizes given."""

    def __init__(self, sizes: Iterator[int], limits: Limits = DEFAULT_LIMITS) -> None:
        self.sizes = sizes
        self.client = ClientSession(Contract(BLOBS, limits=limits), limits=limits)
        clients = ClientProtocols(limits)
        self.server = ServerSession(Directory([Contract(BLOBS, limits=limits)]), clients, limits=limits)
        self.client.start()
        self.received: list[Request] = []
        self.spaces = 0
        self.turn()
        self.turn()

    def turn(self) -> list[Any]:
        """What the client has goes to the server, which answers with what it was given; what the client got."""
        for event in self.carry(b"".join(self.client.data_to_send()), self.server):
            if isinstance(event, Request):
                self.received.append(event)
                self.server.respond(event, next(iter(event.params.values())))
        return self.carry(b"".join(self.server.data_to_send()), self.client)

    def carry(self, data: bytes, to: Any) -> list[Any]:
        events: list[Any] = []
        while data:
            count = min(next(self.sizes), len(data))
            space = getattr(to, "space", None)
            if space is None:
                events += to.receive_data(data[:count])
            else:
                self.spaces += 1
                count = min(count, len(space))
                space[:count] = data[:count]
                space.release()
                to.received(count)
                events += to.receive_data(b"")
            data = data[count:]
        return events


def sizes(most: int) -> Iterator[int]:
    dice = random.Random(most)
    while True:
        yield dice.randrange(1, most)


@pytest.mark.parametrize("most", [5_000, 70_000, 1_000_000])
@pytest.mark.parametrize(
    "blob",
    [
        {"name": "alone", "data": LARGE, "more": []},
        {"name": "with others", "data": LARGE, "more": [b"x" * 70_000, b"y"]},
        {"name": "none", "data": None, "more": [b"", LARGE, LARGE[1:]]},
        {"name": "n" * 100_000, "data": LARGE[:1000], "more": []},
    ],
)
def test_records_with_large_values(most: int, blob: dict[str, Any]) -> None:
    ends = Ends(sizes(most))
    for _ in range(3):
        ends.client.call("swap", {"blob": blob}, {"spl-timeout-ms": b"1000"})
        ends.client.call("text", {"text": "between"})
        swapped, between = ends.turn()
        assert (swapped.value, swapped.error) == (blob, None)
        assert between.value == "between"
    assert [request.weight > 0 for request in ends.received] == [True, False] * 3
    if most == 70_000 and (blob["data"] == LARGE or blob["data"] is None):
        assert ends.spaces >= 2 * 3


@pytest.mark.parametrize("most", [5_000, 1_000_000])
def test_long_text_and_one_way_calls(most: int) -> None:
    ends = Ends(sizes(most))
    text = "zwölf" * 40_000
    ends.client.call("text", {"text": text})
    ends.client.call("drop", {"data": LARGE})
    ends.client.call("text", {"text": "behind"})
    assert [event.value for event in ends.turn()] == [text, "behind"]
    assert [request.params for request in ends.received] == [{"text": text}, {"data": LARGE}, {"text": "behind"}]


def test_an_answer_is_the_handlers_own_bytes() -> None:
    ends = Ends(sizes(70_000))
    ends.client.call("swap", {"blob": {"name": "", "data": LARGE, "more": []}})
    (request,) = ends.carry(b"".join(ends.client.data_to_send()), ends.server)
    ends.server.respond(request, {"name": "", "data": LARGE, "more": []})
    parts = ends.server.data_to_send()
    if engine_used() == "native":
        assert any(part is LARGE for part in parts)
        assert request.params["blob"]["data"] == LARGE


def test_a_fault_behind_a_large_value_is_that_calls_own() -> None:
    ends = Ends(sizes(70_000))
    ends.client.call("swap", {"blob": {"name": "", "data": LARGE, "more": []}})
    *frame, end = ends.client.data_to_send()
    data = b"".join((*frame, end))
    assert data.endswith(b"\0")  # no more items
    events = ends.carry(data[:-1] + b"\x01", ends.server)  # a block of -1 items, and nothing behind it
    assert events == []
    (answer,) = ends.carry(b"".join(ends.server.data_to_send()), ends.client)
    assert "cannot be read" in answer.error.message
    ends.client.call("text", {"text": "on"})
    assert [event.value for event in ends.turn()] == ["on"]


def test_what_is_too_large_for_the_limit() -> None:
    ends = Ends(sizes(70_000), LIMITS)
    head = bytes.fromhex("00000007 00000001") + (LIMITS.message_bytes + 1).to_bytes(4)
    with pytest.raises(RemoteWireError, match="message_bytes"):
        ends.carry(head + LARGE, ends.server)


def test_a_handshake_may_be_large_too() -> None:
    ends = Ends(sizes(20_000))
    hello = ends.client._greeting.request(2)
    ends.client.call("drop", {"data": LARGE})
    body = b"".join(ends.client.data_to_send())[12:]
    frame = bytes.fromhex("00000009 00000001") + (len(hello) + len(body)).to_bytes(4) + hello + body
    (request,) = ends.carry(frame, ends.server)
    assert request.params == {"data": LARGE}
    assert not request.one_way
