"""What identifies a schema or a protocol: canonical form, CRC-64-AVRO, MD5, SHA-256, and two of our own.

The canonical form leaves out all that does not change the bytes; defaults and aliases are among it, and
resolution depends on them. So there are two fingerprints of a protocol:

| | same means | made of |
|---|---|---|
| `wire_fingerprint` | the same bytes | names, parameters, responses, errors, one-way |
| `resolution_fingerprint` | resolved with anything in the same way | these, defaults, aliases, logical types |

Source: Apache Avro 1.12 specification, "Parsing Canonical Form for Schemas", "Schema Fingerprints".
"""

import json
from collections.abc import Iterator
from typing import Any, Final

from splnode.avro import digest
from splnode.avro.protocol import Message, Protocol
from splnode.avro.schema import MISSING, Field, Schema

_EMPTY: Final = 0xC15D213AA4D7A795
_Part = str | Schema | tuple[Field, ...]


def canonical_form(schema: Schema) -> str:
    """The Parsing Canonical Form: one text for all schemas that read and write the same bytes.

    `error` is written `record`, as in Java: the two do not differ in their bytes.
    """
    return _write(_parts_of(schema), detailed=False)


def resolution_form(schema: Schema) -> str:
    """The canonical form and what else resolution looks at: defaults, aliases, logical types. Our own form."""
    return _write(_parts_of(schema), detailed=True)


def crc64_avro(schema: Schema) -> int:
    """CRC-64-AVRO (Rabin) of the canonical form, unsigned: what single-object encoding calls the schema."""
    return crc64(canonical_form(schema).encode())


def md5(schema: Schema) -> bytes:
    """The 16 bytes of the MD5 of the canonical form."""
    return digest.md5(canonical_form(schema).encode())


def sha256(schema: Schema) -> bytes:
    """The 32 bytes of the SHA-256 of the canonical form."""
    return digest.sha256(canonical_form(schema).encode())


def wire_fingerprint(what: Schema | Protocol) -> bytes:
    """16 bytes: equal where the same bytes are spoken. Messages count by name, not by their order."""
    return _digest(_write(_parts_of(what), detailed=False))


def resolution_fingerprint(what: Schema | Protocol) -> bytes:
    """16 bytes: equal where resolution with any third schema or protocol ends alike."""
    return _digest(_write(_parts_of(what), detailed=True))


def crc64(data: bytes) -> int:
    """CRC-64-AVRO of some bytes, unsigned. (specification, "Schema Fingerprints")"""
    table, value = _TABLE, _EMPTY
    for byte in data:
        value = (value >> 8) ^ table[(value ^ byte) & 0xFF]
    return value


def _table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (_EMPTY if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE: Final = _table()


def _digest(text: str) -> bytes:
    """SHA-256, cut: MD5 could be forged, and 32 bytes would not fit beside others in a DNS TXT record."""
    return digest.sha256(text.encode("utf-8", "surrogatepass"))[:16]


def _write(parts: Iterator[_Part], *, detailed: bool) -> str:
    """Joins the parts, each named type spelled out where it comes first.

    Not recursive: a thousand records of a protocol, each with a field of the one before it, are no deeper
    than their JSON was, but spelled out they lie inside one another.
    """
    out: list[str] = []
    seen: set[str] = set()
    stack = [parts]
    while stack:
        part = next(stack[-1], None)
        if part is None:
            stack.pop()
        elif isinstance(part, str):
            out.append(part)
        elif isinstance(part, tuple):
            stack.append(_fields(part, detailed))
        elif part.name in seen:
            out.append(_quote(part.name))
        else:
            if part.name:
                seen.add(part.name)
            stack.append(_schema(part, detailed))
    return "".join(out)


def _parts_of(what: Schema | Protocol) -> Iterator[_Part]:
    if isinstance(what, Schema):
        yield what
        return
    yield f'{{"protocol":{_quote(what.name)},"messages":{{'
    for i, (name, message) in enumerate(sorted(what.messages.items())):
        yield f"{',' if i else ''}{_quote(name)}:"
        yield from _message(message)
    yield "}}"


def _message(message: Message) -> Iterator[_Part]:
    yield '{"request":['
    yield message.request.fields
    yield '],"response":'
    yield message.response
    yield ',"errors":'
    yield message.errors
    yield ',"one-way":true}' if message.one_way else "}"


def _schema(schema: Schema, detailed: bool) -> Iterator[_Part]:
    """The parts of one type, keys in the order of the specification: name, type, fields, symbols, items ..."""
    logical = detailed and schema.logical is not None
    if schema.kind == "union":
        yield "["
        for i, branch in enumerate(schema.branches):
            if i:
                yield ","
            yield branch
        yield "]"
        return
    if not schema.name and schema.items is None and not logical:
        yield _quote(schema.kind)
        return
    kind = "record" if schema.is_record else schema.kind
    yield f'{{"name":{_quote(schema.name)},"type":"{kind}"' if schema.name else f'{{"type":"{kind}"'
    if schema.is_record:
        yield ',"fields":['
        yield schema.fields
        yield "]"
    elif schema.kind == "enum":
        yield f',"symbols":{_json(schema.symbols)}'
    elif schema.kind == "fixed":
        yield f',"size":{schema.size}'
    elif schema.items is not None:
        yield ',"items":' if schema.kind == "array" else ',"values":'
        yield schema.items
    if detailed:
        yield _details(schema)
    yield "}"


def _details(schema: Schema) -> str:
    text = ""
    if schema.aliases:
        text += f',"aliases":{_json(sorted(set(schema.aliases)))}'
    if schema.default is not None:
        text += f',"default":{_json(schema.default)}'
    if schema.logical is not None:
        text += f',"logicalType":{_json(schema.logical)}'
        if schema.logical == "decimal":
            text += f',"precision":{schema.precision},"scale":{schema.scale}'
    return text


def _fields(fields: tuple[Field, ...], detailed: bool) -> Iterator[_Part]:
    for i, field in enumerate(fields):
        yield f'{"," if i else ""}{{"name":{_quote(field.name)},"type":'
        yield field.schema
        if detailed and field.aliases:
            yield f',"aliases":{_json(sorted(set(field.aliases)))}'
        if detailed and field.default is not MISSING:
            yield f',"default":{_json(field.default)}'
        yield "}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _quote(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)
