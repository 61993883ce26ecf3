"""splnode.net.blocking: connections that break, are silent, or are refused, each answered as the table says."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from splnode.config import ChannelsConfig
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code
from splnode.limits import Limits
from splnode.net import blocking
from splnode.net.blocking import BlockingChannel
from splnode.net.blocking_http import BlockingHttpChannel
from splnode.net.stream import CONNECT_TIMEOUT
from splnode.rpc.call import Call
from splnode.wire.message import Contract
from tests.background import Peer, Script, answer, greet, hold, read_exactly, read_frame
from tests.rpc.conftest import PROTOCOL

SUM = b"\0\0\x06"
"""The answer 3, without metadata."""


def in_a(moment: float) -> float:
    return time.monotonic() + moment


def adding(seconds: float = 5) -> Call:
    message = PROTOCOL.messages["add"]
    return Call(Contract(PROTOCOL), message, {"a": 1, "b": 2}, time.monotonic() + seconds)


def answering(calls: int = 1, then: Script | None = None) -> Script:
    def script(connected: socket.socket) -> None:
        greet(connected)
        for _ in range(calls):
            serial, _ = read_frame(connected)
            answer(connected, serial, SUM)
        if then is not None:
            then(connected)

    return script


@pytest.fixture
def channel_to() -> Iterator[Callable[[Endpoint], BlockingChannel]]:
    made: list[BlockingChannel] = []

    def make(endpoint: Endpoint, connect_timeout: float = 5) -> BlockingChannel:
        made.append(BlockingChannel(endpoint, Contract(PROTOCOL), connect_timeout=connect_timeout))
        return made[-1]

    yield make
    for each in made:
        each.close()


Make = Callable[..., BlockingChannel]


def test_the_times_are_those_of_the_config() -> None:
    config = ChannelsConfig()
    assert config.connect_timeout == CONNECT_TIMEOUT
    assert config.keepalive_active == blocking.KEEPALIVE_ACTIVE
    assert config.keepalive_idle == blocking.KEEPALIVE_IDLE
    assert config.keepalive_timeout == blocking.KEEPALIVE_TIMEOUT


def test_the_channel_is_made_for_the_framing() -> None:
    contract = Contract(PROTOCOL)
    assert type(blocking.channel_to(Endpoint("tcp", "h", 1), contract)) is BlockingChannel
    http = Endpoint.parse("http+avro://h:1/")
    assert type(blocking.channel_to(http, contract)) is BlockingHttpChannel


def test_the_first_call_dials(channel_to: Make) -> None:
    with Peer(answering(2, hold)) as peer:
        channel = channel_to(peer.endpoint)
        assert not channel.is_open and channel.server is None
        assert channel.call(adding()) == channel.call(adding()) == 3
        assert channel.is_open and channel.server == PROTOCOL
        channel.close()
        assert not channel.is_open


def test_a_connection_closed_between_two_calls_is_replaced(channel_to: Make) -> None:
    with Peer(answering(1), answering(1, hold)) as peer:
        channel = channel_to(peer.endpoint)
        assert channel.call(adding()) == 3
        peer.closed.wait(10)
        assert channel.call(adding()) == 3
        assert peer.accepted == 2


def test_late_answers_are_dropped(channel_to: Make) -> None:
    def late(connected: socket.socket) -> None:
        greet(connected)
        first, _ = read_frame(connected)
        second, _ = read_frame(connected)
        answer(connected, first, b"\0\0\x08")
        answer(connected, second, SUM)
        hold(connected)

    with Peer(late) as peer:
        channel = channel_to(peer.endpoint)
        with pytest.raises(CallError) as failed:
            channel.call(adding(0.05))
        assert failed.value.code is Code.DEADLINE_EXCEEDED
        assert channel.is_open
        assert channel.call(adding()) == 3
        assert peer.accepted == 1


def test_a_call_of_which_not_all_was_written_is_sent_again() -> None:
    def half(connected: socket.socket) -> None:
        greet(connected)
        read_exactly(connected, 1000)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes((1, 0, 0, 0, 0, 0, 0, 0)))  # a reset

    def whole(connected: socket.socket) -> None:
        greet(connected)
        serial, _ = read_frame(connected)
        answer(connected, serial, b"\0\0\0")
        hold(connected)

    echo = PROTOCOL.messages["echo"]
    with Peer(half, whole) as peer:
        channel = BlockingChannel(peer.endpoint, Contract(PROTOCOL, limits=Limits(message_bytes=2**25)))
        assert channel.call(Call(channel.contract, echo, {"value": bytes(30_000_000)}, in_a(10))) is None
        channel.close()
        assert peer.accepted == 2


@pytest.mark.parametrize(
    ("script", "text"),
    [
        (lambda connected: None, "the peer closed the connection"),
        (lambda connected: answer(connected, 1, b"\0\x07"), "error flag"),
        (lambda connected: connected.sendall(bytes(3)), "ended within a message"),
        (lambda connected: connected.sendall(b"\xff" * 16), "."),
    ],
)
def test_what_may_have_run_is_not_sent_again(channel_to: Make, script: Script, text: str) -> None:
    def broken(connected: socket.socket) -> None:
        greet(connected)
        read_frame(connected)
        script(connected)

    with Peer(broken, answering(1, hold)) as peer:
        channel = channel_to(peer.endpoint)
        with pytest.raises(CallError, match=f"{peer.endpoint}: .*{text}.*; the call may have run$") as failed:
            channel.call(adding())
        assert (failed.value.code, failed.value.started) == (Code.UNAVAILABLE, True)
        assert peer.accepted == 1
        assert channel.call(adding()) == 3


def test_no_handshake_in_time(channel_to: Make) -> None:
    with Peer(hold, hold) as peer:
        with pytest.raises(CallError, match=r"connected, but no handshake within 0.05 s") as failed:
            channel_to(peer.endpoint, 0.05).call(adding())
        assert (failed.value.code, failed.value.started) == (Code.UNAVAILABLE, False)
        with pytest.raises(CallError, match="was not connected before the deadline") as failed:
            channel_to(peer.endpoint).call(adding(0.05))
        assert (failed.value.code, failed.value.started) == (Code.DEADLINE_EXCEEDED, False)


@pytest.mark.parametrize(
    ("said", "text"), [(b"", "the peer closed"), (b"HTTP/1.1 400 Bad Request\r\n\r\n", "."), (bytes(3), "ended within")]
)
def test_a_peer_that_shakes_no_hands(channel_to: Make, said: bytes, text: str) -> None:
    def script(connected: socket.socket) -> None:
        read_frame(connected)
        connected.sendall(said)

    with Peer(script) as peer:
        channel = channel_to(peer.endpoint)
        with pytest.raises(CallError, match=text) as failed:
            channel.connect()
        assert (failed.value.code, failed.value.started) == (Code.UNAVAILABLE, False)
        assert not channel.is_open


def test_a_silent_server_is_asked_and_given_up(channel_to: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking, "KEEPALIVE_ACTIVE", 0.05)
    monkeypatch.setattr(blocking, "KEEPALIVE_TIMEOUT", 0.1)

    def silent(connected: socket.socket) -> None:
        greet(connected)
        hold(connected)

    with Peer(silent, answering(1, hold)) as peer:
        channel = channel_to(peer.endpoint)
        with pytest.raises(CallError, match=r"no answer to a ping within 0.1 s; the call may have run"):
            channel.call(adding())
        assert channel.call(adding()) == 3


def test_a_slow_server_that_answers_pings_is_waited_for(channel_to: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking, "KEEPALIVE_ACTIVE", 0.02)

    def slow(connected: socket.socket) -> None:
        greet(connected)
        serial, _ = read_frame(connected)
        for _ in range(3):
            ping, body = read_frame(connected)
            assert body == b"\0\0"
            answer(connected, ping, b"\0\0")
        answer(connected, serial, SUM)
        hold(connected)

    with Peer(slow) as peer:
        assert channel_to(peer.endpoint).call(adding()) == 3


def test_after_a_long_pause_the_connection_is_tried_first(channel_to: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking, "KEEPALIVE_TIMEOUT", 0.1)

    def deaf(connected: socket.socket) -> None:
        answering(1)(connected)
        _, body = read_frame(connected)
        assert body == b"\0\0"
        hold(connected)

    with Peer(deaf, answering(2, hold)) as peer:
        channel = channel_to(peer.endpoint)
        assert channel.call(adding()) == 3
        monkeypatch.setattr(blocking, "KEEPALIVE_IDLE", -1)
        assert channel.call(adding()) == 3
        assert peer.accepted == 2


def test_a_ping(channel_to: Make) -> None:
    def ping_only(connected: socket.socket) -> None:
        answering(1)(connected)
        ping, _ = read_frame(connected)
        answer(connected, ping, b"\0\0")
        hold(connected)

    with Peer(ping_only) as peer:
        channel = channel_to(peer.endpoint)
        assert channel.call(adding()) == 3
        channel.ping(time.monotonic() + 5)
        with pytest.raises(CallError, match="no answer to a ping") as failed:
            channel.ping(time.monotonic() + 0.05)
        assert failed.value.code is Code.DEADLINE_EXCEEDED
        assert not channel.is_open


def test_many_signals_do_not_move_the_deadline(channel_to: Make) -> None:
    def silent(connected: socket.socket) -> None:
        greet(connected)
        hold(connected)

    seen: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    try:
        with Peer(silent) as peer, pytest.raises(CallError) as failed:
            channel_to(peer.endpoint).call(adding(0.3))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert failed.value.code is Code.DEADLINE_EXCEEDED
    assert seen


def test_nothing_is_left_open(channel_to: Make) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are all that is wanted
    with Peer(lambda connected: None, hold) as peer:
        channel = channel_to(peer.endpoint, 0.05)
        for _ in range(2):
            with pytest.raises(CallError):
                channel.connect()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - names are all that is wanted
