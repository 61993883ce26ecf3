"""splnode.net.stream: writing and reading with an end to every wait."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code
from splnode.net import stream
from splnode.net.stream import Stream, dial
from tests.background import Peer, hold, read_exactly

SOON = 0.06


def in_a(moment: float) -> float:
    return time.monotonic() + moment


@pytest.fixture
def pair() -> Iterator[tuple[Stream, socket.socket]]:
    ours, theirs = socket.socketpair()
    with theirs:
        stream = Stream(ours)
        yield stream, theirs
        stream.close()


def nothing(data: bytes) -> None:
    raise AssertionError(f"{len(data)} bytes came")


def test_parts_arrive_in_order(pair: tuple[Stream, socket.socket]) -> None:
    stream, theirs = pair
    stream.send([b"one"], in_a(1), nothing)
    stream.send([b"two", b"three"], in_a(1), nothing)
    assert theirs.recv(100) == b"onetwothree"


def test_what_comes_is_received_and_the_end_is_empty(pair: tuple[Stream, socket.socket]) -> None:
    stream, theirs = pair
    assert stream.quiet()
    theirs.sendall(b"hello")
    assert not stream.quiet()
    assert stream.receive(in_a(1)) == b"hello"
    theirs.close()
    assert not stream.quiet()
    assert stream.receive(in_a(1)) == b""


@pytest.mark.parametrize("seconds", [-1, 0, SOON / 2, 3 * SOON])
def test_reading_ends_at_its_moment(pair: tuple[Stream, socket.socket], seconds: float) -> None:
    until = in_a(seconds)
    with pytest.raises(TimeoutError):
        pair[0].receive(until)
    assert time.monotonic() >= until  # clock: it must not be early, however late


def test_a_late_answer_is_received(pair: tuple[Stream, socket.socket]) -> None:
    stream, theirs = pair
    timer = threading.Timer(2 * SOON, theirs.sendall, [b"late"])
    timer.start()
    assert stream.receive(in_a(10)) == b"late"
    timer.join()


def test_writing_ends_at_its_moment_where_nobody_reads(pair: tuple[Stream, socket.socket]) -> None:
    until = in_a(SOON)
    with pytest.raises(TimeoutError):
        pair[0].send([bytes(10_000_000)], until, nothing)
    assert time.monotonic() >= until  # clock: it must not be early, however late


@pytest.mark.parametrize("parts", [1, 3])
def test_two_that_write_much_do_not_wait_for_each_other(pair: tuple[Stream, socket.socket], parts: int) -> None:
    stream, theirs = pair
    size, got = 3_000_000, bytearray()

    def other() -> None:
        theirs.sendall(bytes(size))  # before it reads
        assert len(read_exactly(theirs, parts * size)) == parts * size

    thread = threading.Thread(target=other)
    thread.start()
    stream.send([bytes(size)] * parts, in_a(10), got.extend)
    while len(got) < size:
        got += stream.receive(in_a(10))
    thread.join(10)
    assert not thread.is_alive()


def test_writing_to_who_has_gone(pair: tuple[Stream, socket.socket]) -> None:
    stream, theirs = pair
    theirs.close()
    with pytest.raises(OSError):
        stream.send([b"x"], in_a(1), nothing)


def test_writing_much_to_who_goes_meanwhile(pair: tuple[Stream, socket.socket]) -> None:
    stream, theirs = pair
    timer = threading.Timer(SOON, theirs.close)
    timer.start()
    with pytest.raises(ConnectionError):
        stream.send([bytes(10_000_000)], in_a(10), lambda data: None)
    timer.join()


def test_the_peer_sees_whether_it_was_closed_or_broken_off() -> None:
    seen: list[object] = []

    def script(connected: socket.socket) -> None:
        try:
            seen.append(connected.recv(10))
        except OSError as error:
            seen.append(type(error))

    with Peer(script, script) as peer:
        dial(peer.endpoint, in_a(1), 1).close()
        dial(peer.endpoint, in_a(1), 1).abort()
        peer.join()
    assert seen == [b"", ConnectionResetError]


def test_dials_and_says_why_not(tmp_path: Path) -> None:
    with Peer(hold) as peer:
        dial(peer.endpoint, in_a(1), 1).close()
    with Peer(hold, family=socket.AF_UNIX, path=str(tmp_path / "s")) as peer:
        dial(peer.endpoint, in_a(1), 1).close()
    for endpoint, reason in (
        (Endpoint("unix", path=str(tmp_path / "none")), "no such socket file"),
        (Endpoint("unix", path="/" + "x" * 200), "AF_UNIX path too long"),
        (Endpoint("tcp", "x" * 70, 1), "label"),
        (Endpoint("tcp", "127.0.0.1", 1), "connection refused"),
    ):
        with pytest.raises(CallError, match=reason) as failed:
            dial(endpoint, in_a(1), 1)
        assert (failed.value.code, failed.value.started) == (Code.UNAVAILABLE, False)


def test_a_unix_socket_whose_line_is_full(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(path)
            with pytest.raises(CallError, match=r"no connection within 0.3 s"):
                dial(Endpoint("unix", path=path), in_a(SOON), 0.3)

            def accept() -> None:
                listening.accept()[0].close()

            timer = threading.Timer(SOON, accept)
            timer.start()
            dial(Endpoint("unix", path=path), in_a(10), 10).close()
            timer.join()


def test_the_second_address_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with Peer(hold) as peer:
        where = ("127.0.0.1", peer.endpoint.port)
        found = [(socket.AF_INET, 1, 6, "", ("127.0.0.1", 1)), (socket.AF_INET, 1, 6, "", where)]
        monkeypatch.setattr(stream.socket, "getaddrinfo", lambda *args, **options: found)
        dial(Endpoint("tcp", "two.example", 1), in_a(1), 1).close()
        found.clear()
        with pytest.raises(CallError, match="no address"):
            dial(Endpoint("tcp", "two.example", 1), in_a(1), 1)
