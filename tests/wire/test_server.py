"""The server's end, with literal bytes: the captured exchange, the nine rules, and what garbage does."""

import json
import struct

import pytest

from splnode.errors import CallError, Code, DeclaredError, EncodeError, LimitExceeded, LocalWireError, RemoteWireError
from splnode.limits import Limits
from splnode.wire.directory import ClientProtocols
from splnode.wire.events import Cancel, Handover, Request
from tests.wire.conftest import (
    CALCULATOR,
    OTHER,
    Wire,
    calculator,
    handshake,
    hex_bytes,
    netty,
    pieces,
    protocol,
    spec,
    string,
)

OWN = CALCULATOR.md5
STRANGE = bytes(range(100, 116))
NONE = b"\x04\x02" + string(CALCULATOR.text) + b"\x02" + OWN + b"\0"
CLIENT = b"\x02" + NONE[1:]
BOTH = bytes(4)
PING = b"\0\0"
ADD = b"\0" + string("add") + b"\x04\x50"


def replies(data: bytes) -> list[tuple[int, bytes]]:
    """The frames of a Netty stream."""
    found, at = [], 0
    while at < len(data):
        serial, count, length = struct.unpack_from(">III", data, at)
        assert count == 1
        found.append((serial, data[at + 12 : at + 12 + length]))
        at += 12 + length
    return found


def established(*protocols, hash_=OWN, **options):
    wire = Wire(*protocols, **options)
    assert wire.feed(netty(0, handshake(hash_, OWN) + PING)) == []
    assert replies(wire.sent()) == [(0, BOTH + PING)]
    return wire


class Overflow(DeclaredError):
    schema_name = "org.example.Overflow"


# -- the captured exchange with avsc, and the same over the specification's framing


AVSC = (
    b"\0\0\0\0\0\0\0\x02\0\0\0\x22" + OWN + b"\0" + OWN + b"\0" + hex_bytes("00000002 0000")
    + hex_bytes("00000001 00000001 00000017 02 0e") + b"x-trace" + hex_bytes("0c") + b"abc123"
    + hex_bytes("00 06") + b"add" + hex_bytes("0450")
)  # fmt: skip


@pytest.mark.parametrize("chunks", [pieces, lambda data: [data]])
def test_avsc_exchange(chunks):
    wire = Wire()
    events = [event for chunk in chunks(AVSC) for event in wire.feed(chunk)]
    assert wire.server.framing == "netty"
    (request,) = events
    assert isinstance(request, Request)
    assert (request.serial, request.message.name, request.params) == (1, "add", {"a": 2, "b": 40})
    assert request.metadata == {"x-trace": b"abc123"}
    assert request.contract.protocol is CALCULATOR
    assert not request.one_way
    wire.server.respond(request, 42)
    assert wire.sent() == hex_bytes("00000000 00000001 00000006 00000000 0000  00000001 00000001 00000003 0000 54")


@pytest.mark.parametrize("chunks", [pieces, lambda data: [data]])
def test_trailing_junk_closes_after_the_call(chunks):
    wire = Wire()
    events = []
    with pytest.raises(RemoteWireError, match="buffers"):
        for chunk in chunks(AVSC + b"\xff" * 12):
            events += wire.feed(chunk)
        wire.feed(b"")
    assert [event.serial for event in events] == [1]
    assert wire.server.failed is not None
    wire.sent()
    with pytest.raises(RemoteWireError):
        wire.feed(b"more")


@pytest.mark.parametrize("chunks", [pieces, lambda data: [data]])
def test_spec_exchange(chunks):
    """The layout that every peer takes: separate buffers that are not empty, and one terminator."""
    data = spec(handshake(OWN, OWN), b"\0", string("add"), b"\x04\x50") + spec(b"\0" + string("nothing"))
    wire = Wire()
    events = [event for chunk in chunks(data) for event in wire.feed(chunk)]
    assert wire.server.framing == "spec"
    assert len(events) == 1  # rule 9
    wire.server.respond(events[0], 42, {"k": b"v"})
    (second,) = wire.feed(b"")
    wire.server.respond(second, None)
    assert wire.sent() == spec(BOTH, b"\x02\x02k\x02v\0", b"\0", b"\x54") + spec(b"\0", b"\0")


# -- handshakes


@pytest.mark.parametrize("framing", ["netty", "spec"])
def test_unknown_client_gets_none_then_both(framing):
    """Rules 1 and 3; the second time the server's word for it is enough (rule 7)."""
    text = json.dumps(calculator(doc="another text"))
    client = protocol(calculator(doc="another text")).md5
    frame = (lambda serial, *b: netty(serial, b"".join(b))) if framing == "netty" else (lambda serial, *b: spec(*b))
    wire = Wire()
    wire.feed(frame(0, handshake(client, client), PING))
    assert wire.sent() == frame(0, NONE, b"\0", b"\0")
    wire.feed(frame(1, handshake(client, OWN, text), PING))
    assert wire.sent() == frame(1, BOTH, b"\0", b"\0")
    second = Wire(clients=wire.clients)
    second.feed(frame(0, handshake(client, OWN), PING))
    assert second.sent() == frame(0, BOTH, b"\0", b"\0")
    third = Wire(clients=wire.clients)
    third.feed(frame(0, handshake(client, client), PING))
    assert third.sent() == frame(0, CLIENT, b"\0", b"\0")


def test_none_even_where_the_guess_of_our_hash_was_right():
    wire = Wire()
    wire.feed(netty(0, handshake(STRANGE, OWN) + PING))
    assert replies(wire.sent()) == [(0, NONE + PING)]


def test_text_is_never_answered_by_none():
    unlike = protocol({"protocol": "Unlike", "messages": {"add": {"request": [], "response": "string"}}})
    wire = Wire()
    wire.feed(netty(0, handshake(unlike.md5, STRANGE, unlike.text) + b"\0" + string("add")))
    ((_, reply),) = replies(wire.sent())
    assert reply.startswith(CLIENT)
    assert b"FAILED_PRECONDITION" in reply
    assert wire.server.in_flight == 0


def test_no_call_is_run_on_none():
    wire = Wire()
    assert wire.feed(netty(0, handshake(STRANGE, STRANGE) + ADD)) == []
    assert replies(wire.sent()) == [(0, NONE + PING)]


@pytest.mark.parametrize("framing", ["netty", "spec"])
def test_handshake_without_a_call(framing):
    wire = Wire()
    frame = netty if framing == "netty" else (lambda _, data: spec(data))
    wire.feed(frame(0, handshake(STRANGE, STRANGE)))
    wire.feed(frame(1, handshake(OWN, OWN)))
    if framing == "netty":
        assert replies(wire.sent()) == [(0, NONE + PING), (1, BOTH + PING)]
    else:
        assert wire.sent() == spec(NONE, b"\0", b"\0") + spec(BOTH, b"\0", b"\0")


def test_a_liar_is_known_on_its_own_connection_only():
    text = json.dumps(calculator(doc="liar"))
    wire = Wire()
    wire.feed(netty(0, handshake(STRANGE, OWN, text) + PING))
    (request,) = wire.feed(netty(1, ADD))
    wire.server.respond(request, 1)
    wire.feed(netty(2, handshake(STRANGE, OWN) + PING))
    assert [reply for _, reply in replies(wire.sent())] == [BOTH + PING, b"\0\0\x02", BOTH + PING]
    other = Wire(clients=wire.clients)
    other.feed(netty(0, handshake(STRANGE, OWN) + PING))
    assert replies(other.sent()) == [(0, NONE + PING)]


def test_second_request_waits_for_the_answer_to_the_handshake():
    wire = Wire()
    (first,) = wire.feed(netty(0, handshake(OWN, OWN) + ADD) + netty(1, ADD))
    assert wire.server.full
    assert wire.feed(netty(2, PING)) == []
    assert wire.sent() == b""
    wire.server.respond(first, 42)
    (second,) = wire.feed(b"")
    assert second.serial == 1
    assert not wire.server.full
    assert replies(wire.sent()) == [(0, BOTH + b"\0\0\x54"), (2, PING)]


def test_new_handshake_on_an_established_connection():
    """Rule 8: Ruby sends one on every call; and it may choose another protocol of the port."""
    wire = established(CALCULATOR, OTHER)
    (request,) = wire.feed(netty(1, handshake(OWN, OWN) + ADD))
    wire.server.respond(request, 42)
    assert replies(wire.sent()) == [(1, BOTH + b"\0\0\x54")]
    (greeting,) = wire.feed(netty(2, handshake(OWN, OTHER.md5, OTHER.text) + b"\0" + string("greet") + string("you")))
    assert greeting.contract.protocol == OTHER
    wire.server.respond(greeting, "hello")
    assert replies(wire.sent()) == [(2, BOTH + PING + string("hello"))]
    wire.feed(netty(3, ADD))
    assert b"UNIMPLEMENTED" in wire.sent()


def test_handshakes_on_every_call_do_not_wait_for_one_another():
    wire = established()
    events = wire.feed(netty(1, handshake(OWN, OWN) + ADD) + netty(2, handshake(OWN, OWN) + ADD) + netty(3, ADD))
    assert [event.serial for event in events] == [1, 2, 3]


@pytest.mark.parametrize("terminated", [False, True])
@pytest.mark.parametrize("chunks", [pieces, lambda data: [data]])
def test_yaqc(terminated, chunks):
    """16 spaces, meta an empty map, pings never terminated, each parameter a buffer of its own."""
    spaces = b" " * 16
    end = bytes(4) * terminated
    wire = Wire()

    def say(data):
        return [event for chunk in chunks(data) for event in wire.feed(chunk)]

    ping = spec(handshake(spaces, spaces, meta=b"\x02\0"), b"\0", b"\0")[:-4] + end
    assert say(ping) == []
    assert wire.sent() == spec(NONE, b"\0", b"\0")
    assert say(spec(handshake(OWN, OWN, CALCULATOR.text, meta=b"\x02\0"), b"\0", b"\0")[:-4] + end) == []
    assert wire.sent() == spec(BOTH, b"\0", b"\0")
    (request,) = say(spec(b"\0", string("add"), b"\x04", b"\x50"))
    wire.server.respond(request, 42)
    assert wire.sent() == spec(b"\0", b"\0", b"\x54")


def test_java_terminates_twice_where_there_are_no_parameters():
    wire = Wire(framing="spec")
    first, second = spec(handshake(OWN, OWN), PING), spec(b"\0", string("nothing"))
    events = wire.feed(first + bytes(4) + second + bytes(4) + second)
    assert [event.message.name for event in events] == ["nothing", "nothing"]


# -- calls


def test_ping():
    wire = established()
    wire.feed(netty(5, PING))
    wire.feed(netty(6, b"\x02\x02a\x02b\0\0"))
    assert replies(wire.sent()) == [(5, PING), (6, PING)]
    with pytest.raises(RemoteWireError, match="behind a ping"):
        wire.feed(netty(7, PING + b"x"))


def test_the_load_is_told_to_who_asks_for_it():
    wire = established()
    asks = b"\x02\x10spl-load\x02?\0\0"
    wire.feed(netty(5, asks))
    wire.directory.load = lambda: b"1,2,3"
    wire.feed(netty(6, asks))
    wire.feed(netty(7, b"\x02\x10spl-load\x02!\0\0"))
    assert replies(wire.sent()) == [(5, PING), (6, b"\x02\x10spl-load\x0a1,2,3\0\0"), (7, PING)]


def test_netty_answers_in_any_order_and_echoes_the_serial():
    wire = established()
    serials = [0xFFFFFFFF, 0, 0x80000000, 7]
    requests = wire.feed(b"".join(netty(serial, ADD) for serial in serials))
    for request in reversed(requests):
        wire.server.respond(request, request.serial & 7)
    assert [serial for serial, _ in replies(wire.sent())] == serials[::-1]


def test_what_an_intake_has_answered_is_given_once():
    class Answers:
        out = b""

        def begin(self, client_hash, calls):
            pass

        def run(self, data, start, most, seconds):
            return start

        def take(self):
            out, self.out = self.out, b""
            return out

    session, answers = established().server, Answers()
    session.run_by(answers)
    for answer in (b"one", b"two"):
        answers.out = answer
        assert session.data_to_send() == [answer]
        assert session.data_to_send() == []


def test_spec_answers_in_the_order_of_the_requests():
    wire = Wire(framing="spec")
    wire.feed(spec(handshake(OWN, OWN), PING))
    requests = wire.feed(spec(ADD) + spec(b"\0", string("log"), string("x")) + spec(PING) + spec(ADD) + spec(ADD))
    assert [request.one_way for request in requests] == [False, True, False, False]
    wire.sent()
    wire.server.respond(requests[3], 3)
    wire.server.respond(requests[1], None)
    assert wire.sent() == b""
    wire.server.respond(requests[0], 0)
    assert wire.sent() == spec(b"\0", b"\0", b"\0") + spec(b"\0", b"\0")
    wire.server.fail(requests[2], CallError(Code.ABORTED, "no"))
    failure = spec(b"\x02" + string("spl-code") + b"\x0eABORTED\0", b"\x01", b"\0\x04no")
    assert wire.sent() == failure + spec(b"\0", b"\0", b"\x06")


def test_one_way():
    """Rule 6: nothing at all on an established connection, a full reply behind a handshake."""
    wire = established()
    (request,) = wire.feed(netty(1, b"\0" + string("log") + string("x")))
    assert request.one_way
    assert wire.server.in_flight == 1
    wire.server.respond(request, None)
    assert wire.sent() == b""
    assert wire.server.in_flight == 0
    (request,) = wire.feed(netty(2, handshake(OWN, OWN) + b"\0" + string("log") + string("x")))
    assert not request.one_way
    wire.server.respond(request, None)
    assert replies(wire.sent()) == [(2, BOTH + PING)]


def test_one_way_is_the_word_of_the_clients_text():
    without = calculator()
    del without["messages"]["log"]["one-way"]
    without["messages"]["nothing"]["one-way"] = True
    text = protocol(without)
    wire = Wire()
    wire.feed(netty(0, handshake(text.md5, OWN, text.text) + PING))
    wire.sent()
    (log,) = wire.feed(netty(1, b"\0" + string("log") + string("x")))
    (nothing,) = wire.feed(netty(2, b"\0" + string("nothing")))
    assert (log.one_way, nothing.one_way) == (False, True)
    wire.server.respond(log, None)
    wire.server.fail(nothing, CallError(Code.ABORTED, "unheard"))
    assert replies(wire.sent()) == [(1, PING)]


def test_refused_one_way_calls_are_not_answered():
    text = protocol(
        {"protocol": "X", "messages": {
            "log": {"request": [{"name": "line", "type": "int"}], "response": "null", "one-way": True},
            "gone": {"request": [], "response": "null", "one-way": True}}}
    )  # fmt: skip
    for frame in (netty, lambda _, *b: spec(*b)):
        wire = Wire()
        wire.feed(frame(0, handshake(text.md5, OWN, text.text) + PING))
        wire.sent()
        wire.feed(frame(1, b"\0" + string("log") + b"\x02") + frame(2, b"\0" + string("gone")))
        assert wire.sent() == b""
        wire.feed(frame(3, PING))
        assert wire.sent() == (netty(3, PING) if frame is netty else spec(b"\0", b"\0"))


@pytest.mark.parametrize(
    ("call", "code", "told"),
    [
        (b"\0" + string("divide"), "UNIMPLEMENTED", "org.example.Calculator has no message 'divide'"),
        (b"\0" + string("extra"), "UNIMPLEMENTED", "has no message 'extra'"),
        (b"\0" + string("echo"), "FAILED_PRECONDITION", "does not declare the message 'echo'"),
        (b"\0" + string("add") + b"\x04\x50", "FAILED_PRECONDITION", "cannot be called with the client's protocol"),
        (b"\0" + string("log") + b"\x04", "INVALID_ARGUMENT", "the parameters of log cannot be read: "),
        (b"\0" + string("log") + b"\x02xx", "INVALID_ARGUMENT", "1 bytes behind the parameters"),
    ],
)
@pytest.mark.parametrize("first", [False, True])
def test_only_the_call_fails(call, code, told, first):
    source = calculator()
    del source["messages"]["echo"]
    source["messages"]["add"]["request"] = [{"name": "a", "type": "string"}]
    source["messages"]["extra"] = {"request": [], "response": "null"}
    source["messages"]["log"].pop("one-way")
    text = protocol(source)
    wire = Wire()
    shake = handshake(text.md5, OWN, text.text)
    if not first:
        wire.feed(netty(0, shake + PING))
        wire.sent()
    assert wire.feed(netty(1, shake * first + call)) == []
    ((serial, reply),) = replies(wire.sent())
    assert serial == 1
    metadata = b"\x04" + string("spl-code") + string(code) + string("spl-started") + string("0") + b"\0"
    start = BOTH * first + metadata + b"\x01\0"
    assert reply.startswith(start)
    assert told in reply[len(start) :].decode(errors="replace")
    (request,) = wire.feed(netty(2, b"\0" + string("nothing")))
    wire.server.respond(request, None)
    assert replies(wire.sent()) == [(2, PING)]


def test_a_response_that_the_client_could_not_read_is_not_computed():
    source = calculator()
    source["messages"]["echo"]["response"] = "int"
    text = protocol(source)
    wire = Wire()
    wire.feed(netty(0, handshake(text.md5, OWN, text.text) + PING))
    assert wire.feed(netty(1, b"\0" + string("echo") + string("x"))) == []
    assert b"FAILED_PRECONDITION" in wire.sent()


def test_answers_that_do_not_fit_queue_nothing():
    limits = Limits(message_bytes=1500, metadata_entries=2)
    wire = established(limits=limits)
    (request,) = wire.feed(netty(1, ADD))
    (echo,) = wire.feed(netty(2, b"\0" + string("echo") + string("x")))
    with pytest.raises(EncodeError):
        wire.server.respond(request, "no number")
    with pytest.raises(EncodeError, match="does not declare the error Unheard"):
        wire.server.fail(request, type("Unheard", (DeclaredError,), {})())
    with pytest.raises(EncodeError):
        wire.server.fail(request, Overflow(limit="no number"))
    with pytest.raises(LimitExceeded, match="metadata_entries = 2"):
        wire.server.respond(request, 1, {"a": b"", "b": b"", "c": b""})
    for size in (1497, 1499, 2000):
        with pytest.raises(LimitExceeded, match="message_bytes = 1500"):
            wire.server.respond(echo, "x" * size)
        with pytest.raises(LimitExceeded, match="message_bytes = 1500"):
            wire.server.respond(echo, "x" * size, {"k": b"v"})
    assert wire.sent() == b""
    assert wire.server.in_flight == 2
    wire.server.respond(echo, "x" * 1496)
    wire.server.fail(request, Overflow(limit=7))
    assert replies(wire.sent())[1] == (1, hex_bytes("00 01 02 0e"))
    with pytest.raises(LocalWireError, match="answered before"):
        wire.server.respond(request, 1)
    with pytest.raises(LocalWireError, match="answered before"):
        wire.server.fail(request, Overflow(limit=7))
    assert wire.server.in_flight == 0


# -- flow


@pytest.mark.parametrize("frame", [netty, lambda _, *b: spec(*b)])
def test_calls_per_connection(frame):
    wire = Wire(limits=Limits(calls_per_connection=3))
    wire.feed(frame(0, handshake(OWN, OWN) + PING))
    wire.sent()
    open_calls = wire.feed(b"".join(frame(i, ADD) for i in range(1, 4)))
    assert len(open_calls) == 3
    assert not wire.server.full
    assert wire.feed(b"".join(frame(i, ADD) for i in range(4, 8))) == []
    assert wire.server.full
    seen = 3
    while open_calls:
        wire.server.respond(open_calls.pop(), 1)
        more = wire.feed(b"")
        seen += len(more)
        open_calls += more
        assert wire.server.in_flight <= 3
    assert seen == 7
    assert not wire.server.full


def test_replies_that_wait_for_an_earlier_one_count_too():
    wire = Wire(limits=Limits(calls_per_connection=3))
    wire.feed(spec(handshake(OWN, OWN) + PING))
    wire.sent()
    (first,) = wire.feed(spec(ADD) + spec(PING) * 10)
    assert wire.server.full
    wire.server.respond(first, 1)
    assert wire.feed(b"") == []
    assert not wire.server.full
    assert wire.sent() == spec(b"\0", b"\0", b"\x02") + spec(b"\0", b"\0") * 10


def test_cancel():
    wire = Wire(limits=Limits(calls_per_connection=2))
    ask = b"\x02" + string("spl-peer") + b"\x02?\0\0"
    wire.feed(netty(0, handshake(OWN, OWN) + ask))
    assert replies(wire.sent()) == [(0, BOTH + b"\x02" + string("spl-peer") + b"\x021\0\0")]
    first, second = wire.feed(netty(7, ADD) + netty(8, ADD))

    def cancel(serial):
        return wire.feed(netty(9, b"\x02" + string("spl-cancel") + string(serial) + b"\0\0"))

    assert [cancel(serial) for serial in ("6", "", "x", "-1", "99999999999", "٣")] == [[]] * 6
    (event,) = cancel("8")
    assert isinstance(event, Cancel)
    assert event.serial == 8
    wire.server.fail(second, CallError(Code.CANCELLED, "the caller went away"))
    assert cancel("8") == []
    (third,) = wire.feed(netty(10, ADD) + netty(11, ADD))
    assert wire.server.full  # the call waits outside, and what came before it can still be cancelled
    wire.server.respond(first, 1)
    wire.server.respond(third, 1)
    assert len(wire.feed(b"")) == 1


def test_cancel_goes_past_calls_that_wait():
    wire = Wire(limits=Limits(calls_per_connection=2))
    wire.feed(netty(0, handshake(OWN, OWN) + b"\x02" + string("spl-peer") + b"\x02?\0\0"))
    wire.feed(netty(7, ADD) + netty(8, ADD))
    (event,) = wire.feed(netty(9, b"\x02" + string("spl-cancel") + string("7") + b"\0\0"))
    assert event.serial == 7


def test_cancel_is_for_those_who_asked():
    wire = established()
    wire.feed(netty(7, ADD))
    assert wire.feed(netty(9, b"\x02" + string("spl-cancel") + string("7") + b"\0\0")) == []
    assert replies(wire.sent()) == [(9, PING)]


# -- beginnings and ends


@pytest.mark.parametrize("chunks", [pieces, lambda data: [data]])
def test_sasl(chunks):
    wire = Wire()
    data = hex_bytes("00 00000009") + b"ANONYMOUS" + hex_bytes("00000004") + b"user" + spec(handshake(OWN, OWN), ADD)
    events = [event for chunk in chunks(data) for event in wire.feed(chunk)]
    assert wire.server.framing == "sasl"
    wire.server.respond(events[0], 42)
    assert wire.sent() == hex_bytes("03 00000000") + spec(BOTH, b"\0", b"\0", b"\x54")


def test_sasl_of_another_mechanism():
    wire = Wire()
    with pytest.raises(RemoteWireError, match="only ANONYMOUS"):
        wire.feed(hex_bytes("00 0000000a") + b"DIGEST-MD5" + bytes(4))
    assert wire.sent().startswith(b"\x02\0\0\0")


@pytest.mark.parametrize(
    ("framing", "data"),
    [("http", b"POST / HTTP/1.1\r\nHost: x\r\n"), ("tls", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\3\3ab")],
)
def test_handover(framing, data):
    wire = Wire()
    events = [event for byte in pieces(data[:12]) for event in wire.feed(byte)]
    (event,) = events
    assert isinstance(event, Handover)
    assert (event.framing, event.data) == (framing, data[:12])
    assert wire.server.framing == framing
    with pytest.raises(LocalWireError, match="handed over"):
        wire.feed(b"more")
    (event,) = Wire().feed(data)
    assert event.data == data


@pytest.mark.parametrize("chunks", [pieces, lambda data: [data]])
def test_http_body(chunks):
    wire = Wire(framing="http")
    body = spec(handshake(OWN, OWN), b"\0", string("log"), string("x")) + bytes(4) + b"junk"
    (request,) = [event for chunk in chunks(body) for event in wire.feed(chunk)]
    assert wire.server.receive_eof() == []
    assert not request.one_way
    wire.server.respond(request, None)
    assert wire.sent() == spec(BOTH, b"\0", b"\0")
    assert wire.feed(b"more") == []


def test_http_body_that_ends_too_early():
    wire = Wire(framing="http")
    wire.feed(spec(handshake(OWN, OWN), ADD)[:-4])
    with pytest.raises(RemoteWireError, match="ended within a message"):
        wire.server.receive_eof()
    with pytest.raises(RemoteWireError, match="ended within a message"):
        Wire(framing="http").server.receive_eof()


def test_half_close_is_answered():
    wire = Wire()
    (request,) = wire.feed(netty(0, handshake(OWN, OWN) + ADD))
    assert wire.server.receive_eof() == []
    wire.server.respond(request, 42)
    assert replies(wire.sent()) == [(0, BOTH + b"\0\0\x54")]


def test_end_of_the_stream():
    assert Wire().server.receive_eof() == []
    wire = Wire()
    wire.feed(b"\0\0\0")
    with pytest.raises(RemoteWireError, match="before its first message"):
        wire.server.receive_eof()
    wire = established()
    wire.feed(netty(1, ADD)[:-1])
    with pytest.raises(RemoteWireError, match="within a message"):
        wire.server.receive_eof()
    wire = Wire()
    (request,) = wire.feed(netty(0, handshake(OWN, OWN) + ADD) + netty(1, ADD) + netty(2, ADD)[:-1])
    assert wire.server.receive_eof() == []  # not yet: more may be asked before the cut one
    wire.server.respond(request, 1)
    assert len(wire.feed(b"")) == 1
    assert "within a message" in str(wire.server.failed)


@pytest.mark.parametrize("framing", ["netty", "spec"])
def test_pinned_framing_does_not_detect(framing):
    frame = netty if framing == "netty" else (lambda _, *b: spec(*b))
    wire = Wire(framing=framing)
    assert wire.server.framing == framing
    wire.feed(frame(17, handshake(OWN, OWN) + PING))
    assert wire.sent()


def test_unknown_framing():
    with pytest.raises(LocalWireError, match="'grpc'"):
        Wire(framing="grpc")


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (b"", "ends? within"),
        (b"\0", "ends? within"),
        (b"\0\x0aadd", "5 bytes at byte 1"),
        (b"\0\x04\xff\xfe", "not UTF-8"),
        (b"\x02\x02a", "ends? within"),
    ],
)
def test_structural_faults_close(message, told):
    wire = established()
    with pytest.raises(RemoteWireError, match=told):
        wire.feed(netty(1, message))
    assert wire.server.failed is not None


@pytest.mark.parametrize(
    ("first", "told"),
    [
        (handshake(OWN, OWN)[:-1], "handshake"),
        (handshake(OWN, OWN) + b"\0", "ends? within"),
        (handshake(OWN, OWN, "{"), "the client's protocol cannot be read"),
        (handshake(OWN, OWN, '{"protocol": "X", "types": [{"type": "fixed", "name": "F"}]}'), "cannot be read"),
        (handshake(OWN, OWN, " " * 300_000), "limit protocol_bytes = 262144"),
    ],
)
def test_first_messages_that_close(first, told):
    wire = Wire(framing="netty")
    with pytest.raises(RemoteWireError, match=told):
        wire.feed(netty(0, first))
    assert wire.sent() == b""


def test_nothing_is_served():
    wire = Wire()
    wire.directory.remove("org.example.Calculator")
    with pytest.raises(RemoteWireError, match="no protocol is served"):
        wire.feed(netty(0, handshake(OWN, OWN)))


def test_bounded_memory_of_clients():
    clients = ClientProtocols(Limits(client_protocols=2))
    hashes = []
    for number in range(4):
        each = protocol(calculator(doc=str(number)))
        hashes.append(each.md5)
        assert clients.learn(each.md5, each.text) == each
    assert [clients.get(each) is not None for each in hashes] == [False, False, True, True]


def test_what_a_connection_has_shown_so_far():
    wire = Wire()
    assert not wire.server.established
    wire.feed(netty(0, handshake(STRANGE, STRANGE) + PING))
    assert not wire.server.established  # it was told NONE
    wire.feed(netty(1, handshake(OWN, OWN) + PING))
    assert wire.server.established
    assert not wire.server.cancels
    wire.feed(netty(2, b"\x02" + string("spl-peer") + b"\x02?\0\0"))
    assert wire.server.cancels


def test_failures_fit_however_small_a_message_may_be():
    wire = established(limits=Limits(message_bytes=400))
    (request,) = wire.feed(netty(1, ADD))
    wire.server.fail(request, CallError(Code.INTERNAL, "ü" * 1000))
    ((_, reply),) = replies(wire.sent())
    assert len(reply) <= 400
    assert "ü".encode() * 50 in reply


@pytest.mark.parametrize("size", [16_381, 16_382, 100_000])
def test_long_answers_go_out_in_two_pieces(size):
    wire = established()
    (request,) = wire.feed(netty(1, b"\0" + string("echo") + string("x" * size)))
    wire.server.respond(request, request.params["text"])
    assert replies(wire.sent()) == [(1, PING + string("x" * size))]
