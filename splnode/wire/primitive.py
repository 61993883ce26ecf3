"""The few Avro primitives that the wire itself is made of: long, bytes, string and map<bytes>.

Handshake, metadata and message names have fixed schemas and come with every call, so they are read here
by hand; whatever a protocol declares goes through `avro.codec`. All of it was sent by the peer: a fault is
a RemoteWireError. (Avro 1.12 specification, "Binary Encoding")
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from splnode.errors import RemoteWireError

NO_METADATA: Final[Mapping[str, bytes]] = MappingProxyType({})
"""The metadata of a call that carries none: shared, read-only."""


def read_long(data: bytes, start: int) -> tuple[int, int]:
    """A zig-zag varint and the offset behind it."""
    value = shift = 0
    position = start
    try:
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:
                raise RemoteWireError(f"the varint at byte {start} of the message is longer than 10 bytes")
    except IndexError:
        raise RemoteWireError(f"the message ends within the varint at byte {start}") from None
    if value >> 64:
        raise RemoteWireError(f"the varint at byte {start} of the message does not fit 64 bits")
    return (value >> 1) ^ -(value & 1), position


def write_long(value: int) -> bytes:
    """A zig-zag varint; `value` fits 64 bits."""
    if 0 <= value < 64:
        return bytes((value << 1,))
    rest = (value << 1) ^ (value >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def read_bytes(data: bytes, start: int) -> tuple[bytes, int]:
    """Avro bytes and the offset behind them."""
    length, position = read_long(data, start)
    end = position + length
    if length < 0 or end > len(data):
        raise RemoteWireError(f"{length} bytes at byte {start} of a message of {len(data)}")
    return data[position:end], end


def read_string(data: bytes, start: int) -> tuple[str, int]:
    """An Avro string and the offset behind it."""
    raw, end = read_bytes(data, start)
    try:
        return raw.decode(), end
    except UnicodeDecodeError as error:
        raise RemoteWireError(f"the string at byte {start} of the message is not UTF-8: {error.reason}") from None


def write_bytes(value: bytes) -> bytes:
    """Avro bytes."""
    return write_long(len(value)) + value


def write_string(value: str) -> bytes:
    """An Avro string; what UTF-8 cannot hold (a lone surrogate) becomes a question mark."""
    return write_bytes(value.encode(errors="replace"))


def read_map(data: bytes, start: int, most: int) -> tuple[Mapping[str, bytes], int]:
    """A map<bytes> of at most `most` entries and the offset behind it; of two equal keys the last counts."""
    if data[start : start + 1] == b"\0":
        return NO_METADATA, start + 1
    found: dict[str, bytes] = {}
    entries = 0
    position = start
    while True:
        count, position = read_long(data, position)
        if count == 0:
            return found, position
        end = None
        if count < 0:
            count = -count
            size, position = read_long(data, position)
            end = position + size
        entries += count
        if entries > most:
            raise RemoteWireError(f"metadata of {entries} entries (limit metadata_entries = {most})")
        position = _read_entries(data, position, count, found)
        if end is not None and end != position:
            raise RemoteWireError(f"a block of metadata says it ends at byte {end}, and ends at {position}")


def _read_entries(data: bytes, start: int, count: int, found: dict[str, bytes]) -> int:
    """The entries of one block. Every call with metadata comes through here, so short lengths go the short way."""
    size = len(data)
    position = start
    for _ in range(count):
        length = data[position] if position < size else 1
        end = position + 1 + (length >> 1)
        if length & 0x81 or end > size:  # long, negative or cut off
            key, position = read_string(data, position)
        else:
            try:
                key = data[position + 1 : end].decode()
            except UnicodeDecodeError:
                key, _ = read_string(data, position)  # which raises the error of the wire
            position = end
        length = data[position] if position < size else 1
        end = position + 1 + (length >> 1)
        if length & 0x81 or end > size:
            found[key], position = read_bytes(data, position)
        else:
            found[key] = data[position + 1 : end]
            position = end
    return position


def write_map(value: Mapping[str, bytes] | None) -> bytes:
    """A map<bytes> in one block."""
    if not value:
        return b"\0"
    short = _SHORT
    parts = [write_long(len(value))]
    for key, entry in value.items():
        length = len(entry)
        parts += (_write_key(key), short[length] if length < 64 else write_long(length), entry)
    parts.append(b"\0")
    return b"".join(parts)


_SHORT: Final = tuple(write_long(length) for length in range(64))


@lru_cache(256)
def _write_key(key: str) -> bytes:
    """The keys are few, and the same on every call."""
    return write_string(key)
