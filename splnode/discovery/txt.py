"""The TXT record of one service of one node: what goes in, and what is believed of what comes out.

| key | value |
|---|---|
| `txtvers` | `1`; a record of another version is not read |
| `id` | the node's id |
| `ep` | its epoch, decimal |
| `p` | the protocol's full name, and behind a colon its version where it has one |
| `w` `r` `h` | wire and resolution fingerprint, MD5 of the text: 22 characters of base64url each |
| `s` | `up` or `drain` |
| `wt` | the weight, decimal |
| `tls` | `1`: the port speaks TLS |

A record has at most 400 bytes; what does not fit is left out, least important first, and asked of the node.
(RFC 6763, section 6: keys are compared without case, the first of two counts, a string is at most 255 bytes.)
"""

import base64
import binascii
import math
import re
import typing
from typing import Final

from splnode.discovery.resolver import Service, State

VERSION: Final = b"1"
LARGEST: Final = 400
"""Bytes that we announce."""
LARGEST_READ: Final = 1300
"""Bytes that are looked at: RFC 6763 asks for records that fit an Ethernet packet (section 6.2)."""
DISPENSABLE: Final = ("h", "wt", "r", "w")
"""What is left out of a record that would be too large, in this order."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_PROTOCOL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,199}")
_VERSION: Final = re.compile(r"[\x21-\x7e]{1,40}")


class Txt(typing.NamedTuple):
    """What a record says."""

    node: str
    epoch: int
    service: Service
    state: State = "up"
    weight: float = 1.0
    tls: bool = False


class BadTxtError(ValueError):
    """A record that cannot be used, and why."""


def encode(txt: Txt) -> bytes:
    """The record, at most LARGEST bytes. BadTxtError if nobody could read it: a name is too long or strange."""
    service = txt.service
    if not _NAME.fullmatch(txt.node) or not _PROTOCOL.fullmatch(service.name):
        raise BadTxtError(f"{txt.node!r} or {service.name!r} has letters that no TXT record of ours has")
    named = f"{service.name}:{service.version}" if _VERSION.fullmatch(service.version) else service.name
    values: dict[str, str] = {"txtvers": "1", "id": txt.node, "ep": str(txt.epoch), "p": named, "s": txt.state}
    for key, printed in (("w", service.wire), ("r", service.resolution), ("h", service.md5)):
        if printed:
            values[key] = base64.urlsafe_b64encode(printed).rstrip(b"=").decode()
    if txt.weight != 1.0:
        values["wt"] = f"{txt.weight:.6g}"
    if txt.tls:
        values["tls"] = "1"
    for dispensed in ("", *DISPENSABLE):
        values.pop(dispensed, None)
        strings = [f"{name}={value}".encode() for name, value in values.items()]
        if max(map(len, strings)) > 255:
            break
        if sum(map(len, strings)) + len(strings) <= LARGEST:
            return b"".join(bytes((len(string),)) + string for string in strings)
    raise BadTxtError(f"the names of the node and of {service.name} are too long for a TXT record")


def decode(raw: bytes) -> Txt:
    """What a record says. BadTxtError names the key that cannot be believed; nothing else is ever raised."""
    if len(raw) > LARGEST_READ:
        raise BadTxtError(f"the TXT record has {len(raw)} bytes (at most {LARGEST_READ})")
    values = _strings(raw)
    if values.get("txtvers", VERSION) != VERSION:
        raise BadTxtError(f"txtvers is {_shown(values['txtvers'])}, and we read 1")
    name, _, version = _text(values, "p").partition(":")
    node, state = _text(values, "id"), _text(values, "s", "up")
    if not _NAME.fullmatch(node):
        raise BadTxtError(f"id is {node[:80]!r}, which is no node's id")
    if not _PROTOCOL.fullmatch(name) or (version and not _VERSION.fullmatch(version)):
        raise BadTxtError(f"p is {_text(values, 'p')[:80]!r}, which is no protocol's name")
    if state not in ("up", "drain"):
        raise BadTxtError(f"s is {state[:80]!r}, and not up or drain")
    printed = [_fingerprint(values, key) for key in ("w", "r", "h")]
    service = Service(name, version, *printed)
    tls = _text(values, "tls", "0")
    if tls not in ("0", "1"):
        raise BadTxtError(f"tls is {tls[:80]!r}, and not 0 or 1")
    epoch = _number(values, "ep", 2**63 - 1)
    return Txt(node, epoch, service, typing.cast(State, state), _weight(values), tls == "1")


def _strings(raw: bytes) -> dict[str, bytes]:
    values: dict[str, bytes] = {}
    place = 0
    while place < len(raw):
        end = place + 1 + raw[place]
        if end > len(raw):
            raise BadTxtError("a string of the TXT record ends behind it")
        key, _, value = raw[place + 1 : end].partition(b"=")
        if key:
            values.setdefault(key.decode("latin-1").lower(), value)
        place = end
    return values


def _text(values: dict[str, bytes], key: str, default: str | None = None) -> str:
    value = values.get(key)
    if value is None:
        if default is None:
            raise BadTxtError(f"{key} is missing")
        return default
    try:
        return value.decode("ascii")
    except UnicodeDecodeError:
        raise BadTxtError(f"{key} is {_shown(value)}, which is not ASCII") from None


def _number(values: dict[str, bytes], key: str, most: int) -> int:
    text = _text(values, key, "0")
    if not text.isdigit() or len(text) > 19 or int(text) > most:
        raise BadTxtError(f"{key} is {text[:80]!r}, and not a number from 0 to {most}")
    return int(text)


def _weight(values: dict[str, bytes]) -> float:
    text = _text(values, "wt", "1")
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 <= weight <= 1000:
        raise BadTxtError(f"wt is {text[:80]!r}, and not a number from 0 to 1000")
    return weight


def _fingerprint(values: dict[str, bytes], key: str) -> bytes:
    text = _text(values, key, "")
    if not text:
        return b""
    try:
        printed = base64.b64decode(text + "==", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        printed = b""
    if len(printed) != 16:
        raise BadTxtError(f"{key} is {text[:80]!r}, which is no fingerprint")
    return printed


def _shown(value: bytes) -> str:
    return repr(value[:80])[1:]
