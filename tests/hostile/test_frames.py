"""Frames that mean harm, and peers that send, read and leave as they should not."""

import contextlib
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable

import pytest

from splnode.avro.protocol import find_protocol
from tests.hostile.victim import Victim, execute
from tests.hostile.watch import dial, hello, netty_reply
from tests.wire.conftest import handshake, long, netty, spec, string

EXECUTE = find_protocol("SPLExecuteService").md5
DATA = find_protocol("SPLDataService").md5
HELLO = handshake(EXECUTE, EXECUTE)
PING = b"\0\0"
MESSAGE = 4 * 1024 * 1024
UNFINISHED = struct.pack(">III", 1, 1, MESSAGE) + bytes(MESSAGE - 1)

# What is sent on a new connection that is then closed by the node.
BROKEN = {
    "length 2^31-1": netty(0, HELLO, PING) + struct.pack(">III", 1, 1, 2**31 - 1) + bytes(100_000),
    "length 2^31": netty(0, HELLO, PING) + struct.pack(">III", 1, 1, 2**31) + bytes(100_000),
    "length 2^32-1": netty(0, HELLO, PING) + struct.pack(">III", 1, 1, 2**32 - 1) + bytes(100_000),
    "no buffers": netty(0, HELLO, PING) + struct.pack(">II", 1, 0) + bytes(100),
    "2^32-1 buffers": netty(0, HELLO, PING) + struct.pack(">II", 1, 2**32 - 1) + bytes(100),
    "buffers of too much together": netty(0, HELLO, PING) + netty(1, *[bytes(8192)] * 600)[: 5 << 20],
    "spec: length 2^31-1": spec(HELLO, PING) + struct.pack(">I", 2**31 - 1) + bytes(100_000),
    "spec: length 2^32-1": spec(HELLO, PING) + struct.pack(">I", 2**32 - 1) + bytes(100_000),
    "spec: too many buffers": spec(HELLO, PING) + b"\0\0\0\1x" * 2000,
    "a metadata block that lies": netty(0, HELLO, PING) + netty(1, long(-1) + long(2**40) + b"\2k\0\0\0"),
    "2^62 entries of metadata": netty(0, HELLO, PING) + netty(1, long(2**62) + b"\0" * 1000),
    "a message name without an end": netty(0, HELLO, PING) + netty(1, b"\0" + long(2**62)),
    "a hash that is cut off": netty(0, HELLO[:10]),
    "a branch of 7": netty(0, HELLO[:16] + b"\x0e" + HELLO[17:]),
    "a text of 2^62": netty(0, HELLO[:16] + b"\x02" + long(2**62) + bytes(100)),
    "a text of -1": netty(0, HELLO[:16] + b"\x02" + long(-1) + bytes(100)),
    "SASL with a name of 2^31": b"\0\0\0\0\x09ANONYMOUS" + struct.pack(">I", 2**31) + bytes(100),
    "SASL of another kind": b"\0\0\0\0\x05PLAIN\0\0\0\x03\0a\0",
    "SASL, then nonsense": b"\0\0\0\0\x09ANONYMOUS\0\0\0\0" + b"\xff" * 100,
    "TLS": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(100),
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "zeros": bytes(100_000),
    "ones": b"\xff" * 100_000,
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_frame_ends_its_connection(victim: Victim, name: str) -> None:
    with victim.attacked(name):
        with dial(victim.tcp) as sock, contextlib.suppress(ConnectionError):
            sock.sendall(BROKEN[name])
            while sock.recv(65536):
                pass
    assert victim.peak < 10


def test_a_thousand_buffers_of_one_byte(victim: Victim) -> None:
    message = HELLO + PING
    pieces = [bytes((byte,)) for byte in message] + [b""] * (1024 - len(message))
    call = b"\0" + string("listAvailableModules")
    for frame in (lambda *buffers: netty(5, *buffers), lambda *buffers: spec(*(each for each in buffers if each))):
        with victim.attacked("buffers of one byte"):
            with dial(victim.tcp) as sock:
                sock.sendall(frame(*pieces) + frame(*(bytes((byte,)) for byte in call)) * 100)
                assert sock.recv(1)
    assert victim.peak < 10


def test_a_first_message_that_never_ends_has_its_time(victim: Victim) -> None:
    starts = (b"", b"\0", netty(0, HELLO, PING)[:-1], b"\0\0\0\0\x09ANON", b"POST / HTTP/1.1\r\nHost: x\r\n")
    socks = [dial(victim.tcp, 15) for _ in starts]
    for sock, start in zip(socks, starts, strict=True):
        sock.sendall(start)
    for sock in socks:
        with sock, contextlib.suppress(ConnectionError):
            assert sock.recv(1) == b""


@pytest.mark.slow
def test_a_byte_now_and_then_is_not_enough(victim: Victim) -> None:
    with dial(victim.tcp) as sock:
        with pytest.raises(OSError):
            for byte in netty(0, HELLO, PING) * 100:
                sock.sendall(bytes((byte,)))
                time.sleep(0.2)  # clock: slowness is the attack


def test_a_thousand_connections_that_say_nothing(victim: Victim) -> None:
    idle = victim.descriptors
    with victim.attacked("1,000 half-open connections"):
        socks = [dial(victim.tcp) for _ in range(1000)]
        for sock in socks[::2]:
            sock.sendall(b"\0\0\0\0\0")
        hello(victim.tcp).close()
        for sock in socks:
            with contextlib.suppress(ConnectionError):
                assert sock.recv(1) == b""  # each has had its time
            sock.close()
    victim.settles(idle)
    assert victim.peak < 30


@pytest.mark.parametrize("count", [200, pytest.param(3000, marks=pytest.mark.slow)])
def test_connections_that_are_reset_in_the_middle(victim: Victim, count: int) -> None:
    beginnings = [
        b"",
        netty(0, HELLO, PING),
        netty(0, HELLO, PING) + execute("spl/void/noop") * 5,
        netty(0, HELLO, PING) + execute("spl/void/noop", {}, b"\x04" + string("x" * 100_000))[:50_000],
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc",
        netty(0, handshake(b"?" * 16, b"?" * 16, '{"protocol": "P", "n": ' + "1" * 1000 + "}"), PING),
    ]
    idle = victim.descriptors
    with victim.attacked(f"{count} resets"):
        for number in range(count):
            with dial(victim.tcp) as sock:
                sock.sendall(beginnings[number % len(beginnings)])
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    victim.settles(idle)
    assert victim.peak < 20


def flood(sock: socket.socket, data: bytes, most: int) -> int:
    """Sends until the node takes no more, and reads nothing."""
    sock.settimeout(1.5)
    sent = 0
    with contextlib.suppress(TimeoutError, ConnectionError):
        while sent < most:
            sent += sock.send(data)
    return sent


def repeated(one: bytes) -> bytes:
    return one * max(1, 300_000 // len(one))


FLOODS = {
    "pings": netty(1, PING),
    "handshakes that are not known": netty(1, handshake(b"h" * 16, b"x" * 16), PING),
    "handshakes with a wrong hash": netty(1, handshake(EXECUTE, b"x" * 16), PING),
    "calls of what is not there": netty(1, b"\0" + string("nothing")),
    "calls": execute("spl/void/noop"),
    "lists of modules": netty(1, b"\0" + string("listAvailableModules")),
    "echoes of 1 kB": execute("spl/void/noop", {}, b"\x04" + string("x" * 1000)),
    "echoes of 1 MB": execute("spl/void/noop", {}, b"\x04" + string("x" * 1_000_000)),
    "calls that do not fit": execute("spl/void/noop", {}, b"\x14"),
    "spec: pings": b"",
    "spec: calls": b"",
}


SOON = {"handshakes that are not known", "echoes of 1 kB", "calls"}


@pytest.mark.parametrize(
    "name", [name if name in SOON else pytest.param(name, marks=pytest.mark.slow) for name in FLOODS]
)
def test_a_reader_that_never_reads(victim: Victim, name: str) -> None:
    with victim.attacked(f"unread {name}"):
        if name.startswith("spec"):
            call = execute("spl/void/noop")[12:]
            sock = dial(victim.tcp)
            sock.sendall(spec(HELLO, PING))
            flood(sock, repeated(spec(PING if "pings" in name else call)), 50_000_000)
        else:
            sock = hello(victim.tcp)
            flood(sock, repeated(FLOODS[name]), 100_000_000)
        sock.close()
    assert victim.peak < 50


@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_pipelined_calls_are_all_answered(victim: Victim, count: int) -> None:
    with victim.attacked(f"{count} pipelined calls"):
        with hello(victim.tcp, timeout=60) as sock:
            call = execute("spl/void/noop")
            sender = threading.Thread(target=lambda: [sock.sendall(call * 100) for _ in range(count // 100)])
            sender.start()
            for _ in range(count):
                netty_reply(sock)
            sender.join()
    assert victim.peak < 50


@pytest.mark.parametrize("stopped", [False, True])
def test_messages_of_many_connections_that_do_not_end(victim: Victim, stopped: bool) -> None:
    """A few are read, the others wait in their sockets; who does not get on goes. However slow the node is: `stopped`
    it reads all of them in one turn of its loop."""
    idle = victim.descriptors
    with victim.attacked("100 messages that do not end"):
        socks = [hello(victim.tcp) for _ in range(100)]
        if stopped:
            victim.process.send_signal(signal.SIGSTOP)
        for sock in socks:
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError, ConnectionError):
                sock.sendall(UNFINISHED)  # as much as the kernel takes
        victim.process.send_signal(signal.SIGCONT)
        ended, _, _ = select.select(socks, [], [], 60)
        assert ended
        for sock in socks:
            sock.close()
        victim.settles(idle)
    assert victim.met("held_bytes") > 0
    assert victim.peak < 50


@pytest.mark.parametrize("here", [12, 1_000, 20_000])
def test_large_messages_that_only_begin(victim: Victim, here: int) -> None:
    """Their length words promise 4 MiB each; the node holds what came, and a little for each connection."""
    call = execute("spl/void/noop", {}, b"\x04" + string("x" * (MESSAGE - 1000)))
    with victim.attacked(f"300 beginnings of {here} bytes"):
        socks = []
        for _ in range(300):
            socks.append(hello(victim.tcp))
            socks[-1].sendall(call[:here])
        for sock in socks:
            sock.close()
    assert victim.peak < 30


@pytest.mark.slow
@pytest.mark.parametrize("sent", [b"", netty(0, HELLO, PING)])
def test_connections_come_and_go(victim: Victim, sent: bytes) -> None:
    idle = victim.descriptors
    with victim.attacked("5,000 connections"):
        for _ in range(5000):
            with dial(victim.tcp) as sock:
                sock.sendall(sent)
    victim.settles(idle)
    assert victim.peak < 10


@pytest.mark.parametrize("end", ["close", "half", "reset"])
def test_who_goes_with_calls_in_flight(victim: Victim, end: str) -> None:
    ends: dict[str, Callable[[socket.socket], None]] = {
        "close": lambda sock: None,
        "half": lambda sock: sock.shutdown(socket.SHUT_WR),
        "reset": lambda sock: sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)),
    }
    for _ in range(20):
        with hello(victim.tcp) as sock:
            sock.sendall(execute("spl/data/list") * 50)
            ends[end](sock)
    victim.serves(busy=True)  # a half-closed peer's calls run on, and of a closed one it hears when it answers
