"""The name that a client asks for, read out of the first bytes of a handshake before TLS has them.

    record      16, version[2], length[2], a part of the message    RFC 8446, 5.1
    message     01, length[3], ClientHello                          RFC 8446, 4
    extension   0000, length[2], length[2], 00, length[2], name     RFC 6066, 3

`ssl` tells the name by a callback too. But for one that is no ASCII it writes a traceback to stderr, as often as
somebody likes; and who changes the context there keeps half of the one that it began with. Besides, TLS begins to keep
128 kB for a ClientHello that only says that it will be as long: so it gets whole ones.
"""

from collections.abc import Iterator
from typing import Final

RECORDS: Final = 16
"""Parts that a ClientHello may be cut into: an honest one is one, or two."""
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_HOST_NAME: Final = 0
_FIXED: Final = 2 + 32
"""legacy_version, random"""


def asked_name(data: bytes) -> str | None:
    """The host name, in small letters and without a dot behind it; None while more must come.

    "" where none is asked for, and for what is no good ClientHello: TLS itself will say what is wrong. ValueError: it
    is cut into more than RECORDS parts.
    """
    hello = _hello(data)
    if hello is None:
        return None
    try:
        for kind, content in _extensions(hello):
            if kind == _SERVER_NAME:
                return _host_name(content).decode("ascii").lower().removesuffix(".")
    except (IndexError, UnicodeDecodeError):
        pass
    return ""


def _hello(data: bytes) -> bytes | None:
    """The content of the ClientHello, b"" if it is none, None while it is not whole."""
    parts, size, place = [], 0, 0
    for _ in range(RECORDS):
        if data[place : place + 1] not in (b"", b"\x16"):
            return b""
        if len(data) < place + 5:
            return None
        length = int.from_bytes(data[place + 3 : place + 5])
        parts.append(data[place + 5 : place + 5 + length])
        size += len(parts[-1])
        place += 5 + length
        if size >= 4:
            message = b"".join(parts)
            if message[0] != _CLIENT_HELLO:
                return b""
            end = 4 + int.from_bytes(message[1:4])
            if size >= end:
                return message[4:end]
        if len(data) < place:
            return None
    raise ValueError(f"its ClientHello is cut into more than {RECORDS} parts")


def _extensions(hello: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and content of each. IndexError: it is cut short."""
    _, place = _counted(hello, _FIXED, 1)  # legacy_session_id
    _, place = _counted(hello, place, 2)  # cipher_suites
    _, place = _counted(hello, place, 1)  # legacy_compression_methods
    if place == len(hello):
        return  # TLS 1.2 may have none
    rest, _ = _counted(hello, place, 2)
    place = 0
    while place < len(rest):
        content, after = _counted(rest, place + 2, 2)
        yield int.from_bytes(rest[place : place + 2]), content
        place = after


def _host_name(content: bytes) -> bytes:
    names, _ = _counted(content, 0, 2)
    if names[0] != _HOST_NAME:
        return b""
    return _counted(names, 1, 2)[0]


def _counted(data: bytes, place: int, width: int) -> tuple[bytes, int]:
    """What stands behind its own length, and the place after it. IndexError: it is not there in full."""
    begin = place + width
    end = begin + int.from_bytes(data[place:begin])
    if begin > len(data) or end > len(data):
        raise IndexError(place)
    return data[begin:end], end
