"""splnode.net.tls_hello: which host a client asks for."""

import ssl
from contextlib import suppress

import pytest

from splnode.net.tls_hello import RECORDS, asked_name


def hello(name: str | None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """What `ssl` sends first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = version
    context.check_hostname = False
    out = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    return out.read()


def cut(record: bytes, size: int) -> bytes:
    """The same message in records of that size."""
    body = record[5:]
    parts = [body[place : place + size] for place in range(0, len(body), size)]
    return b"".join(record[:3] + len(part).to_bytes(2) + part for part in parts)


def with_name(name: bytes, kind: int = 0) -> bytes:
    """A ClientHello that asks for any bytes."""
    entry = bytes([kind]) + len(name).to_bytes(2) + name
    names = len(entry).to_bytes(2) + entry
    extension = b"\0\0" + len(names).to_bytes(2) + names
    body = b"\3\3" + bytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0" + len(extension).to_bytes(2) + extension
    message = b"\1" + len(body).to_bytes(3) + body
    return b"\x16\3\1" + len(message).to_bytes(2) + message


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_name_is_told_whole_in_pieces_and_with_what_follows(version: ssl.TLSVersion) -> None:
    data = hello("Shop.Example.ORG", version)
    for size in (len(data), 100, 60):
        pieces = cut(data, size)
        assert asked_name(pieces) == asked_name(pieces + b"\x14\3\3\0\1\1 and more") == "shop.example.org"
        for end in range(len(pieces)):
            assert asked_name(pieces[:end]) is None


def test_no_name_is_asked_for() -> None:
    assert asked_name(hello(None)) == asked_name(hello("127.0.0.1")) == ""
    bare = b"\1\0\0\x29\3\3" + bytes(32) + b"\0\0\2\x13\1\1\0"  # TLS 1.2 without extensions
    assert asked_name(b"\x16\3\1" + len(bare).to_bytes(2) + bare) == ""


@pytest.mark.parametrize(
    ("name", "read"),
    [
        (b"shop.example.org.", "shop.example.org"),
        (b"", ""),
        (b"b\xc3\xbccher.example", ""),
        (b"\0" * 40, "\0" * 40),
        (b"x" * 300, "x" * 300),
    ],
)
def test_odd_names(name: bytes, read: str) -> None:
    """What cannot be one is asked of nobody; any other fits no certificate."""
    assert asked_name(with_name(name)) == read
    assert asked_name(with_name(name, kind=7)) == ""


def test_what_is_no_client_hello_is_left_to_tls() -> None:
    good = hello("shop.example.org")
    assert asked_name(b"") is None
    for data in (b"\x15\3\1\0\2\2\x28", b"GET / HTTP/1.1", b"\x16\3\1\0\4\2\0\0\0"):
        assert asked_name(data) == ""
    for parts in (cut(good, 1), b"\x16\3\1\0\0" * RECORDS):  # nobody honest does that
        with pytest.raises(ValueError, match="cut into more than 16 parts"):
            asked_name(parts)
    for place in range(5, len(good)):  # no damage is more than another name
        for value in (0, 255):
            with suppress(ValueError):
                found = asked_name(good[:place] + bytes([value]) + good[place + 1 :])
                assert found is None or isinstance(found, str)
