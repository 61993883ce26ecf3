"""HandshakeRequest and HandshakeResponse: literal bytes, and the avro package's opinion."""

import io

import avro.io
import avro.schema
import pytest

from splnode.errors import RemoteWireError
from splnode.limits import DEFAULT_LIMITS, Limits
from splnode.wire.handshake import (
    BOTH,
    HandshakeRequest,
    HandshakeResponse,
    Match,
    decide,
    read_request,
    read_response,
    write_request,
    write_response,
)

A, B = bytes(range(16)), b" " * 16

REQUEST = """{"type": "record", "name": "HandshakeRequest", "namespace": "org.apache.avro.ipc", "fields": [
  {"name": "clientHash", "type": {"type": "fixed", "name": "MD5", "size": 16}},
  {"name": "clientProtocol", "type": ["null", "string"]},
  {"name": "serverHash", "type": "MD5"},
  {"name": "meta", "type": ["null", {"type": "map", "values": "bytes"}]}]}"""
RESPONSE = """{"type": "record", "name": "HandshakeResponse", "namespace": "org.apache.avro.ipc", "fields": [
  {"name": "match", "type": {"type": "enum", "name": "HandshakeMatch", "symbols": ["BOTH", "CLIENT", "NONE"]}},
  {"name": "serverProtocol", "type": ["null", "string"]},
  {"name": "serverHash", "type": ["null", {"type": "fixed", "name": "MD5", "size": 16}]},
  {"name": "meta", "type": ["null", {"type": "map", "values": "bytes"}]}]}"""


def by_avro(schema, value):
    out = io.BytesIO()
    avro.io.DatumWriter(avro.schema.parse(schema)).write(value, avro.io.BinaryEncoder(out))
    return out.getvalue()


@pytest.mark.parametrize("text", [None, "", "{}", "ü" * 200])
@pytest.mark.parametrize("meta", [{}, {"k": b"v"}])
def test_request(text, meta):
    written = by_avro(
        REQUEST, {"clientHash": A, "clientProtocol": text, "serverHash": B, "meta": meta if meta else None}
    )
    request = HandshakeRequest(A, text, B, meta)
    assert write_request(request) == written
    assert read_request(written + b"junk", DEFAULT_LIMITS) == (request, len(written))


@pytest.mark.parametrize("match", Match)
@pytest.mark.parametrize("text", [None, "{}"])
@pytest.mark.parametrize("server_hash", [None, A])
@pytest.mark.parametrize("meta", [{}, {"k": b"v"}])
def test_response(match, text, server_hash, meta):
    value = {"match": match.name, "serverProtocol": text, "serverHash": server_hash, "meta": meta if meta else None}
    written = by_avro(RESPONSE, value)
    response = HandshakeResponse(match, text, server_hash, meta)
    assert write_response(response) == written
    assert read_response(written + b"junk", DEFAULT_LIMITS) == (response, len(written))


def test_lengths_of_the_page():
    assert len(write_request(HandshakeRequest(A, None, B))) == 34
    assert write_response(HandshakeResponse(Match.BOTH)) == BOTH == bytes(4)


def test_empty_map_as_meta_is_read():
    """yaqc writes one instead of null."""
    written = by_avro(REQUEST, {"clientHash": B, "clientProtocol": None, "serverHash": B, "meta": {}})
    assert written == B + b"\0" + B + b"\x02\0"
    assert read_request(written, DEFAULT_LIMITS) == (HandshakeRequest(B, None, B), 35)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("right", [True, False])
def test_decide(known, right):
    assert decide(known, right) is (Match.NONE if not known else Match.BOTH if right else Match.CLIENT)


def test_every_cut_is_refused():
    whole = write_request(HandshakeRequest(A, "text", B, {"k": b"v"}))
    for end in range(len(whole)):
        with pytest.raises(RemoteWireError):
            read_request(whole[:end], DEFAULT_LIMITS)
    whole = write_response(HandshakeResponse(Match.NONE, "text", B, {"k": b"v"}))
    for end in range(len(whole)):
        with pytest.raises(RemoteWireError):
            read_response(whole[:end], DEFAULT_LIMITS)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (A + b"\x04" + B + b"\0", "byte 16 of the handshake is 00 or 02, not 04"),
        (A + b"\0" + B + b"\x01", "byte 33"),
        (A + b"\x02\x01" + B + b"\0", "-1 bytes"),
        (A + b"\x02\x02\xff" + B + b"\0", "not UTF-8"),
        (A + b"\x02\x12" + b"{}       " + B + b"\0", "9 bytes .limit protocol_bytes = 8"),
    ],
)
def test_what_is_no_request(data, told):
    with pytest.raises(RemoteWireError, match=told):
        read_request(data, Limits(protocol_bytes=8))


def test_what_is_no_response():
    with pytest.raises(RemoteWireError, match="begins with 00, 02 or 04, not 06"):
        read_response(b"\x06\0\0\0", DEFAULT_LIMITS)
