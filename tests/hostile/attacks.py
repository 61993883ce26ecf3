"""Every attack by its name: what it does to a node, which limit it meets, and what the node was told before.

The tests (test_attacks.py) bound what each costs; `python -m benchmarks.hostile` makes a table of it.
"""

import contextlib
import hashlib
import itertools
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from splnode.endpoint import Endpoint
from tests.hostile import texts
from tests.hostile.test_datums import BOMBS, written
from tests.hostile.test_frames import BROKEN, HELLO, MESSAGE, PING, flood, repeated
from tests.hostile.test_http import head
from tests.hostile.test_texts import new, shake
from tests.hostile.victim import Victim, execute, parameters
from tests.hostile.watch import dial, exactly, hello, netty_reply
from tests.wire.conftest import handshake, long, netty, string

GREETING = netty(0, HELLO, PING)
SOURCES = 5000
"""Connections from one of 127.0.0.2, 127.0.0.3 ...: each has some 28,000 ports."""

TIGHT = """[limits]
connections = 300
connections_per_address = 20
handshakes = 50
handshakes_per_address = 10
client_protocols = 20
metadata_bytes = 4096
handshake_seconds = 0.5
idle_seconds = 1.0
"""
"""Limits that are soon met."""
RATED = "[limits]\ncalls_per_second = 200\nbytes_per_second = 200_000\n"
SLOW = "[limits]\nhandshake_seconds = 2.0\n"
HELD = "[limits]\nheld_bytes = 16_000_000\nconnection_bytes = 5_000_000\n"
CONFIGS = {"": "", "slow": SLOW, "tight": TIGHT, "rated": RATED, "held": HELD}


class Attack(NamedTuple):
    """`run(victim)` does harm and returns. `config` is one of CONFIGS, `limit` the one that is met, if any.

    `one`: it is a single message, which may cost the node 0.1 s of its CPU; of many, nobody else may wait so long. An
    `outside` one comes from an address that is not loopback, where the machine has one.
    """

    run: Callable[[Victim], None]
    limit: str = ""
    config: str = ""
    one: bool = True
    outside: bool = False


def own_address() -> str:
    """An address of this host that is not loopback; "" if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.254", 9))  # nothing is sent
        except OSError:
            return ""
        return str(sock.getsockname()[0])


@contextlib.contextmanager
def many(where: str, number: int, greeting: bytes = b"", *, from_here: bool = True) -> Iterator[list[socket.socket]]:
    """So many connections at once, from several addresses of this host; some may be refused or dropped."""
    endpoint = Endpoint.parse(where)
    socks: list[socket.socket] = []
    try:
        for place in range(number):
            source = (f"127.0.0.{2 + place // SOURCES}", 0) if from_here else None
            with contextlib.suppress(OSError):
                socks.append(socket.create_connection((endpoint.host, endpoint.port), 20, source))
                if greeting:
                    socks[-1].sendall(greeting)
        yield socks
    finally:
        for sock in socks:
            sock.close()


def answered(socks: list[socket.socket], size: int) -> int:
    """How many have got so many bytes; those that were dropped have not."""
    count = 0
    for sock in socks:
        with contextlib.suppress(OSError, EOFError):
            exactly(sock, size)
            count += 1
    return count


def ended(sock: socket.socket) -> bytes:
    """What the node says until it closes."""
    out = bytearray()
    with contextlib.suppress(ConnectionError):
        while part := sock.recv(65536):
            out += part
    return bytes(out)


def say(data: bytes) -> Callable[[Victim], None]:
    """Sends that on a new connection, which the node then closes."""

    def run(victim: Victim) -> None:
        with dial(victim.tcp) as sock, contextlib.suppress(ConnectionError):
            sock.sendall(data)
            ended(sock)

    return run


def datum(name: str) -> Callable[[Victim], None]:
    """A call whose parameters were written with a schema of the caller's."""
    kind, data = BOMBS[name]
    text = written(kind)
    call = [b"\0", string("execute"), parameters("spl/void/noop"), data]

    def run(victim: Victim) -> None:
        with dial(victim.tcp) as sock:
            sock.sendall(netty(0, handshake(hashlib.md5(text.encode()).digest(), b"?" * 16, text), *call))
            netty_reply(sock)

    return run


def text(data: str, *call: bytes) -> Callable[[Victim], None]:
    """A handshake with such a protocol, and a ping or a call behind it."""

    def run(victim: Victim) -> None:
        with dial(victim.tcp) as sock, contextlib.suppress(ConnectionError, EOFError):
            sock.sendall(shake(data, *call))
            netty_reply(sock)

    return run


def slowloris(victim: Victim) -> None:
    """A thousand that send a byte of their first message now and then."""
    with many(victim.tcp, 1000) as socks:
        for byte in itertools.islice(GREETING, 8):
            for sock in socks:
                with contextlib.suppress(OSError):
                    sock.send(bytes((byte,)))
            time.sleep(0.3)  # clock: slowness is the attack
        answered(socks, 1)


def half_open(victim: Victim) -> None:
    """A thousand that end their side at once, and three thousand that say nothing."""
    with many(victim.tcp, 4000) as socks:
        for sock in socks[::4]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
        answered(socks, 1)


def never_read(data: bytes) -> Callable[[Victim], None]:
    """Sends until the node takes no more, and reads nothing."""

    def run(victim: Victim) -> None:
        with hello(victim.tcp) as sock:
            flood(sock, repeated(data), 100_000_000)

    return run


def reset(victim: Victim) -> None:
    """A thousand that break off in the middle of a message, and of a call."""
    beginnings = (GREETING[:20], GREETING, GREETING + execute("spl/void/noop") * 5, head("Content-Length: 9") + b"x")
    for number in range(1000):
        with dial(victim.tcp) as sock:
            sock.sendall(beginnings[number % len(beginnings)])
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def crowd(number: int, greeting: bytes) -> Callable[[Victim], None]:
    """So many connections at once, that greet or say nothing."""

    def run(victim: Victim) -> None:
        with many(victim.tcp, number, greeting) as socks:
            if greeting:
                assert answered(socks, 18) > number * 0.95
            else:
                assert answered(socks[:1], 1) == 0  # it had to go

    return run


def new_texts(size: str) -> Callable[[Victim], None]:
    """A thousand connections, each with a protocol that was never seen."""

    def run(victim: Victim) -> None:
        for number in range(1000):
            with dial(victim.tcp) as sock:
                sock.sendall(shake(new(number, size)))
                assert netty_reply(sock)[0] == 7

    return run


def calls(data: bytes, code: bytes) -> Callable[[Victim], None]:
    """A burst of calls on one connection, some of which are refused so."""

    def run(victim: Victim) -> None:
        with hello(victim.outside or victim.tcp) as sock:
            sock.sendall(data * 500)
            sock.shutdown(socket.SHUT_WR)
            assert code in ended(sock)

    return run


def unread_answers(victim: Victim) -> None:
    """One that has large answers made, as many as may run at a time, and reads them late.

    Where the others have their turns between, it is held before so many run: then it comes again.
    """
    record = {"topic": "t", "primaryKey": "large"}
    for _ in range(10):
        before = victim.met("connection_bytes")
        with hello(victim.tcp) as sock:
            sock.sendall(execute("spl/data/write", record, b"\x04" + string("x" * 500_000)))
            netty_reply(sock)
            sock.sendall(b"".join(execute("spl/data/read", record, serial=n) for n in range(60)))
            until = time.monotonic() + 3
            while victim.met("connection_bytes") == before and time.monotonic() < until:
                time.sleep(0.1)  # clock: the node has to find that nobody reads
            sock.shutdown(socket.SHUT_WR)
            if b"connection_bytes" in ended(sock):
                return
    raise AssertionError("its answers were never too much")


def watches(victim: Victim) -> None:
    """More calls that take for ever than may be in flight on a connection."""
    with hello(victim.tcp, "splnode.Health") as sock:
        sock.sendall(netty(1, b"\0" + string("check") + string("")))
        state = netty_reply(sock)[1][2:]  # behind metadata and flag: the symbol, and the revision
        watch = b"\0" + string("watch") + string("") + b"\x02" + state[1:] + long(60_000)
        sock.sendall(netty(1, watch) * 1100)
        time.sleep(0.5)  # clock: the node says nothing of those that wait


def beyond(victim: Victim) -> None:
    """More connections than there may be, but for the operator's."""
    with many(victim.tcp, 400, GREETING) as socks:
        assert answered(socks, 18) < 301
        with hello(victim.unix) as sock:
            sock.sendall(netty(1, PING))
            netty_reply(sock)


def unfinished(victim: Victim) -> None:
    """Many large messages that do not end."""
    with many(victim.tcp, 20, GREETING) as socks:
        answered(socks, 18)
        for sock in socks:
            with contextlib.suppress(OSError):
                sock.sendall(struct.pack(">III", 1, 1, MESSAGE) + bytes(2_000_000))
        assert answered(socks[:1], 1) == 0  # the first of them had to go


def elsewhere(number: int, greeting: bytes) -> Callable[[Victim], None]:
    """So many connections from an address that is not loopback."""

    def run(victim: Victim) -> None:
        with many(victim.outside, number, greeting, from_here=False) as socks:
            answered(socks, 18 if greeting else 1)

    return run


def idle(victim: Victim) -> None:
    """Connections that do nothing any more."""
    with many(victim.tcp, 100, GREETING) as socks:
        answered(socks, 18)
        answered(socks, 1)


def fat_metadata(size: int) -> bytes:
    entry = string("k") + long(size) + bytes(size)
    return GREETING + netty(1, long(1) + entry + b"\0" + string("execute") + parameters("spl/void/noop"))


DEEP = "[" * 100
CALL = b"\0" + string("execute") + parameters("spl/void/noop") + bytes(100_000)
ATTACKS: dict[str, Attack] = {
    "Slowloris: 1,000 connections, a byte now and then": Attack(slowloris, "handshake_seconds", "slow", False),
    "half-open: 4,000 connections": Attack(half_open, "handshakes", "slow", False),
    "never reading: calls": Attack(never_read(execute("spl/void/noop")), one=False),
    "never reading: pings": Attack(never_read(netty(1, PING)), one=False),
    "never reading: echoes of 1 MB": Attack(
        never_read(execute("spl/void/noop", {}, b"\x04" + string("x" * 1_000_000))), one=False
    ),
    "reset in the middle: 1,000 connections": Attack(reset, one=False),
    "10,000 connections at once": Attack(crowd(10_000, GREETING), one=False),
    "10,000 connections at once that say nothing": Attack(crowd(10_000, b""), "handshakes", one=False),
    "1,000 handshakes with new protocol texts": Attack(new_texts("small"), "client_protocols", one=False),
    "1,000 handshakes with new texts of 200 types": Attack(new_texts("middling"), "client_protocols", one=False),
    "a storm of 10,000 calls that do not fit": Attack(
        calls(execute("spl/void/noop", {}, b"\x14") * 20, b"INVALID_ARGUMENT"), one=False
    ),
    **{f"datum: {name}": Attack(datum(name)) for name in BOMBS if name != "a million nulls in as many blocks"},
    **{f"frame: {name}": Attack(say(data)) for name, data in BROKEN.items()},
    "frame: a thousand buffers of one byte": Attack(say(netty(5, *[b"x"] * 1024))),
    **{f"text: {name}": Attack(text(each)) for name, each in {**texts.READABLE, **texts.REFUSED}.items()},
    **{f"text: resolved, {name}": Attack(text(each, CALL)) for name, each in texts.RESOLVED.items()},
    "limit: message_bytes": Attack(say(BROKEN["length 2^31-1"]), "message_bytes"),
    "limit: message_buffers": Attack(say(BROKEN["2^32-1 buffers"]), "message_buffers"),
    "limit: protocol_bytes": Attack(say(shake("x" * 300_000)), "protocol_bytes"),
    "limit: depth": Attack(datum("a list of 5,000"), "depth"),
    "limit: nodes": Attack(datum("2^40 nulls"), "nodes"),
    "limit: schema_depth": Attack(say(shake('{"protocol": "P", "types": ' + DEEP)), "schema_depth"),
    "limit: schema_branches": Attack(
        say(shake(texts.protocol([texts.record("R", texts.field("f", [f"t{n}" for n in range(300)]))]))),
        "schema_branches",
    ),
    "limit: client_protocols": Attack(new_texts("small"), "client_protocols", "tight", False),
    "limit: metadata_entries": Attack(say(GREETING + netty(1, long(2**40) + string("k") * 1000)), "metadata_entries"),
    "limit: metadata_bytes": Attack(say(fat_metadata(100_000)), "metadata_bytes"),
    "limit: metadata_bytes, a smaller one": Attack(say(fat_metadata(5000)), "metadata_bytes", "tight"),
    "limit: header_bytes": Attack(say(b"POST / HTTP/1.1\r\nX: " + b"a" * 1_000_000), "header_bytes"),
    "limit: handshake_seconds": Attack(say(b"\0\0\0\0"), "handshake_seconds", "tight"),
    "limit: handshakes": Attack(crowd(250, b""), "handshakes", "tight", False),
    "limit: handshakes_per_address": Attack(elsewhere(15, b""), "handshakes_per_address", "tight", False, True),
    "limit: connections": Attack(beyond, "connections", "tight", False),
    "limit: connections_per_address": Attack(elsewhere(40, GREETING), "connections_per_address", "tight", False, True),
    "limit: idle_seconds": Attack(idle, "idle_seconds", "tight", False),
    "limit: calls_per_second": Attack(
        calls(execute("spl/void/noop"), b"calls_per_second"), "calls_per_second", "rated", False, True
    ),
    "limit: bytes_per_second": Attack(
        calls(execute("spl/void/noop", {}, b"\x04" + string("x" * 2000)), b"bytes_per_second"),
        "bytes_per_second",
        "rated",
        False,
        True,
    ),
    "limit: held_bytes": Attack(unfinished, "held_bytes", "held", False),
    "limit: connection_bytes": Attack(unread_answers, "connection_bytes", "held", False),
    "limit: calls_per_connection": Attack(watches, "calls_per_connection", one=False),
}
