"""How a connection begins: pinned, detected, negotiated or not for us; the sessions' tests have the rest."""

import pytest

from splnode.errors import CallError, Code, LocalWireError, RemoteWireError
from splnode.limits import DEFAULT_LIMITS
from splnode.wire.netty import NettyReader
from splnode.wire.opening import Opening
from splnode.wire.spec import SpecReader
from tests.wire.conftest import handshake, netty, pieces, spec

SHAKE = handshake(b"?" * 16, b"?" * 16)
SASL = b"\0\0\0\0\x09ANONYMOUS\0\0\0\0"


def opened(data, framing=None):
    out = []
    opening = Opening(framing, DEFAULT_LIMITS, out)
    for byte in pieces(data):
        if opening.reader is not None:
            break
        opening.feed(byte)
    return opening, out


@pytest.mark.parametrize(
    ("data", "framing", "reader"),
    [
        (netty(0, SHAKE), "netty", NettyReader),
        (spec(SHAKE), "spec", SpecReader),
        (SASL + spec(SHAKE), "sasl", SpecReader),
    ],
)
def test_readers(data, framing, reader):
    opening, out = opened(data)
    assert opening.framing == framing
    assert type(opening.reader) is reader
    assert out == ([b"\x03\0\0\0\0"] if framing == "sasl" else [])
    assert data.endswith(data[len(SASL) if framing == "sasl" else len(opening.rest) :])
    if framing != "sasl":
        assert Opening(framing, DEFAULT_LIMITS, []).reader is not None


def test_http_is_a_body_where_it_is_pinned_and_elsewhere_where_it_is_found():
    assert type(Opening("http", DEFAULT_LIMITS, []).reader) is SpecReader
    opening, _ = opened(b"POST / HTTP/1.1")
    assert (opening.framing, opening.reader, opening.rest) == ("http", None, b"POST / HTTP/1.1")


def test_refusals():
    with pytest.raises(LocalWireError, match="unknown framing 'h2'; there are netty, spec, sasl, http"):
        Opening("h2", DEFAULT_LIMITS, [])
    out: list[bytes] = []
    with pytest.raises(RemoteWireError, match="only ANONYMOUS"):
        Opening(None, DEFAULT_LIMITS, out).feed(b"\0\0\0\0\x05PLAIN\0\0\0\0")
    assert out[0][:1] == b"\x02"
    with pytest.raises(RemoteWireError, match="no framing"):
        Opening(None, DEFAULT_LIMITS, []).feed(b"\xff" * 12)


PLAIN = b"\0\0\0\0\x05PLAIN\0\0\0\x06\0ci\0ok"


@pytest.mark.parametrize("size", [1, 100])
def test_plain_is_served_where_somebody_knows_the_tokens(size):
    told, out = [], []
    opening = Opening(None, DEFAULT_LIMITS, out)
    opening.login = lambda *said: told.append(said)
    data = PLAIN + spec(SHAKE)
    for start in range(0, len(data), size):
        if opening.reader is None:
            opening.feed(data[start : start + size])
    assert told == [("ci", "ok")]
    assert out == [b"\x03\0\0\0\0"]
    assert type(opening.reader) is SpecReader


@pytest.mark.parametrize("data", [PLAIN, PLAIN[:-2] + b"\0\0"])
def test_a_refused_login_says_no_more_than_that(data):
    def never(name, password):
        raise CallError(Code.UNAUTHENTICATED, "no")

    out: list[bytes] = []
    opening = Opening(None, DEFAULT_LIMITS, out)
    opening.login = never
    with pytest.raises(RemoteWireError, match="refused"):
        opening.feed(data)
    assert out[0][:1] == b"\x02"
    assert opening.reader is None


def test_what_is_a_whole_ping():
    whole = SpecReader(DEFAULT_LIMITS, Opening(None, DEFAULT_LIMITS, [])._is_whole_ping).early
    assert whole is not None
    assert whole(SHAKE + b"\0\0")
    for other in (SHAKE, SHAKE + b"\0", SHAKE + b"\0\0\0", SHAKE + b"\0\x02\0", b"\x07" * 40 + b"\0\0"):
        assert not whole(other)
