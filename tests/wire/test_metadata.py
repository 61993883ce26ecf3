"""Metadata, whichever engine reads it."""

import pytest

from splnode.avro.codec import engines
from splnode.errors import EncodeError, LimitExceeded, RemoteWireError
from splnode.limits import Limits
from splnode.wire.metadata import metadata_codec
from splnode.wire.primitive import NO_METADATA, write_map
from tests.wire.conftest import string


@pytest.fixture(params=engines())
def codec(request, monkeypatch):
    monkeypatch.setenv("SPLNODE_ENGINE", request.param)
    metadata_codec.cache_clear()
    yield metadata_codec(Limits(metadata_entries=3))
    metadata_codec.cache_clear()


def test_there_and_back(codec):
    for value in ({}, {"k": b"v"}, {"a" * 100: b"b" * 1000, "": b"", "ü": b"\xff"}):
        written = codec.write(value)
        assert written == write_map(value)
        assert codec.read(b"x" + written + b"junk", 1) == (value, 1 + len(written))
    assert codec.write(None) == b"\0"
    assert codec.read(b"\0", 0)[0] is NO_METADATA


def test_entries_are_counted(codec):
    with pytest.raises(LimitExceeded, match=r"limit metadata_entries = 3"):
        codec.write(dict.fromkeys("abcd", b""))
    with pytest.raises(RemoteWireError, match=r"limit metadata_entries = 3"):
        codec.read(write_map(dict.fromkeys("abcd", b"")), 0)
    with pytest.raises(RemoteWireError, match=r"limit metadata_entries = 3"):
        codec.read(b"\x02" + string("a") + b"\0" + (b"\x02" + string("a") + b"\0") * 3 + b"\0", 0)


@pytest.mark.parametrize("value", [{"k": "text"}, {"k": None}, {1: b"v"}])
def test_what_is_no_metadata_of_ours(codec, value):
    with pytest.raises(EncodeError):
        codec.write(value)


@pytest.mark.parametrize("data", ["", "02", "0202", "02 02 ff 00 00", "02 01", "01 04 0261 0000 00", "ff" * 11])
def test_what_is_no_metadata_of_theirs(codec, data):
    with pytest.raises(RemoteWireError):
        codec.read(bytes.fromhex(data), 0)
