"""Bytes that mean harm, read with a schema that the sender supplies: with each engine, over a socket."""

import hashlib
from typing import Any

import pytest

from splnode.avro.protocol import find_protocol
from tests.hostile.texts import doubling, executing, field, nested, record
from tests.hostile.victim import Victim, execute, parameters
from tests.hostile.watch import dial, hello, netty_reply
from tests.wire.conftest import handshake, long, netty, spec, string

LIST = record("L", field("next", ["null", "L"]))
TREE = record("T", field("below", {"type": "array", "items": "T"}))
NULLS = {"type": "array", "items": "null"}
NOTHING = record("Nothing")
INTS = nested("array", "items", 1)
ENUM = {"type": "enum", "name": "E", "symbols": ["a", "b"]}


def array(kind: Any) -> Any:
    return {"type": "array", "items": kind}


def items(count: int, data: bytes) -> bytes:
    """An array of so many items, of the same bytes or of as many others as they are cut from."""
    return long(count) + data + b"\0"


ASCII = b"".join(b"\x0a%05x" % n for n in range(4096))
BEYOND = b"".join(b"\x0e\xf0\x9f\x98\x80%03x" % n for n in range(4096))
KEYED = b"".join(b"\x02\x0a%05x\x0d\0" % n for n in range(4096))

FULL: dict[str, tuple[Any, bytes]] = {
    "999,000 nulls": (NULLS, items(999_000, b"")),
    "nulls in many blocks": (NULLS, long(100) * 9_900 + b"\0"),
    "nulls in a million blocks": (NULLS, long(1) * 999_000 + b"\0"),
    "999,000 numbers": (array("int"), items(999_000, b"\x0d" * 999_000)),
    "520,000 doubles": (array("double"), items(520_000, bytes(8 * 520_000))),
    "331,776 strings": (array("string"), items(4096 * 81, ASCII * 81)),
    "331,776 strings beyond ASCII": (array("string"), items(4096 * 81, BEYOND * 81)),
    "499,000 empty arrays": (array(NULLS), items(499_000, bytes(499_000))),
    "249,000 empty records": (array(NOTHING), items(249_000, b"")),
    "199,000 records of a number": (array(record("One", field("n", "int"))), items(199_000, b"\x0d" * 199_000)),
    "122,880 maps of a key": (array({"type": "map", "values": "int"}), items(4096 * 30, KEYED * 30)),
    "166,000 times": (array({"type": "long", "logicalType": "timestamp-millis"}), items(166_000, b"\x0d" * 166_000)),
    "2^16 values of no bytes": ([doubling(n) for n in range(17)], b""),
}
"""As much as the limit of nodes allows."""

# The type of one more field of the request, and what stands there.
BOMBS: dict[str, tuple[Any, bytes]] = {
    "a list of 5,000": (LIST, b"\x02" * 5000 + b"\0"),
    "a list of 4 million": (LIST, b"\x02" * 4_000_000 + b"\0"),
    "arrays in arrays": (TREE, b"\x02" * 5000),
    "10^8 nulls": (NULLS, long(10**8) + b"\0"),
    "2^40 nulls": (NULLS, long(2**40) + b"\0"),
    "2^62 nulls": (NULLS, long(2**62) + b"\0"),
    "2^62 nulls of no bytes": (NULLS, long(-(2**62)) + b"\0\0"),
    **FULL,
    "a million nulls in as many blocks": (NULLS, long(1) * 1_000_000 + b"\0"),
    "2^40 empty records": ({"type": "array", "items": NOTHING}, long(2**40) + b"\0"),
    "a million empty arrays": ({"type": "array", "items": NULLS}, long(900_000) + b"\0" * 900_001),
    "2^60 values of no bytes": ([doubling(n) for n in range(60)], b""),
    "2^20 values of no bytes": ([doubling(n) for n in range(21)], b""),
    "a block that is longer than it says": (INTS, long(-2) + long(1) + b"\x02\x02\0"),
    "a block that is shorter than it says": (INTS, long(-2) + long(3) + b"\x02\x02\x02\0"),
    "a block of less than no bytes": (INTS, long(-2) + long(-1) + b"\x02\x02\0"),
    "a block of 2^62 bytes": (INTS, long(-2) + long(2**62) + b"\x02\x02\0"),
    "a block of -2^63": (INTS, long(-(2**63)) + long(1) + b"\x02\0"),
    "branch -1": (["null", "int"], long(-1)),
    "branch 2": (["null", "int"], long(2)),
    "branch 2^40": (["null", "int"], long(2**40)),
    "symbol -1": (ENUM, long(-1)),
    "symbol 2^31": (ENUM, long(2**31)),
    "bytes of length -1": ("bytes", long(-1)),
    "bytes of length 2^31": ("bytes", long(2**31)),
    "bytes of length 2^63-1": ("bytes", long(2**63 - 1)),
    "a string of length -2^63": ("string", long(-(2**63))),
    "a fixed of 2 GiB": ({"type": "fixed", "name": "F", "size": 2**31 - 1}, b""),
    "a varint of 11 bytes": ("long", b"\xff" * 10 + b"\x01"),
    "a varint of 65 bits": ("long", b"\xff" * 9 + b"\x7f"),
    "a varint without an end": ("long", b"\xff" * 100_000),
    "an int of 2^31": ("int", long(2**31)),
    "an int of -2^31-1": ("int", long(-(2**31) - 1)),
    "no UTF-8": ("string", long(4) + b"\xff\xfe\xc0\x80"),
    "half a surrogate": ("string", long(3) + b"\xed\xa0\x80"),
    "boolean 7": ("boolean", b"\x07"),
    "keys without an end": ({"type": "map", "values": "null"}, long(10**8) + b"\0" * 1_000_000),
    "nothing at all": ("double", b""),
    "too much": ("null", b"\0" * 1000),
}


def written(kind: Any) -> str:
    if isinstance(kind, list) and isinstance(kind[0], dict):
        return executing(kind, field("x", kind[-1]["name"]))
    return executing((), field("x", kind))


@pytest.mark.parametrize("name", BOMBS)
def test_a_datum_harms_its_own_call_alone(each_victim: Victim, name: str) -> None:
    kind, data = BOMBS[name]
    text = written(kind)
    call = [b"\0", string("execute"), parameters("spl/void/noop"), data]
    with each_victim.attacked(name):
        with dial(each_victim.tcp) as sock:
            md5 = hashlib.md5(text.encode()).digest()
            sock.sendall(netty(0, handshake(md5, b"?" * 16, text), *call))
            sock.sendall(netty(1, *call) + netty(2, b"\0\0"))
            answers = dict(netty_reply(sock) for _ in range(3))
    for serial in (0, 1):
        assert (b"INVALID_ARGUMENT" in answers[serial]) == (name not in FULL), answers[serial][-200:]
    assert answers[2] == b"\0\0"
    assert each_victim.peak < 50


def fat_headers(count: int) -> bytes:
    entries = b"".join(b"\x06" + bytes((33 + n % 90, 33 + n // 90 % 90, 33 + n // 8100)) + b"\0" for n in range(count))
    return string("a/b/missing") + long(count) + entries + b"\0" + b"\0\0"


@pytest.mark.slow
@pytest.mark.parametrize("framing", ["netty", "http"])
def test_a_map_of_very_many_keys(each_victim: Victim, framing: str) -> None:
    """As much as the limit of nodes allows."""
    body = b"\0" + string("execute") + fat_headers(166_000)
    with each_victim.attacked(f"166,000 headers ({framing})"):
        if framing == "netty":
            with hello(each_victim.tcp, timeout=30) as sock:
                sock.sendall(netty(1, body))
                assert b"no module" in netty_reply(sock)[1]
        else:
            with dial(each_victim.tcp, 30) as sock:
                md5 = find_protocol("SPLExecuteService").md5
                sent = spec(handshake(md5, md5), body)
                head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: avro/binary\r\nContent-Length: {len(sent)}\r\n\r\n"
                sock.sendall(head.encode() + sent)
                assert sock.recv(15) == b"HTTP/1.1 200 \r\n"
    assert each_victim.peak < 50


@pytest.mark.parametrize(
    "metadata",
    [
        {"spl-timeout-ms": b"-5"},
        {"spl-timeout-ms": b"9" * 5000},
        {"spl-timeout-ms": b"1e9"},
        {"spl-timeout-ms": "٣".encode()},
        {"spl-timeout-ms": b"\xff"},
        {"traceparent": b"\0" * 60_000, "tracestate": b"\xff" * 1000},
        {"": b"", "\0": b"\0", "é" * 1000: b"x"},
        {f"k{n}": b"" for n in range(128)},
        {"spl-cancel": b"9" * 10, "spl-peer": b"?", "spl-attempt": b"-1", "spl-call-id": b"\n"},
    ],
)
def test_metadata_that_means_nothing_sensible(victim: Victim, metadata: dict[str, bytes]) -> None:
    entries = b"".join(string(key) + long(len(value)) + value for key, value in metadata.items())
    call = long(len(metadata)) + entries + b"\0" + string("execute") + parameters("spl/void/noop")
    with hello(victim.tcp) as sock:
        sock.sendall(netty(1, call) + netty(2, b"\0\0"))
        answers = dict(netty_reply(sock) for _ in range(2))
        assert answers[2] == b"\0\0"
        if metadata.get("spl-timeout-ms") != b"-5":
            assert answers[1].startswith(b"\0\0"), answers[1]


def test_too_many_entries_of_metadata(victim: Victim) -> None:
    with hello(victim.tcp) as sock:
        sock.sendall(netty(1, long(2**40) + string("k") * 1000))
        assert sock.recv(1) == b""


@pytest.mark.parametrize(
    "module", ["x" * 4_000_000, "../" * 1000, "\0", "a/b/" + "c" * 300, "a//b", "/", "spl/data/wríte"]
)
def test_names_of_modules(victim: Victim, module: str) -> None:
    with hello(victim.tcp) as sock:
        sock.sendall(execute(module))
        answer = netty_reply(sock)[1]
        assert answer.startswith(b"\0\x01\x02"), answer[:200]
        assert len(answer) < 20_000


def test_names_of_messages(victim: Victim) -> None:
    with hello(victim.tcp) as sock:
        for name in ("x" * 1_000_000, "é", " ", "__class__", "close", "execute\0"):
            sock.sendall(netty(1, b"\0" + string(name)))
            assert b"UNIMPLEMENTED" in (answer := netty_reply(sock)[1])
            assert len(answer) < 20_000
        sock.sendall(netty(1, b"\0" + long(2) + b"\xff\xff"))
        assert sock.recv(1) == b""
