"""HTTP that means harm: to memory, to time, and to whoever stands before us and reads it in another way."""

import contextlib
import threading

import pytest

from splnode.avro.protocol import find_protocol
from tests.hostile.test_frames import flood, repeated
from tests.hostile.victim import Victim, parameters
from tests.hostile.watch import dial
from tests.wire.conftest import handshake, spec, string

MD5 = find_protocol("SPLExecuteService").md5
HELLO = handshake(MD5, MD5)
PING = spec(HELLO, b"\0\0")


def call(module: str = "spl/void/noop", value: bytes = b"\0") -> bytes:
    return spec(HELLO, b"\0", string("execute"), parameters(module, {}, value))


def post(body: bytes, more: str = "", path: str = "/SPLExecuteService") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: avro/binary\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def head(*lines: str) -> bytes:
    return "\r\n".join(["POST / HTTP/1.1", "Host: x", "Content-Type: avro/binary", *lines, "", ""]).encode()


CHUNKED = head("Transfer-Encoding: chunked")
SMUGGLED = b"POST /smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


def statuses(victim: Victim, data: bytes) -> list[int]:
    """What the node answers, until it closes or the client has waited."""
    got = bytearray()
    with dial(victim.tcp, 3) as sock:

        def send() -> None:
            with contextlib.suppress(OSError):
                sock.sendall(data)

        sender = threading.Thread(target=send)
        sender.start()
        with contextlib.suppress(OSError):
            while part := sock.recv(65536):
                got += part
        sender.join()
    return [int(part[:3]) for part in got.split(b"HTTP/1.1 ")[1:]]


REFUSED = {
    "a header of 10 MB": (b"POST / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 10_000_000, 431),
    "a million headers": (b"POST / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 1_000_000, 431),
    "a line of 10 MB": (b"POST /" + b"a" * 10_000_000, 431),
    "chunks of one byte": (CHUNKED + b"1\r\nx\r\n" * 1_000_000, 413),
    "chunks without an end": (CHUNKED + (b"fffff\r\n" + bytes(0xFFFFF) + b"\r\n") * 20, 413),
    "chunk extensions without an end": (CHUNKED + b"1;" + b"x" * 10_000_000, 431),
    "trailers without an end": (CHUNKED + b"0\r\n" + b"a: b\r\n" * 1_000_000, 431),
    "a body of 10^18": (head("Content-Length: 1000000000000000000") + bytes(10_000_000), 413),
    "a body of -1": (head("Content-Length: -1"), 400),
    "a body of +5": (head("Content-Length: +5") + b"abcde", 400),
    "two lengths": (head("Content-Length: 5", "Content-Length: 6") + b"abcdef", 400),
    "chunked, but not last": (head("Transfer-Encoding: chunked, identity") + b"0\r\n\r\n", 501),
    "a space before the colon": (head("Content-Length : 5") + b"abcde", 400),
    "a line without a colon": (head("nonsense") + b"abcde", 400),
    "nul in a header": (head("X: a\0b"), 400),
    "a chunk of -1": (CHUNKED + b"-1\r\nx\r\n", 400),
    "a chunk of 0x5": (CHUNKED + b"0x5\r\nabcde\r\n", 400),
    "GET": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 1000, 405),
    "CONNECT": (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n" + b"junk" * 100, 405),
    "another content type": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: 0\r\n\r\n", 415),
    "an empty body": (post(b""), 400),
    "no Avro": (post(b"hello, world"), 400),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_and_the_connection_ends(victim: Victim, name: str) -> None:
    data, status = REFUSED[name]
    with victim.attacked(name):
        assert statuses(victim, data + SMUGGLED) in ([status], [])  # a reset may overtake the answer
    assert victim.peak < 20


@pytest.mark.parametrize(
    "data",
    [
        head("Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + SMUGGLED,
        head("Transfer-Encoding: chunked", "Content-Length: 5") + b"0\r\n\r\n" + SMUGGLED,
        head("Transfer-Encoding:\tchunked") + b"0\r\n\r\n" + SMUGGLED,
        head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + SMUGGLED,
        head("Content-Length: 5\n", "X: y") + b"abcde" + SMUGGLED,
        head("Transfer-Encoding: xchunked") + b"0\r\n\r\n" + SMUGGLED,
    ],
)
def test_nothing_is_smuggled_behind_a_request_that_can_be_read_in_two_ways(victim: Victim, data: bytes) -> None:
    assert len(statuses(victim, data)) <= 1
    assert "/smuggled" not in victim.log


@pytest.mark.slow
def test_pipelined_pings_and_calls_are_all_answered(victim: Victim) -> None:
    for one, count in ((post(PING), 3000), (post(call()), 1000), (post(PING, "Expect: 100-continue\r\n"), 50)):
        with victim.attacked(f"{count} pipelined requests"):
            assert [each for each in statuses(victim, one * count + b"END") if each == 200] == [200] * count
        assert victim.peak < 20


@pytest.mark.parametrize(
    "name", ["echoes of 1 MB", *(pytest.param(n, marks=pytest.mark.slow) for n in ("pings", "handshakes", "calls"))]
)
def test_a_reader_that_never_reads(victim: Victim, name: str) -> None:
    one = {
        "pings": post(PING),
        "handshakes": post(spec(handshake(b"h" * 16, b"x" * 16), b"\0\0")),
        "calls": post(call()),
        "echoes of 1 MB": post(call(value=b"\x04" + string("x" * 1_000_000))),
    }[name]
    with victim.attacked(f"unread {name}"):
        with dial(victim.tcp) as sock:
            flood(sock, repeated(one), 50_000_000)
    assert victim.peak < 50


def test_a_request_that_never_ends_has_its_time(victim: Victim) -> None:
    starts = (b"POST", b"POST / HTTP/1.1\r\nHost:", head("Content-Length: 100") + b"abc", CHUNKED + b"5\r\nab")
    socks = [dial(victim.tcp, 15) for _ in starts]
    for sock, start in zip(socks, starts, strict=True):
        sock.sendall(start)
    for sock in socks:
        with sock, contextlib.suppress(ConnectionError):
            assert sock.recv(1) == b""
