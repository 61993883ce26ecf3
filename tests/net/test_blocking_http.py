"""splnode.net.blocking_http: what a kept HTTP connection may do between two POSTs and under one."""

import socket
import time
from collections.abc import Callable, Iterator

import pytest

from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code
from splnode.net.blocking_http import BlockingHttpChannel
from splnode.rpc.call import Call
from splnode.wire.handshake import HandshakeResponse, Match, write_response
from splnode.wire.message import Contract
from splnode.wire.spec import spec_frame
from tests.background import Peer, Script, hold, read_exactly
from tests.rpc.conftest import PROTOCOL

THREE = spec_frame(bytes(4), b"\0", b"\0", b"\x06")
NONE = spec_frame(write_response(HandshakeResponse(Match.NONE, PROTOCOL.text, PROTOCOL.md5)), b"\0\0")


def in_a(moment: float) -> float:
    return time.monotonic() + moment


def adding(seconds: float = 5) -> Call:
    message = PROTOCOL.messages["add"]
    return Call(Contract(PROTOCOL), message, {"a": 1, "b": 2}, time.monotonic() + seconds)


def read_post(connected: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += read_exactly(connected, 1)
    return read_exactly(connected, int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))


def ok(body: bytes, more: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


def saying(*answers: bytes, then: Script = lambda connected: None) -> Script:
    def script(connected: socket.socket) -> None:
        for each in answers:
            read_post(connected)
            connected.sendall(each)
        then(connected)

    return script


Make = Callable[[Peer], BlockingHttpChannel]


@pytest.fixture
def channel_to() -> Iterator[Make]:
    made: list[BlockingHttpChannel] = []

    def make(peer: Peer) -> BlockingHttpChannel:
        where = Endpoint("http+avro", "127.0.0.1", peer.endpoint.port, "/", framing="http")
        made.append(BlockingHttpChannel(where, Contract(PROTOCOL)))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_one_connection_for_many_calls(channel_to: Make) -> None:
    with Peer(saying(ok(THREE), ok(THREE), then=hold)) as peer:
        channel = channel_to(peer)
        assert channel.server is None and not channel.is_open
        channel.connect()
        assert channel.call(adding()) == channel.call(adding()) == 3
        assert channel.is_open and channel.server == PROTOCOL
        assert peer.accepted == 1


def test_the_call_is_sent_again_with_the_text_where_that_is_wanted(channel_to: Make) -> None:
    with Peer(saying(ok(NONE), ok(THREE), then=hold)) as peer:
        assert channel_to(peer).call(adding()) == 3


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"])
def test_a_connection_closed_between_two_calls_is_replaced(channel_to: Make, more: bytes) -> None:
    with Peer(saying(ok(THREE, more)), saying(ok(THREE), then=hold)) as peer:
        channel = channel_to(peer)
        assert channel.call(adding()) == 3
        peer.closed.wait(10)
        assert channel.call(adding()) == 3
        assert peer.accepted == 2


def test_an_answer_that_nobody_asked_for_is_nobodys(channel_to: Make) -> None:
    with Peer(saying(ok(THREE) + ok(b"?"), then=hold), saying(ok(THREE), then=hold)) as peer:
        channel = channel_to(peer)
        assert channel.call(adding()) == channel.call(adding()) == 3
        assert peer.accepted == 2


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (b"", "the peer closed the connection"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy", "HTTP status 503: busy"),
        (ok(b""), "ended within a message"),
        (ok(spec_frame(b"\x09")), "handshake response"),
    ],
)
def test_what_may_have_run_is_not_sent_again(channel_to: Make, said: bytes, text: str) -> None:
    with Peer(saying(said), saying(ok(THREE), then=hold)) as peer:
        channel = channel_to(peer)
        with pytest.raises(CallError, match=f"{text}.*; the call may have run") as failed:
            channel.call(adding())
        assert (failed.value.code, failed.value.started) == (Code.UNAVAILABLE, True)
        assert channel.call(adding()) == 3
        assert peer.accepted == 2


def test_the_deadline_ends_a_call_and_its_connection(channel_to: Make) -> None:
    with Peer(hold, saying(ok(THREE), then=hold)) as peer:
        channel = channel_to(peer)
        with pytest.raises(CallError) as failed:
            channel.call(adding(0.05))
        assert failed.value.code is Code.DEADLINE_EXCEEDED
        assert channel.call(adding()) == 3
        with pytest.raises(CallError) as failed:
            channel.call(adding(-1))
        assert (failed.value.code, failed.value.started) == (Code.DEADLINE_EXCEEDED, False)


def test_discovers_what_is_served(channel_to: Make) -> None:
    with Peer(saying(ok(NONE), then=hold)) as peer:
        assert channel_to(peer).discover(in_a(5)) == PROTOCOL
    with Peer(hold) as peer, pytest.raises(CallError, match="no answer to a handshake"):
        channel_to(peer).discover(time.monotonic() + 0.05)
