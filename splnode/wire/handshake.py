"""HandshakeRequest and HandshakeResponse: literal layouts, and who answers what.

```
HandshakeRequest   clientHash[16]  00 | 02 text  serverHash[16]       00 | 02 map     34 bytes at least
HandshakeResponse  00 BOTH | 02 CLIENT | 04 NONE  00 | 02 text  00 | 02 serverHash[16]  00 | 02 map
```

| the server | has it right about us | answers |
|---|---|---|
| knows the client's protocol | yes | BOTH |
| knows the client's protocol | no | CLIENT, with its own text and hash |
| does not, and was sent no text | - | NONE, with its own text and hash |

A request with text makes its protocol known, so it is never answered by NONE: Java and avsc would send
it again for ever. (Avro 1.12 specification, "Handshake")
"""

import enum
from collections.abc import Mapping
from typing import Final, NamedTuple

from splnode.errors import RemoteWireError
from splnode.limits import Limits
from splnode.wire.primitive import NO_METADATA, read_bytes, read_map, write_bytes, write_map

HASH_BYTES: Final = 16
SHORTEST_REQUEST: Final = 34
"""Two hashes and two empty unions."""


class Match(enum.IntEnum):
    """What a server says of the two protocols."""

    BOTH = 0
    CLIENT = 1
    NONE = 2


class HandshakeRequest(NamedTuple):
    """What a client says first. `client_protocol` is the text, or None where only the hash is sent."""

    client_hash: bytes
    client_protocol: str | None
    server_hash: bytes
    meta: Mapping[str, bytes] = NO_METADATA


class HandshakeResponse(NamedTuple):
    """What a server answers. Text and hash are there with CLIENT and NONE."""

    match: Match
    server_protocol: str | None = None
    server_hash: bytes | None = None
    meta: Mapping[str, bytes] = NO_METADATA


BOTH: Final = b"\0\0\0\0"
"""The response that says it all fits, written."""


def write_request(request: HandshakeRequest) -> bytes:
    """The bytes of a HandshakeRequest."""
    text, meta = request.client_protocol, request.meta
    return b"".join((
        request.client_hash,
        b"\0" if text is None else b"\x02" + write_bytes(text.encode()),
        request.server_hash,
        b"\x02" + write_map(meta) if meta else b"\0",
    ))  # fmt: skip


def read_request(data: bytes, limits: Limits) -> tuple[HandshakeRequest, int]:
    """The HandshakeRequest that `data` begins with, and the offset behind it. RemoteWireError if there is none."""
    client_hash, position = _hash(data, 0)
    client_protocol, position = _text(data, position, limits)
    server_hash, position = _hash(data, position)
    meta, position = _meta(data, position, limits)
    return HandshakeRequest(client_hash, client_protocol, server_hash, meta), position


def write_response(response: HandshakeResponse) -> bytes:
    """The bytes of a HandshakeResponse."""
    text, server_hash, meta = response.server_protocol, response.server_hash, response.meta
    return b"".join((
        bytes((response.match << 1,)),
        b"\0" if text is None else b"\x02" + write_bytes(text.encode()),
        b"\0" if server_hash is None else b"\x02" + server_hash,
        b"\x02" + write_map(meta) if meta else b"\0",
    ))  # fmt: skip


def read_response(data: bytes, limits: Limits) -> tuple[HandshakeResponse, int]:
    """The HandshakeResponse that `data` begins with, and the offset behind it. RemoteWireError if there is none."""
    if data[:1] not in (b"\0", b"\x02", b"\x04"):
        raise RemoteWireError(f"a handshake response begins with 00, 02 or 04, not {data[:1].hex() or 'nothing'}")
    match = Match(data[0] >> 1)
    server_protocol, position = _text(data, 1, limits)
    server_hash = None
    if _branch(data, position):
        server_hash, position = _hash(data, position + 1)
    else:
        position += 1
    meta, position = _meta(data, position, limits)
    return HandshakeResponse(match, server_protocol, server_hash, meta), position


def decide(known: bool, server_hash_right: bool) -> Match:
    """The server's answer: see the table above."""
    if not known:
        return Match.NONE
    return Match.BOTH if server_hash_right else Match.CLIENT


def _hash(data: bytes, start: int) -> tuple[bytes, int]:
    found = data[start : start + HASH_BYTES]
    if len(found) < HASH_BYTES:
        raise RemoteWireError(f"the message ends within the hash at byte {start} of its handshake")
    return found, start + HASH_BYTES


def _branch(data: bytes, start: int) -> bool:
    """True for the second branch of a union of null and something."""
    index = data[start : start + 1]
    if index not in (b"\0", b"\x02"):
        raise RemoteWireError(f"byte {start} of the handshake is 00 or 02, not {index.hex() or 'missing'}")
    return index == b"\x02"


def _text(data: bytes, start: int, limits: Limits) -> tuple[str | None, int]:
    if not _branch(data, start):
        return None, start + 1
    raw, end = read_bytes(data, start + 1)
    if len(raw) > limits.protocol_bytes:
        raise RemoteWireError(f"a protocol of {len(raw)} bytes (limit protocol_bytes = {limits.protocol_bytes})")
    try:
        return raw.decode(), end
    except UnicodeDecodeError as error:
        raise RemoteWireError(f"the protocol in the handshake is not UTF-8: {error.reason}") from None


def _meta(data: bytes, start: int, limits: Limits) -> tuple[Mapping[str, bytes], int]:
    if not _branch(data, start):
        return NO_METADATA, start + 1
    return read_map(data, start + 1, limits.metadata_entries)
