"""The first bytes of connections, as peers send them."""

import random
import struct

import pytest

from splnode.errors import RemoteWireError
from splnode.limits import DEFAULT_LIMITS
from splnode.wire.detect import ENOUGH, detect
from splnode.wire.handshake import SHORTEST_REQUEST
from tests.wire.conftest import handshake, netty, spec

HASH = bytes(range(200, 216))
SHAKE = handshake(HASH, HASH)


def detected(data: bytes) -> tuple[str | None, int]:
    """What is detected, byte by byte, and after how many bytes; more bytes never change it."""
    for length in range(len(data) + 1):
        found = detect(data[:length], DEFAULT_LIMITS)
        if found is not None:
            assert all(detect(data[:more], DEFAULT_LIMITS) == found for more in range(length, len(data)))
            return found, length
    return None, len(data)


@pytest.mark.parametrize(
    ("data", "framing"),
    [
        (netty(0, SHAKE + b"\0\0"), "netty"),
        (netty(1, SHAKE + b"\0\0"), "netty"),
        (netty(-1 & 0xFFFFFFFF, SHAKE, b"\0", b"\0"), "netty"),
        (netty(0x80000000, b"", SHAKE, b"\0\0"), "netty"),
        (spec(SHAKE + b"\0\0"), "spec"),
        (spec(SHAKE, b"\0", b"\0"), "spec"),
        (spec(handshake(HASH, HASH, "x" * 3000)), "spec"),
        (b"\0\0\0\0\x09ANONYMOUS\0\0\0\0", "sasl"),
        (b"\0\0\0\0\x05PLAIN\0\0\0\x05\0a\0b", "sasl"),
        (b"\0\0\0\0\x0aDIGEST-MD5\0\0\0\0", "sasl"),
        (b"GET / HTTP/1.1\r\n", "http"),
        (b"POST /SPLDataService HTTP/1.1\r\n", "http"),
        (b"OPTIONS * HTTP/1.1\r\n", "http"),
        (bytes.fromhex("160301020001 0001fc0303aabbccdd"), "tls"),
    ],
)
def test_peers(data, framing):
    if framing == "sasl":
        assert data[:4] == bytes(4)
    found, length = detected(data)
    assert found == framing
    assert length == ENOUGH


def test_sasl_head_is_a_status_and_a_length():
    assert b"\0" + struct.pack(">I", 9) == b"\0\0\0\0\x09"


def test_a_serial_that_could_be_a_length_is_settled_by_the_union():
    found, length = detected(netty(17, SHAKE + b"\0\0"))
    assert (found, length) == ("netty", 29)
    assert detected(netty(16, SHAKE + b"\0\0")) == ("netty", 12)
    assert detected(netty(DEFAULT_LIMITS.message_bytes, SHAKE + b"\0\0")) == ("netty", 29)
    assert detected(netty(DEFAULT_LIMITS.message_bytes + 1, SHAKE + b"\0\0")) == ("netty", 12)


def test_a_spec_head_that_looks_like_netty():
    """A hash that begins like a count and a length: what byte 28 holds is random then, so not 00 or 02."""
    data = spec(handshake(bytes.fromhex("00000001 00000010 aaaaaaaaaaaaaaaa"), b"\x11" * 16) + b"\0\0")
    assert detected(data) == ("spec", 29)


def test_short_heads_are_waited_for():
    assert all(detect(b"\0" * n, DEFAULT_LIMITS) is None for n in range(ENOUGH))


@pytest.mark.parametrize("head", [b"\0" * 12, b"\xff" * 12, b"SSH-2.0-OpenSSH", b"\x7fELF\x02\x01\x01\0\0\0\0\0"])
def test_none_of_them(head):
    with pytest.raises(RemoteWireError, match="no framing"):
        detect(head, DEFAULT_LIMITS)


def test_random_heads_of_both_framings():
    dice = random.Random(7)
    for _ in range(20_000):
        text = None if dice.random() < 0.5 else "x" * dice.randrange(2, 5000)
        shake = handshake(dice.randbytes(16), dice.randbytes(16), text)
        assert len(shake) >= SHORTEST_REQUEST
        serial = dice.choice((0, 1, dice.randrange(100), dice.randrange(2**32)))
        assert detect((netty(serial, shake + b"\0\0"))[:29], DEFAULT_LIMITS) == "netty"
        assert detect(spec(shake, b"\0\0")[:29], DEFAULT_LIMITS) == "spec"
