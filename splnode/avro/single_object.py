"""Single-object encoding: a datum that carries the fingerprint of its schema.

```
C3 01 | CRC-64-AVRO of the schema's canonical form, 8 bytes little-endian | the datum
```

Source: Apache Avro 1.12 specification, "Single-object encoding".
"""

from _thread import get_ident
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from splnode.avro.codec import Decoder, Encoder, decoder, encoder
from splnode.avro.fingerprint import crc64_avro
from splnode.avro.schema import Schema
from splnode.errors import DecodeError
from splnode.limits import DEFAULT_LIMITS, Limits

MARKER: Final = b"\xc3\x01"
HEADER_BYTES: Final = 10
Lookup = Callable[[int], Schema | None]
"""Fingerprint (CRC-64-AVRO, unsigned) -> the writer's schema, or None if it is not known."""

Into = type | tuple[tuple[str, type], ...] | None


def encode(schema: Schema, value: object, *, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """One message. EncodeError if the value does not fit, LimitExceeded if it is too large."""
    head, datum = _writer(schema, limits, get_ident())
    return head + datum.encode(value)


def decode(
    data: bytes | bytearray | memoryview,
    lookup: Lookup,
    *,
    reader: Schema | None = None,
    into: type | Mapping[str, type] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Any:
    """The value of one message, resolved to `reader` (None: as it was written).

    DecodeError if it is no such message, if nobody knows its schema, or if bytes follow the datum;
    SchemaError if its schema cannot be resolved to `reader`.
    """
    number = fingerprint_of(data)
    writer = lookup(number)
    if writer is None:
        raise DecodeError(f"no schema is known for the fingerprint {show(number)}")
    value, end = _reader(writer, reader, _hashable(into), limits, get_ident()).decode(data, HEADER_BYTES)
    if end != len(data):
        raise DecodeError(f"{len(data) - end} bytes follow the datum of {writer.label}")
    return value


def fingerprint_of(data: bytes | bytearray | memoryview) -> int:
    """The fingerprint that a message begins with. DecodeError if it does not begin like a message."""
    if len(data) < HEADER_BYTES:
        raise DecodeError(f"a single-object message has at least {HEADER_BYTES} bytes, this has {len(data)}")
    if bytes(data[:2]) != MARKER:
        raise DecodeError(f"a single-object message begins with c301, this with {bytes(data[:2]).hex()}")
    return int.from_bytes(data[2:HEADER_BYTES], "little")


def header(schema: Schema) -> bytes:
    """The ten bytes that the messages of a schema begin with."""
    return MARKER + crc64_avro(schema).to_bytes(8, "little")


def show(number: int) -> str:
    """A fingerprint as it is written in texts: 16 hexadecimal digits."""
    return f"{number:016x}"


# A codec may be used by one thread at a time, so each thread has its own.


@lru_cache(maxsize=256)
def _writer(schema: Schema, limits: Limits, _thread: int) -> tuple[bytes, Encoder]:
    return header(schema), encoder(schema, limits=limits)


@lru_cache(maxsize=256)
def _reader(writer: Schema, reader: Schema | None, into: Into, limits: Limits, _thread: int) -> Decoder:
    return decoder(writer, reader, into=dict(into) if isinstance(into, tuple) else into, limits=limits)


def _hashable(into: type | Mapping[str, type] | None) -> Into:
    return tuple(into.items()) if isinstance(into, Mapping) else into
