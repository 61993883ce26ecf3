"""The SASL negotiation that may precede spec framing: ANONYMOUS and PLAIN, both ends.

```
client   00 | i32 | mechanism | i32 | initial response       START
server   03 | i32 | data      COMPLETE;   01 CONTINUE;   02 | i32 | text   FAIL, and close
```

The client may send its first request behind its START, and the server's answer may come in pieces.
PLAIN's initial response is `[identity] 00 name 00 password`. (Avro 1.12 specification, "SASL profile"; RFC 4505, 4616)
"""

from typing import Final

from splnode.errors import LocalWireError, RemoteWireError

START: Final = 0
CONTINUE: Final = 1
FAIL: Final = 2
COMPLETE: Final = 3

ANONYMOUS: Final = b"ANONYMOUS"
PLAIN: Final = b"PLAIN"
LONGEST: Final = 4096
"""Bytes of a name, an initial response or a text. ANONYMOUS carries 255 characters of trace at most."""

COMPLETED: Final = b"\x03\0\0\0\0"
"""What the server says when it is content."""


def start(trace: bytes = b"") -> bytes:
    """The client's START for ANONYMOUS; `trace` says who it is, unproven."""
    return b"".join((bytes((START,)), _block(ANONYMOUS), _block(trace)))


def start_plain(name: str, password: str) -> bytes:
    """The client's START for PLAIN. LocalWireError for what cannot be said; it does not say what that is."""
    if not (name and password) or "\0" in name + password:
        raise LocalWireError("SASL PLAIN has a name and a password, and neither has a zero character")
    said = f"\0{name}\0{password}".encode("utf-8", "replace")
    if len(said) > LONGEST:
        raise LocalWireError(f"a name and a password of SASL PLAIN have {LONGEST} bytes at most")
    return b"".join((bytes((START,)), _block(PLAIN), _block(said)))


def fail(text: str) -> bytes:
    """The server's FAIL; it closes after that."""
    return bytes((FAIL,)) + _block(text.encode())


def read_start(data: bytes) -> tuple[bytes, bytes, int] | None:
    """The mechanism of a START, its initial response, and the offset behind it; None where it is not whole yet."""
    if data[:1] not in (b"", b"\0"):
        raise RemoteWireError(f"SASL begins with 00, not {data[:1].hex()}")
    name = _read_block(data, 1)
    if name is None:
        return None
    response = _read_block(data, name[1])
    return None if response is None else (name[0], *response)


def read_plain(response: bytes) -> tuple[str, str]:
    """The name and the password of PLAIN. RemoteWireError; it does not say what the bytes are."""
    parts = response.split(b"\0")
    if len(parts) != 3 or not all(parts[1:]) or parts[0] not in (b"", parts[1]):
        raise RemoteWireError("SASL PLAIN has a name and a password, and acts for nobody else")
    try:
        return parts[1].decode(), parts[2].decode()
    except UnicodeDecodeError:
        raise RemoteWireError("SASL PLAIN has a name and a password in UTF-8") from None


def read_reply(data: bytes, mechanism: bytes = ANONYMOUS) -> int | None:
    """The offset behind the server's COMPLETE; None where it is not whole yet. RemoteWireError: it refused."""
    if not data:
        return None
    if data[0] not in (CONTINUE, FAIL, COMPLETE):
        raise RemoteWireError(f"a SASL server answers 01, 02 or 03, not {data[0]:02x}")
    block = _read_block(data, 1)
    if block is None:
        return None
    if data[0] == FAIL:
        why = block[0].decode(errors="replace") or "no reason"
        raise RemoteWireError(f"the server refused SASL {mechanism.decode()}: {why}")
    if data[0] == CONTINUE:
        raise RemoteWireError(f"the server goes on with SASL {mechanism.decode()}, which has one step only")
    return block[1]


def _block(value: bytes) -> bytes:
    return len(value).to_bytes(4) + value


def _read_block(data: bytes, start: int) -> tuple[bytes, int] | None:
    if len(data) < start + 4:
        return None
    length = int.from_bytes(data[start : start + 4])
    if length > LONGEST:
        raise RemoteWireError(f"{length} bytes in a SASL message (at most {LONGEST})")
    end = start + 4 + length
    return (data[start + 4 : end], end) if len(data) >= end else None
