"""A session that shares its holder's loop: short turns, and what may take long given away."""

import json

import pytest

from splnode.errors import RemoteWireError
from splnode.limits import Limits
from splnode.wire.events import Errand, Request
from splnode.wire.inbound import TURN
from splnode.wire.intake import HEAVY
from splnode.wire.message import QUICK_NODES
from splnode.wire.server import LONG_TEXT
from tests.wire.conftest import CALCULATOR, OTHER, Wire, calculator, handshake, long, netty, protocol, spec, string
from tests.wire.test_server import ADD, BOTH, OWN, PING, STRANGE, established, replies

NEWER = protocol(calculator(doc="newer"))
LONG = protocol(calculator(doc="x" * LONG_TEXT))


def requests(events):
    return [event for event in events if type(event) is Request]


def errand(events) -> Errand:
    assert type(events[-1]) is Errand
    return events[-1]


def test_a_turn_ends_and_goes_on():
    wire = established(cooperative=True)
    events = wire.feed(b"".join(netty(serial, ADD) for serial in range(2 * TURN + 5)) + netty(9, PING)[:5])
    assert [len(requests(events)), wire.server.pending, wire.server.full] == [TURN, True, False]
    assert len(requests(wire.feed(b""))) == TURN
    assert wire.server.pending
    events = wire.feed(b"")
    assert [event.serial for event in requests(events)] == list(range(2 * TURN, 2 * TURN + 5))
    assert not wire.server.pending
    assert wire.feed(netty(9, PING)[5:]) == []
    assert replies(wire.sent()) == [(9, PING)]


def test_the_end_waits_for_the_last_turn():
    wire = established(cooperative=True)
    wire.feed(netty(1, ADD) * (TURN + 1))
    assert len(requests(wire.server.receive_eof())) == 1
    assert not wire.server.pending


@pytest.mark.parametrize("behind", [b"", ADD])
def test_a_text_is_read_by_an_errand(behind):
    wire = Wire(cooperative=True)
    given = errand(wire.feed(netty(0, handshake(NEWER.md5, OWN, NEWER.text), behind or PING) + netty(1, PING)))
    assert given.size == len(NEWER.text)
    assert wire.server.full
    assert wire.feed(b"") == []
    assert wire.sent() == b""
    given.run()
    events = requests(wire.feed(b""))
    if behind:
        assert [event.params for event in events] == [{"a": 2, "b": 40}]
        wire.server.respond(events[0], 42)
        wire.feed(b"")
    answered = replies(wire.sent())
    assert [serial for serial, _ in answered] == [0, 1]
    assert answered[0][1].startswith(BOTH)
    assert not wire.server.full
    # From now on it is known, here and on the other connections of the port.
    other = Wire(clients=wire.clients, cooperative=True)
    assert other.feed(netty(0, handshake(NEWER.md5, OWN, NEWER.text), PING)) == []
    assert replies(other.sent()) == [(0, BOTH + PING)]


def test_our_own_text_needs_no_errand():
    wire = Wire(cooperative=True)
    assert wire.feed(netty(0, handshake(OWN, OWN, CALCULATOR.text), PING)) == []
    assert replies(wire.sent()) == [(0, BOTH + PING)]


def test_a_text_that_is_no_protocol_ends_the_connection_after_the_errand():
    wire = Wire(cooperative=True)
    errand(wire.feed(netty(0, handshake(STRANGE, OWN, "{"), PING))).run()
    with pytest.raises(RemoteWireError, match="the client's protocol cannot be read"):
        wire.feed(b"")


def test_the_end_of_the_stream_waits_for_the_errand():
    wire = Wire(cooperative=True)
    given = errand(wire.feed(spec(handshake(NEWER.md5, OWN, NEWER.text), ADD)))
    assert wire.server.receive_eof() == []
    given.run()
    assert len(requests(wire.feed(b""))) == 1


def test_over_http_too():
    wire = Wire(cooperative=True, framing="http")
    given = errand(wire.feed(spec(handshake(NEWER.md5, OWN, NEWER.text), ADD)))
    assert wire.server.receive_eof() == []
    given.run()
    (request,) = requests(wire.feed(b""))
    wire.server.respond(request, 42)
    assert wire.sent() == spec(BOTH, b"\0", b"\0", b"\x54")


def test_calls_behind_an_errand_keep_their_order():
    wire = established(OTHER, CALCULATOR, cooperative=True)
    new = netty(2, handshake(OWN, OWN, json.dumps(calculator(doc="once more"))), PING)
    events = wire.feed(netty(1, ADD) + new + netty(3, ADD) + netty(4, ADD))
    assert [event.serial for event in requests(events)] == [1]
    errand(events).run()
    assert [event.serial for event in requests(wire.feed(b""))] == [3, 4]


def test_a_message_of_a_long_protocol_is_resolved_by_an_errand():
    wire = Wire(cooperative=True)
    errand(wire.feed(netty(0, handshake(LONG.md5, OWN, LONG.text), PING))).run()
    assert wire.feed(b"") == []
    events = wire.feed(netty(1, ADD) + netty(2, ADD) + netty(3, b"\0" + string("unknown")))
    assert len(events) == 1
    errand(events).run()
    assert [event.serial for event in requests(wire.feed(b""))] == [1, 2]
    assert [serial for serial, _ in replies(wire.sent())] == [0, 3]
    # A handshake with a call resolves before it is answered, once.
    events = wire.feed(netty(4, handshake(LONG.md5, OWN), b"\0" + string("echo") + string("a")))
    errand(events).run()
    (request,) = requests(wire.feed(b""))
    wire.server.respond(request, "a")
    assert replies(wire.sent()) == [(4, BOTH + b"\0\0" + string("a"))]


def test_a_connection_may_not_hold_too_many_large_calls():
    limits = Limits(message_bytes=2 * HEAVY, connection_bytes=8 * HEAVY)
    wire = established(limits=limits)
    large = b"\0" + string("echo") + string("x" * HEAVY)
    most = -(-limits.connection_bytes // len(large))
    events = requests(wire.feed(b"".join(netty(serial, large) for serial in range(most + 3))))
    assert len(events) == most
    assert wire.server.full
    wire.server.respond(events[0], "")
    assert len(requests(wire.feed(b""))) == 1
    assert wire.server.full
    for event in events[1:]:
        wire.server.respond(event, "")
    assert len(requests(wire.feed(b""))) == 2
    assert not wire.server.full


def test_unread_counts_what_is_no_message_yet():
    wire = established()
    whole = netty(1, b"\0" + string("echo") + b"\xd0\x0f", b"x" * 600, b"y" * 400)
    wire.feed(whole[:-200])
    assert wire.server.unread >= 800
    assert len(requests(wire.feed(whole[-200:]))) == 1
    assert wire.server.unread == 0


# -- a datum of many values

MANY = QUICK_NODES + 100
LISTS = protocol(
    {
        "protocol": "Lists",
        "messages": {
            "take": {"request": [{"name": "items", "type": {"type": "array", "items": "int"}}], "response": "int"}
        },
    }
)
TAKE = b"\0" + string("take")
ITEMS = long(MANY) + b"\x02" * MANY + b"\0"


def lists(**options):
    wire = Wire(LISTS, **options)
    wire.feed(netty(0, handshake(LISTS.md5, LISTS.md5), PING))
    wire.sent()
    return wire


def test_a_datum_of_many_values_is_read_by_an_errand():
    wire = lists(cooperative=True)
    events = wire.feed(netty(1, TAKE + b"\x02\x54\0") + netty(2, TAKE + ITEMS) + netty(3, TAKE + b"\0"))
    assert [event.serial for event in requests(events)] == [1]
    errand(events).run()
    fat, last = requests(wire.feed(b""))
    assert (fat.serial, fat.params, last.serial) == (2, {"items": [1] * MANY}, 3)
    assert fat.weight > 8 * MANY
    assert not wire.server.full
    for event in (*requests(events), fat, last):
        wire.server.respond(event, 0)
    assert len(replies(wire.sent())) == 3


def test_without_an_errand_it_is_read_at_once():
    (request,) = requests(lists().feed(netty(2, TAKE + ITEMS)))
    assert len(request.params["items"]) == MANY


@pytest.mark.parametrize("behind", [b"", TAKE + ITEMS])
def test_in_the_message_of_the_handshake_too(behind):
    wire = Wire(LISTS, cooperative=True)
    events = wire.feed(netty(0, handshake(LISTS.md5, LISTS.md5), TAKE + ITEMS) + (netty(1, behind) if behind else b""))
    assert wire.sent() == b""
    errand(events).run()
    (request,) = requests(wire.feed(b""))
    wire.server.respond(request, 1)
    assert replies(wire.sent()) == [(0, BOTH + b"\0\0\x02")]
    if behind:
        errand(wire.feed(b"")).run()
        assert len(requests(wire.feed(b""))) == 1


def test_over_http_it_is_read_by_an_errand_too():
    wire = Wire(LISTS, cooperative=True, framing="http")
    events = wire.feed(spec(handshake(LISTS.md5, LISTS.md5), TAKE + ITEMS))
    assert wire.server.receive_eof() == []
    errand(events).run()
    assert len(requests(wire.feed(b""))) == 1


@pytest.mark.parametrize(
    ("items", "why"),
    [
        (ITEMS[:-1], "the data end"),
        (ITEMS + b"\0", "behind the parameters"),
        (long(10**6) + b"\0" * 10**6 + b"\0", "nodes"),
    ],
)
def test_what_the_errand_finds_wrong_is_the_fault_of_its_call_alone(items, why):
    wire = lists(cooperative=True)
    errand(wire.feed(netty(1, TAKE + items) + netty(2, TAKE + b"\0"))).run()
    (request,) = requests(wire.feed(b""))
    assert (request.serial, wire.server.in_flight) == (2, 1)
    ((serial, answer),) = replies(wire.sent())
    assert serial == 1
    assert why.encode() in answer
    assert str(QUICK_NODES).encode() not in answer
