"""What a schema or protocol says that Avro will silently not do: a sentence for each.

None of it is an error: the specification asks for unknown keys to be ignored, and that is how a `default` or a
`logicalType` in the wrong object goes unnoticed until the data are wrong.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from splnode.avro.builder import join, misfit
from splnode.avro.protocol import Protocol
from splnode.avro.schema import NAMED, PRIMITIVES, Schema, parse_schema
from splnode.avro.text import read_json, read_text
from splnode.limits import DEFAULT_LIMITS, Limits

_LOGICAL_KEYS: Final = ("logicalType", "precision", "scale")
_FIELD_KEYS: Final = ("name", "type", "default", "aliases", "doc", "order")
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "record": ("fields", "aliases", "namespace", "doc"),
    "error": ("fields", "aliases", "namespace", "doc"),
    "enum": ("symbols", "aliases", "namespace", "doc", "default"),
    "fixed": ("size", "aliases", "namespace", "doc", "logicalType", "precision", "scale"),
    "array": ("items",),
    "map": ("values",),
}
_PLURAL: Final = re.compile("(?:es|s)+$")
_MESSAGE_KEYS: Final = ("request", "response", "errors", "one-way", "doc", "idempotent")


def lint(source: str | bytes, *, limits: Limits = DEFAULT_LIMITS) -> list[str]:
    """The sentences for an .avsc or .avpr text, each beginning with the place. SchemaError if it is malformed."""
    document = read_json(read_text(source, limits=limits), limits=limits)
    if isinstance(document, dict) and "protocol" in document:
        Protocol.parse(source, limits=limits)
        return list(_protocol(document))
    parse_schema(source, limits=limits)
    return list(_schema(document, ""))


def _protocol(document: Mapping[str, Any]) -> Iterator[str]:
    for place, each in enumerate(document.get("types") or ()):
        yield from _schema(each, f"types[{place}]")
    for name, message in (document.get("messages") or {}).items():
        path = join("messages", name)
        for each in message["request"]:
            yield from _field(each, join(path, "request"))
        yield from _schema(message.get("response", "null"), join(path, "response"))
        for place, error in enumerate(message.get("errors") or ()):
            yield from _schema(error, f"{path}.errors[{place}]")
        yield from _misspelt(message, _MESSAGE_KEYS, path)
        if not isinstance(message.get("idempotent", False), bool):
            yield f"{path}: idempotent counts only where it is true or false"


def _schema(source: Any, path: str) -> Iterator[str]:
    if isinstance(source, list):
        for place, branch in enumerate(source):
            yield from _schema(branch, f"{path}[{place}]")
    elif isinstance(source, dict):
        yield from _object(source, path)


def _object(source: Mapping[str, Any], path: str) -> Iterator[str]:
    kind = source["type"]
    if not isinstance(kind, str):
        yield from _ignored(source, "an object around a type", path)
        yield from _schema(kind, path)
        return
    if kind not in (*PRIMITIVES, *NAMED, "array", "map"):
        yield from _ignored(source, f"a reference to {kind}", path)
        return
    if "default" in source and kind != "enum":
        yield f"{path}: a default inside of the type is ignored; it belongs into the field, beside the field's type"
    yield from _logical(kind, source, path)
    yield from _misspelt(source, (*_KEYS.get(kind, ()), *_LOGICAL_KEYS), path)
    if kind in ("array", "map"):
        key = "items" if kind == "array" else "values"
        yield from _schema(source[key], join(path, key))
    for each in source.get("fields", ()) if kind in ("record", "error") else ():
        yield from _field(each, join(path, "fields"))


def _field(source: Mapping[str, Any], path: str) -> Iterator[str]:
    path, kind = join(path, source["name"]), source["type"]
    yield from _misspelt(source, (*_FIELD_KEYS, *_LOGICAL_KEYS), path)
    found = [key for key in _LOGICAL_KEYS if key in source]
    if found:
        inner = f'{{"type": "{kind}", "{found[0]}": ...}}' if isinstance(kind, str) else "that type's own object"
        yield f"{path}: {' and '.join(found)} beside the type is ignored; it belongs into the type: {inner}"
    if isinstance(kind, list) and kind and "default" in source:
        # by the default's JSON alone: null is the case that people meet
        first = kind[0]["type"] if isinstance(kind[0], dict) else kind[0]
        if (source["default"] is None) != (first == "null"):
            yield f"{path}: before Avro 1.12 a union's default must fit its first branch, which is {first!r}"
    yield from _schema(kind, path)


def _logical(kind: str, source: Mapping[str, Any], path: str) -> Iterator[str]:
    schema = Schema(kind)
    schema.size = source.get("size", 0)
    reason = misfit(schema, source)
    if reason:
        yield f"{path}: {reason}; it is ignored".removeprefix(": ")
    elif "logicalType" not in source and ("precision" in source or "scale" in source):
        yield f'{path}: precision and scale mean nothing without "logicalType": "decimal"'.removeprefix(": ")


def _ignored(source: Mapping[str, Any], what: str, path: str) -> Iterator[str]:
    keys = [key for key in ("default", *_LOGICAL_KEYS) if key in source]
    if keys:
        yield f"{path}: {' and '.join(keys)} on {what} is ignored".removeprefix(": ")


def _misspelt(source: Mapping[str, Any], known: tuple[str, ...], path: str) -> Iterator[str]:
    """Keys that differ from a known one by capitals, a hyphen or an s alone."""
    near = {_plain(key): key for key in known}
    for key in source:
        meant = near.get(_plain(key))
        if meant is not None and key != meant and key not in known:
            yield f"{path}: the key {key!r} is ignored; {meant!r} may be meant".removeprefix(": ")


def _plain(key: str) -> str:
    return _PLURAL.sub("", key.lower().replace("-", "").replace("_", ""))
