"""The client's end, with literal bytes: what it says first, what it makes of the answers, what it refuses."""

import json

import pytest

from splnode.errors import CallError, Code, EncodeError, LimitExceeded, LocalWireError, RemoteWireError
from splnode.limits import Limits
from splnode.wire.events import Ready, Request, Resend, Response
from splnode.wire.message import Contract
from splnode.wire.session import ClientSession
from tests.wire.conftest import CALCULATOR, OTHER, Wire, calculator, handshake, netty, pieces, protocol, spec, string

OWN = CALCULATOR.md5
BOTH = bytes(4)
PING = b"\0\0"
ASK = b"\x02" + string("spl-peer") + b"\x02?\0\0"
ADD = b"\0" + string("add") + b"\x04\x50"


def told(server, match=b"\x04", md5=None):
    return match + b"\x02" + string(server.text) + b"\x02" + (md5 or server.md5) + b"\0"


class Peer:
    """A client session and what a test says to it."""

    def __init__(self, own=CALCULATOR, **options):
        self.client = ClientSession(Contract(own, limits=options.get("limits", Limits())), **options)

    def sent(self):
        return b"".join(self.client.data_to_send())

    def feed(self, data):
        return self.client.receive_data(data)


def ready(framing="netty", **options):
    peer = Peer(framing=framing, **options)
    peer.client.start()
    peer.sent()
    (event,) = peer.feed(netty(0, BOTH + PING) if framing == "netty" else spec(BOTH, b"\0", b"\0"))
    assert isinstance(event, Ready)
    assert event.server is CALCULATOR
    return peer


def test_first_words():
    peer = Peer()
    assert not peer.client.ready
    assert peer.client.refusal is None
    peer.client.start()
    assert peer.sent() == netty(0, handshake(OWN, OWN) + ASK)
    peer = Peer(framing="spec")
    peer.client.start()
    assert peer.sent() == spec(handshake(OWN, OWN), b"\0", b"\0")
    with pytest.raises(LocalWireError, match="once only"):
        peer.client.start()
    peer = Peer(framing="sasl")
    peer.client.start()
    assert peer.sent() == b"\0\0\0\0\x09ANONYMOUS\0\0\0\0" + spec(handshake(OWN, OWN), b"\0", b"\0")
    with pytest.raises(LocalWireError, match="'tls'"):
        Peer(framing="tls")


@pytest.mark.parametrize("chunks", [pieces, lambda data: [data]])
@pytest.mark.parametrize("framing", ["netty", "spec", "sasl"])
def test_call_and_answer_as_bytes(framing, chunks):
    peer = Peer(framing=framing)
    peer.client.start()
    serial = peer.client.call("add", {"a": 2, "b": 40})
    assert peer.client.in_flight == 1
    assert peer.client.expects_reply(serial)
    peer.sent()
    if framing == "netty":
        hello, answer = netty(0, BOTH + PING), netty(serial, b"\0\0\x54")
    else:
        hello = b"\x03\0\0\0\0" * (framing == "sasl") + spec(BOTH, b"\0", b"\0")
        answer = bytes(8) + spec(b"\0", b"\0", b"\x54")  # yaqd's empty messages
    events = [event for chunk in chunks(hello) for event in peer.feed(chunk)]
    assert [type(event) for event in events] == [Ready]
    assert peer.client.ready
    assert peer.sent() == (netty(serial, ADD) if framing == "netty" else spec(b"\0", string("add"), b"\x04", b"\x50"))
    (response,) = [event for chunk in chunks(answer) for event in peer.feed(chunk)]
    assert isinstance(response, Response)
    assert (response.serial, response.value, response.error) == (serial, 42, None)
    assert not peer.client.expects_reply(serial)
    assert peer.client.receive_eof() == []


def test_calls_go_out_in_order_after_the_handshake():
    peer = Peer()
    first = peer.client.call("add", {"a": 1, "b": 2}, {"k": b"v"})
    peer.client.start()
    gone = peer.client.call("echo", {"text": "x"})
    one_way = peer.client.call("log", {"line": "x"})
    ping = peer.client.ping()
    peer.client.cancel(gone)
    assert not peer.client.expects_reply(one_way)
    assert peer.client.expects_reply(ping)
    peer.sent()
    (_,) = peer.feed(netty(1, BOTH))
    assert peer.sent() == (
        netty(first, b"\x02\x02k\x02v\0" + string("add") + b"\x02\x04")
        + netty(one_way, b"\0" + string("log") + string("x"))
        + netty(ping, PING)
    )
    assert not peer.client.expects_reply(one_way)
    (pong,) = peer.feed(netty(ping, PING))
    assert (pong.serial, pong.value, pong.error) == (ping, None, None)
    assert peer.client.in_flight == 1


def test_a_ping_may_ask_for_something():
    peer = Peer()
    peer.client.start()
    peer.sent()
    peer.feed(netty(0, BOTH))
    ping = peer.client.ping({"k": b"?"})
    assert peer.sent() == netty(ping, b"\x02\x02k\x02?\0\0")
    (pong,) = peer.feed(netty(ping, b"\x02\x02k\x02!\0\0"))
    assert pong.metadata == {"k": b"!"}


# -- handshakes


def test_none_then_both():
    server = protocol(calculator(doc="the server's own text"))
    peer = Peer()
    peer.client.start()
    peer.sent()
    foreign_hash = b"f" * 16  # not the MD5 of the text: an opaque key
    assert peer.feed(netty(0, told(server, md5=foreign_hash) + PING)) == []
    assert peer.sent() == netty(1, handshake(OWN, foreign_hash, CALCULATOR.text) + ASK)
    (event,) = peer.feed(netty(1, BOTH + PING))
    assert event.server == server
    assert (peer.client.server, peer.client.server_hash) == (server, foreign_hash)
    # With what it learned another session needs one round trip
    second = Peer(remembered=(peer.client.server_hash, peer.client.server))
    second.client.start()
    assert second.sent() == netty(0, handshake(OWN, foreign_hash) + ASK)
    (event,) = second.feed(netty(0, BOTH + PING))
    assert event.server == server


def test_client_answer_tells_the_protocol():
    server = protocol(calculator(doc="newer"))
    peer = Peer()
    peer.client.start()
    (event,) = peer.feed(netty(0, told(server, b"\x02") + PING))
    assert event.server == server
    assert peer.client.server_hash == server.md5
    peer = Peer()
    peer.client.start()
    with pytest.raises(RemoteWireError, match="CLIENT without its protocol"):
        peer.feed(netty(0, b"\x02\0\0\0" + PING))


def test_a_port_of_many_services_named_another_one():
    peer = Peer()
    peer.client.start()
    peer.sent()
    peer.feed(netty(0, told(OTHER) + PING))
    assert peer.sent() == netty(1, handshake(OWN, OWN, CALCULATOR.text) + ASK)
    (event,) = peer.feed(netty(1, told(CALCULATOR, b"\x02") + PING))
    assert event.server == CALCULATOR


def test_yaqd_wants_its_own_hash_whatever_the_name():
    peer = Peer(framing="spec")
    peer.client.start()
    none = spec(told(OTHER), b"\0", b"\0") + bytes(4)
    assert peer.feed(none) == []
    peer.sent()
    assert peer.feed(none) == []
    assert peer.sent() == spec(handshake(OWN, OTHER.md5, CALCULATOR.text), b"\0", b"\0")
    (event,) = peer.feed(spec(BOTH, b"\0", b"\0") + bytes(4))
    assert event.server == OTHER


@pytest.mark.parametrize("server", [CALCULATOR, OTHER])
def test_refused(server):
    peer = Peer()
    peer.client.start()
    serial = peer.client.call("add", {"a": 1, "b": 2})
    peer.client.call("log", {"line": ""})
    events = []
    for attempt in range(3):
        if peer.sent():
            events += peer.feed(netty(0 if not attempt else attempt + 2, told(server) + PING))
    (response,) = events
    assert response.serial == serial
    assert response.error.code is Code.FAILED_PRECONDITION
    assert f"it speaks {server.name}" in response.error.message
    assert not response.error.started
    assert not peer.client.ready
    assert peer.client.refusal.message == response.error.message
    with pytest.raises(CallError, match="FAILED_PRECONDITION: the server refused our protocol"):
        peer.client.call("add", {"a": 1, "b": 2})
    assert peer.client.in_flight == 0
    with pytest.raises(RemoteWireError, match="nothing was asked"):
        peer.feed(netty(0, BOTH))


def test_a_none_that_says_nothing():
    peer = Peer()
    peer.client.start()
    peer.sent()
    peer.feed(netty(0, b"\x04\0\0\0"))
    assert peer.sent() == netty(1, handshake(OWN, OWN, CALCULATOR.text) + ASK)
    peer.feed(netty(1, b"\x04\0\0\0"))
    with pytest.raises(CallError, match="does not say what it speaks"):
        peer.client.call("add", {"a": 1, "b": 2})


def test_what_does_not_fit_fails_alone():
    server = calculator()
    server["messages"]["add"]["request"][0]["type"] = "string"
    del server["messages"]["echo"]
    text = protocol(server)
    peer = Peer()
    peer.client.start()
    add = peer.client.call("add", {"a": 1, "b": 2})
    echo = peer.client.call("echo", {"text": ""})
    nothing = peer.client.call("nothing", {})
    peer.sent()
    _, *failures = peer.feed(netty(0, told(text, b"\x02")))
    assert [(each.serial, each.error.code) for each in failures] == [
        (add, Code.FAILED_PRECONDITION),
        (echo, Code.UNIMPLEMENTED),
    ]
    assert not any(each.error.started or each.error.remote for each in failures)
    assert peer.sent() == netty(nothing, b"\0" + string("nothing"))
    with pytest.raises(CallError, match="FAILED_PRECONDITION: add does not fit"):
        peer.client.call("add", {"a": 1, "b": 2})
    with pytest.raises(CallError, match="UNIMPLEMENTED"):
        peer.client.call("echo", {"text": ""}, {"k": b"v"})
    assert peer.sent() == b""


def test_discovery():
    empty = protocol({"protocol": "Empty", "messages": {}})
    peer = Peer(empty)
    peer.client.start()
    peer.sent()
    peer.feed(netty(0, told(OTHER) + PING))
    assert peer.sent() == netty(1, handshake(empty.md5, OTHER.md5, empty.text) + ASK)
    (event,) = peer.feed(netty(1, BOTH + PING))
    assert event.server == OTHER


# -- answers


def test_netty_answers_in_any_order():
    peer = ready()
    serials = [peer.client.call("echo", {"text": str(i)}) for i in range(5)]
    answers = b"".join(netty(serial, PING + string(str(serial))) for serial in reversed(serials))
    responses = peer.feed(answers)
    assert [(each.serial, each.value) for each in responses] == [(s, str(s)) for s in reversed(serials)]


@pytest.mark.parametrize("framing", ["netty", "spec"])
@pytest.mark.parametrize(
    ("answer", "code", "text"),
    [
        (b"\0\x01\0\x04no", Code.UNKNOWN, "no"),
        (b"\x02" + string("spl-code") + string("NOT_FOUND") + b"\0\x01\0\x04no", Code.NOT_FOUND, "no"),
        (b"\0\0", Code.INTERNAL, "the response of add cannot be read: "),
        (b"\0\0\x54\0", Code.INTERNAL, "1 bytes too many"),
        (b"\0\x01\0\x04n", Code.INTERNAL, "the error of add cannot be read: "),
        (b"\0\x01\0\x04\xff\xff", Code.INTERNAL, "not UTF-8"),
        (b"\0\x01", Code.INTERNAL, "the error of add cannot be read: "),
        (b"\0\x01\x06", Code.INTERNAL, "index 3"),
        (b"\0\x01\x01", Code.INTERNAL, "index -1"),
        (b"\0\x01\x02", Code.INTERNAL, "the error of add cannot be read: "),
        (b"\0\x01\x02\x0e\0", Code.INTERNAL, "1 bytes too many"),
    ],
)
def test_errors_of_one_call(framing, answer, code, text):
    peer = ready(framing)
    for _ in range(2):
        serial = peer.client.call("add", {"a": 1, "b": 2})
        (response,) = peer.feed(netty(serial, answer) if framing == "netty" else spec(answer))
        assert (response.serial, response.value) == (serial, None)
        assert response.error.code is code
        assert text in response.error.message
        assert response.error.remote is (code is not Code.INTERNAL)


@pytest.mark.parametrize(
    ("frame", "fault"),
    [
        (netty(1, b"\0\x02"), "flag of a response is 00 or 01, not 02"),
        (netty(1, b"\0"), "not missing"),
        (netty(1, b""), "ends? within"),
        (netty(1, b"\x02\x02k"), "ends? within"),
        (netty(9, PING), "serial 9, which was never sent"),
        (netty(1), "0 buffers"),
    ],
)
def test_structural_faults_close(frame, fault):
    peer = ready()
    peer.client.call("add", {"a": 1, "b": 2})
    with pytest.raises(RemoteWireError, match=fault):
        peer.feed(frame)
    assert peer.client.failed is not None
    with pytest.raises(RemoteWireError):
        peer.feed(b"")
    with pytest.raises(RemoteWireError):
        peer.client.receive_eof()


def test_a_spec_answer_that_nobody_asked_for():
    peer = ready("spec")
    assert peer.feed(bytes(8)) == []
    with pytest.raises(RemoteWireError, match="no call is open"):
        peer.feed(spec(b"\0", b"\0"))


def test_events_before_a_fault_are_given():
    peer = ready()
    serial = peer.client.call("echo", {"text": ""})
    (response,) = peer.feed(netty(serial, PING + b"\0") + netty(1))
    assert response.value == ""
    with pytest.raises(RemoteWireError, match="0 buffers"):
        peer.feed(b"")


def test_handshake_faults():
    for data, fault in (
        (netty(5, BOTH), "before the handshake"),
        (netty(0, b"\x06"), "begins with"),
        (netty(0, b""), "begins with"),
        (netty(0, b"\x04\x02\x04[]\0\0"), "the server's protocol cannot be read"),
        (netty(0, BOTH + b"\x02"), "ends? within"),
    ):
        peer = Peer()
        peer.client.start()
        with pytest.raises(RemoteWireError, match=fault):
            peer.feed(data)
    peer = Peer()
    peer.client.start()
    peer.feed(netty(0, BOTH)[:-1])
    with pytest.raises(RemoteWireError, match="within a message"):
        peer.client.receive_eof()


def test_sasl_is_refused():
    peer = Peer(framing="sasl")
    peer.client.start()
    with pytest.raises(RemoteWireError, match="refused SASL ANONYMOUS: go away"):
        for byte in pieces(b"\x02\0\0\0\x07go away"):
            peer.feed(byte)


def test_a_login_is_proved_by_plain():
    peer = Peer(framing="sasl", login=("ci", "secret"))
    peer.client.start()
    said = b"\0\0\0\0\x05PLAIN\0\0\0\x0a\0ci\0secret"
    assert peer.sent() == said + spec(handshake(OWN, OWN), b"\0", b"\0")
    with pytest.raises(RemoteWireError, match="refused SASL PLAIN: who are you"):
        peer.feed(b"\x02\0\0\0\x0bwho are you")
    with pytest.raises(LocalWireError, match="proved by sasl, and this framing is netty") as caught:
        Peer(login=("ci", "secret"))
    assert "secret" not in str(caught.value)


# -- limits and cancelling


def test_limits_of_calls():
    limits = Limits(calls_per_connection=2, message_bytes=100, metadata_entries=1)
    for peer in (Peer(limits=limits), ready(limits=limits)):
        with pytest.raises(EncodeError):
            peer.client.call("add", {"a": "x", "b": 1})
        with pytest.raises(CallError, match="UNIMPLEMENTED"):
            peer.client.call("subtract", {})
        for metadata in (None, {"k": b"v"}):
            with pytest.raises(LimitExceeded, match="message_bytes = 100"):
                peer.client.call("echo", {"text": "x" * 95}, metadata)
        with pytest.raises(LimitExceeded, match="metadata_entries = 1"):
            peer.client.call("echo", {"text": ""}, {"a": b"", "b": b""})
        for _ in range(2):
            assert not peer.client.full
            peer.client.call("echo", {"text": ""})
        assert peer.client.full
        for metadata in (None, {"k": b"v"}):
            with pytest.raises(LocalWireError, match=r"2 calls are in flight .limit calls_per_connection = 2"):
                peer.client.call("echo", {"text": ""}, metadata)
        assert peer.client.room == 0
        peer.client.ping()  # asks whether the two have any hope: it must go past them


def splnodes():
    wire = Wire()
    peer = Peer()
    peer.client.start()
    wire.feed(peer.sent())
    peer.feed(wire.sent())
    return peer, wire


def test_cancel_is_told_to_a_splnode():
    peer, wire = splnodes()
    serial, other = (peer.client.call("add", {"a": 1, "b": 2}) for _ in range(2))
    first, second = wire.feed(peer.sent())
    peer.client.cancel(serial)
    peer.client.cancel(serial)
    peer.client.cancel(12345)
    assert not peer.client.expects_reply(serial)
    (cancel,) = wire.feed(peer.sent())
    assert cancel.serial == serial
    wire.server.fail(first, CallError(Code.CANCELLED, ""))
    wire.server.respond(second, 3)
    (response,) = peer.feed(wire.sent())
    assert (response.serial, response.value) == (other, 3)
    assert peer.client.in_flight == 0


def test_cancel_is_not_told_to_others():
    """yaqd echoes metadata: an echo of the question is no answer."""
    for answer in (PING, ASK):
        peer = Peer()
        peer.client.start()
        peer.feed(netty(0, BOTH + answer))
        serial = peer.client.call("add", {"a": 1, "b": 2})
        peer.sent()
        peer.client.cancel(serial)
        assert peer.sent() == b""
        assert peer.feed(netty(serial, PING + b"\x06")) == []
        assert peer.client.in_flight == 0


def test_cancel_over_spec_keeps_the_order():
    peer = ready("spec")
    first, second = (peer.client.call("add", {"a": 1, "b": 2}) for _ in range(2))
    peer.client.cancel(first)
    (response,) = peer.feed(spec(PING, b"\x02") + spec(PING, b"\x04"))
    assert (response.serial, response.value) == (second, 2)


def test_one_way():
    for framing in ("netty", "spec"):
        peer = ready(framing)
        serial = peer.client.call("log", {"line": "x"})
        assert not peer.client.expects_reply(serial)
        assert peer.client.in_flight == 0
        if framing == "netty":  # a peer whose text says otherwise may answer
            assert peer.feed(netty(serial, PING)) == []


def test_ping_may_be_answered_by_an_error():
    peer = ready()
    serial = peer.client.ping()
    assert peer.sent() == netty(serial, PING)
    (response,) = peer.feed(netty(serial, b"\0\x01\0\x04no"))
    assert response.error.message == "no"
    serial = peer.client.ping()
    (response,) = peer.feed(netty(serial, b"\0\x01\x02"))
    assert response.error.code is Code.UNKNOWN


def test_serials_wrap_around_calls_that_are_open():
    peer = ready()
    peer.client.pipeline.next = 0x7FFFFFFE
    serials = [peer.client.call("echo", {"text": ""}) for _ in range(2)]
    assert serials == [0x7FFFFFFE, 0x7FFFFFFF]
    assert peer.client.call("echo", {"text": ""}) == 0
    peer.client.pipeline.next = 0x7FFFFFFE
    assert peer.client.call("echo", {"text": ""}) == 1
    assert peer.feed(netty(77, PING)) == []  # once wrapped, any serial may have been ours


# -- http


def exchange(client, wire_of):
    """Posts what the client has, one body after another, and feeds the answers."""
    events = []
    while bodies := client.data_to_send():
        for body in bodies:
            wire = wire_of()
            (request,) = wire.feed(body) or [None]
            assert wire.server.receive_eof() == []
            if isinstance(request, Request):
                wire.server.respond(request, request.params.get("text") or None)
            events += client.receive_data(wire.sent())
            assert client.receive_eof() == []
    return events


def test_http_with_a_server_that_knows_us():
    peer = Peer(framing="http")
    assert peer.client.ready
    with pytest.raises(LocalWireError, match="stateful"):
        peer.client.start()
    with pytest.raises(LocalWireError, match="no ping over http"):
        peer.client.ping()
    first = peer.client.call("echo", {"text": "a"}, {"k": b"v"})
    (body,) = peer.client.data_to_send()
    assert body == spec(handshake(OWN, OWN), b"\x02\x02k\x02v\0", string("echo"), string("a"))
    second = peer.client.call("log", {"line": "b"})
    assert peer.client.expects_reply(second)
    answers = spec(BOTH, b"\0", b"\0", string("a")) + bytes(4) + b"junk"
    ready_, response = peer.feed(answers)
    assert isinstance(ready_, Ready)
    assert (response.serial, response.value) == (first, "a")
    assert peer.feed(b"more junk") == []
    assert peer.client.receive_eof() == []
    (response,) = [event for byte in pieces(spec(BOTH, PING)) for event in peer.feed(byte)]
    assert (response.serial, response.value, response.error) == (second, None, None)
    with pytest.raises(RemoteWireError, match="within a message"):
        Peer(framing="http").client.receive_eof()


def test_http_resends_with_the_text():
    server = protocol(calculator(doc="newer"))
    shared = Wire(OTHER, server)
    peer = Peer(framing="http")

    def post():
        return Wire(OTHER, server, clients=shared.clients, framing="http", path="/Calculator")

    serial = peer.client.call("echo", {"text": "x"})
    resend, ready_, response = exchange(peer.client, post)
    assert isinstance(resend, Resend)
    assert resend.serial == serial
    assert ready_.server == server
    assert (response.serial, response.value) == (serial, "x")
    peer.client.call("echo", {"text": "y"})
    (response,) = exchange(peer.client, post)
    assert response.value == "y"


def test_http_refused_and_unfit():
    peer = Peer(framing="http")
    for _ in range(2):
        peer.client.call("echo", {"text": "x"})
        events = []
        for _ in range(3):
            if peer.client.data_to_send():
                events += peer.feed(spec(told(OTHER), PING))
                peer.client.receive_eof()
        *resent, response = events
        assert [type(each) for each in resent] == [Resend, Resend]
        assert response.error.code is Code.FAILED_PRECONDITION
    source = calculator()
    del source["messages"]["echo"]
    peer = Peer(framing="http")
    for answer, remote in ((b"\0\x01\0\x04no", True), (PING, False)):
        peer.client.call("echo", {"text": "x"})
        *_, response = peer.feed(spec(told(protocol(source), b"\x02"), answer))
        peer.client.receive_eof()
        assert response.error.remote is remote
        assert response.error.message == "no" if remote else response.error.code is Code.UNIMPLEMENTED
    assert json.loads(peer.client.server.text) == source


def test_http_cancelled():
    peer = Peer(framing="http")
    serial = peer.client.call("echo", {"text": "x"})
    peer.client.cancel(serial)
    assert peer.feed(spec(BOTH, PING, b"\0")) == []
    peer.client.receive_eof()
    assert peer.client.in_flight == 0


def test_http_answer_that_is_a_handshake_and_nothing_else():
    """Python's avro writes its system errors to nowhere."""
    source = calculator()
    del source["messages"]["echo"]
    for shake, code in ((BOTH, Code.UNKNOWN), (told(protocol(source), b"\x02"), Code.UNIMPLEMENTED)):
        peer = Peer(framing="http")
        serial = peer.client.call("echo", {"text": "x"})
        *_, response = peer.feed(spec(shake))
        assert response.serial == serial
        assert response.error.code is code


def test_the_name_of_the_server_is_told_once():
    """avsc does not say it again to a client that has it right."""
    peer = Peer()
    peer.client.start()
    for serial, answer in enumerate((told(CALCULATOR, md5=b"f" * 16), b"\x04\0\0\0")):
        peer.sent()
        peer.feed(netty(serial, answer))
    with pytest.raises(CallError, match=r"it speaks org.example.Calculator"):
        peer.client.call("echo", {"text": "x"})


@pytest.mark.parametrize("size", [16_370, 16_380, 100_000])
@pytest.mark.parametrize("metadata", [None, {"k": b"v"}])
def test_long_calls_go_out_in_two_pieces(size, metadata):
    peer, wire = splnodes()
    peer.client.call("echo", {"text": "x" * size}, metadata)
    (request,) = wire.feed(peer.sent())
    assert request.params == {"text": "x" * size}
    wire.server.respond(request, request.params["text"])
    (response,) = peer.feed(wire.sent())
    assert response.value == "x" * size
