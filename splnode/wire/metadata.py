"""The metadata of a call, a map<bytes>: what splnode's own ends say in it, which no other peer heeds; and its codec.

It is read and written on every call, so by the fastest that is there. The native engine does it in C. The plain one is
made for any schema, and the wire's own loop for this one is twice as fast; it stands in where the native engine is not.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from splnode.avro.charges import of_map
from splnode.avro.codec import Decoder, decoder, encoder, engine_used
from splnode.avro.schema import Schema
from splnode.errors import DataError, EncodeError, LimitExceeded, RemoteWireError
from splnode.limits import Limits
from splnode.wire.primitive import NO_METADATA, read_map, write_map

CODE_KEY: Final = "spl-code"
RETRY_AFTER_KEY: Final = "spl-retry-after-ms"
STARTED_KEY: Final = "spl-started"
HOPS_KEY: Final = "spl-hops"
"""In a request: how many nodes have called one another for its sake, ASCII decimal; absent if no handler made it. In an
error: how many they were when one of them cut the circle."""
CANCEL_KEY: Final = "spl-cancel"
PEER_KEY: Final = "spl-peer"
LOAD_KEY: Final = "spl-load"
"""In a ping: asked with PEER_ASKS, and answered with calls a second, failed calls a second, and the share of the
capacity in use, as decimal numbers with commas between. (`observe.load`) Who does not know it just answers the ping."""
PEER_ASKS: Final = b"?"
PEER_ANSWERS: Final = b"1"
"""The answer differs from the question, since yaqd echoes metadata and is no splnode."""

_SCHEMA: Final = Schema("map")
_SCHEMA.items = Schema("bytes")

Read = Callable[[bytes, int], tuple[Mapping[str, bytes], int]]
Write = Callable[[Mapping[str, bytes] | None], bytes]


class MetadataCodec(NamedTuple):
    """`read(data, start)` gives the map and the offset behind it, or RemoteWireError; `write` may be given None.

    `write` raises EncodeError for what is no str or bytes, and LimitExceeded for too many entries. `decoder` is what
    stands behind `read`, for native code that has errors told by it.
    """

    read: Read
    write: Write
    decoder: Decoder


@lru_cache(16)
def metadata_codec(limits: Limits) -> MetadataCodec:
    """The codec for these limits (`metadata_entries`, `metadata_bytes`)."""
    most, longest = limits.metadata_entries, limits.metadata_bytes
    made = decoder(_SCHEMA, limits=limits.replace(nodes=of_map(_SCHEMA, most)))
    if engine_used() == "plain":
        read = _bounded(lambda data, start: read_map(data, start, most), longest)
        return MetadataCodec(read, _counted(_write_plain, limits), made)
    read = _bounded(_reader(made.decode, most), longest)
    return MetadataCodec(read, _counted(encoder(_SCHEMA, limits=limits).encode, limits), made)


def _bounded(read: Read, longest: int) -> Read:
    def bounded(data: bytes, start: int) -> tuple[Mapping[str, bytes], int]:
        if data.startswith(b"\0", start):
            return NO_METADATA, start + 1
        metadata, end = read(data, start)
        if end - start > longest:
            raise RemoteWireError(f"metadata of {end - start} bytes (limit metadata_bytes = {longest})")
        return metadata, end

    return bounded


def _reader(decode: Read, most: int) -> Read:
    def read(data: bytes, start: int) -> tuple[Mapping[str, bytes], int]:
        try:
            return decode(data, start)
        except LimitExceeded as error:
            if error.limit != "nodes":
                raise RemoteWireError(f"the metadata cannot be read: {error}") from None
            raise RemoteWireError(f"metadata of too many entries (limit metadata_entries = {most})") from None
        except DataError as error:
            raise RemoteWireError(f"the metadata cannot be read: {error}") from None

    return read


def _counted(encode: Callable[[dict[str, bytes]], bytes], limits: Limits) -> Write:
    most, longest = limits.metadata_entries, limits.metadata_bytes

    def write(metadata: Mapping[str, bytes] | None) -> bytes:
        if not metadata:
            return b"\0"
        if len(metadata) > most:
            raise LimitExceeded("metadata_entries", most, f"metadata of {len(metadata)} entries")
        written = encode(metadata if type(metadata) is dict else dict(metadata))
        if len(written) > longest:
            raise LimitExceeded("metadata_bytes", longest, f"metadata of {len(written)} bytes")
        return written

    return write


def _write_plain(metadata: dict[str, bytes]) -> bytes:
    try:
        return write_map(metadata)
    except (AttributeError, TypeError):
        raise EncodeError(f"metadata maps str to bytes, not {metadata!r:.200}") from None
