"""The wire's own Avro primitives against the avro package's encoder, and against bytes that are none."""

import io

import avro.io
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splnode.errors import RemoteWireError
from splnode.wire import primitive

LONGS = st.integers(-(2**63), 2**63 - 1)


@given(LONGS)
def test_long_is_what_avro_writes(value):
    out = io.BytesIO()
    avro.io.BinaryEncoder(out).write_long(value)
    written = primitive.write_long(value)
    assert written == out.getvalue()
    assert primitive.read_long(b"x" + written + b"y", 1) == (value, 1 + len(written))


@given(st.dictionaries(st.text(max_size=20), st.binary(max_size=40), max_size=20), st.binary(max_size=3))
def test_map_there_and_back(value, junk):
    written = primitive.write_map(value)
    assert primitive.read_map(written + junk, 0, 20) == (value, len(written))


def test_map_in_blocks_with_sizes():
    data = bytes.fromhex("01 0a 0261 0478 79  02 0262 00  00".replace(" ", ""))
    assert primitive.read_map(data, 0, 9) == ({"a": b"xy", "b": b""}, len(data))


def test_string_of_a_lone_surrogate():
    assert primitive.write_string("a\ud800") == b"\x04a?"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("", "ends within the varint"),
        ("80", "ends within the varint"),
        ("ffffffffffffffffffff", "longer than 10 bytes"),
        ("ffffffffffffffffff7f", "64 bits"),
        ("02", "ends within the varint"),
        ("02 01", "-1 bytes"),
        ("02 04 61", "2 bytes at byte 1"),
        ("02 02 ff 00 00", "not UTF-8"),
        ("0c", "6 entries .limit metadata_entries = 5"),
        ("80808080808080808001", "limit metadata_entries"),
        ("01 08 0261 00 00", "says it ends"),
        ("01 05 0261 00 00", "says it ends"),
        ("ffffffffffffffffff01 00", "limit metadata_entries"),
    ],
)
def test_what_is_no_map(data, told):
    with pytest.raises(RemoteWireError, match=told):
        primitive.read_map(bytes.fromhex(data), 0, 5)
