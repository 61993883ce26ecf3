"""What Avro reads without a word although its writer meant something else.

Avro ignores keys that it does not know, so a key at the wrong place is no error and has no effect: a
`logicalType` beside a type instead of inside of it, a `default` inside a type instead of beside it.
"""

import difflib
from collections.abc import Iterator
from typing import Any, Final

from splnode.avro.schema import Schema, walk

TYPE_KEYS: Final = (
    "type", "name", "namespace", "doc", "aliases", "fields", "symbols", "items", "values", "size", "default",
    "logicalType", "precision", "scale",
)  # fmt: skip
FIELD_KEYS: Final = ("name", "type", "doc", "default", "order", "aliases")
LOGICAL_KEYS: Final = ("logicalType", "precision", "scale")
CONTAINERS: Final = ("array", "map")
NAMED: Final = ("record", "error", "enum", "fixed")


def lint(document: Any, path: str = "") -> list[str]:
    """A sentence for each thing without effect in a schema or a protocol, which is valid otherwise."""
    if isinstance(document, dict) and "protocol" in document:
        return list(_protocol(document))
    return list(_type(document, path))


def lint_logical(*roots: Schema) -> list[str]:
    """A sentence for each logicalType that is unknown, or that does not fit its type."""
    return [
        f"{schema.label}: logicalType {schema.properties['logicalType']!r} is ignored: Avro does not know it,"
        f" or it does not fit {schema.kind}"
        for schema in walk(*roots)
        if "logicalType" in schema.properties
    ]


def _protocol(document: dict[str, Any]) -> Iterator[str]:
    for place, each in enumerate(document.get("types") or ()):
        yield from _type(each, f"types[{place}]")
    for name, message in (document.get("messages") or {}).items():
        where = f"messages.{name}"
        for place, parameter in enumerate(message.get("request") or ()):
            yield from _field(parameter, f"{where}.request[{place}]")
        yield from _type(message.get("response", "null"), f"{where}.response")
        for place, error in enumerate(message.get("errors") or ()):
            yield from _type(error, f"{where}.errors[{place}]")


def _type(source: Any, path: str) -> Iterator[str]:
    """A type. Recursion ends where the text does; its parser has bounded that."""
    if isinstance(source, list):
        for place, branch in enumerate(source):
            yield from _type(branch, _join(path, f"[{place}]"))
        return
    if not isinstance(source, dict):
        return
    kind = source.get("type")
    where = path or "the schema"
    yield from _misplaced(source, where, kind)
    yield from _misspelt(source, where, TYPE_KEYS)
    for place, field in enumerate(source.get("fields") or () if kind in ("record", "error") else ()):
        yield from _field(field, _join(path, f"fields[{place}]"))
    for key in ("items", "values"):
        if kind in CONTAINERS and key in source:
            yield from _type(source[key], _join(path, key))
    if isinstance(kind, (dict, list)):
        yield from _type(kind, _join(path, "type"))


def _misplaced(source: dict[str, Any], where: str, kind: Any) -> Iterator[str]:
    if "default" in source and kind != "enum":
        yield f'{where}: "default" inside a type is ignored: it belongs to the field, beside "name" and "type"'
    if isinstance(kind, (dict, list)) and "logicalType" in source:
        yield f'{where}: "logicalType" beside a type is ignored: it belongs inside of it, {_inside(source)}'
    if "aliases" in source and kind not in NAMED:
        yield f'{where}: "aliases" of a type without a name are ignored'


def _field(field: Any, path: str) -> Iterator[str]:
    if not isinstance(field, dict):
        return
    path = f"{path} ({field['name']})" if isinstance(field.get("name"), str) else path
    for key in LOGICAL_KEYS:
        if key in field:
            yield f'{path}: "{key}" beside a type is ignored: it belongs inside of it, {_inside(field)}'
    yield from _misspelt(field, path, FIELD_KEYS, ignore=LOGICAL_KEYS)
    yield from _type(field.get("type"), path)


def _inside(source: dict[str, Any]) -> str:
    import json

    kind = source.get("type")
    inner = {"type": kind} if isinstance(kind, str) else {"type": "..."}
    inner |= {key: source[key] for key in LOGICAL_KEYS if key in source}
    return f'"type": {json.dumps(inner)}'


def _misspelt(
    source: dict[str, Any], where: str, known: tuple[str, ...], ignore: tuple[str, ...] = ()
) -> Iterator[str]:
    """Other keys are allowed, and many tools have their own; one that is nearly a known one is a slip."""
    for key in source:
        near = [] if key in known or key in ignore else difflib.get_close_matches(key, known, n=1, cutoff=0.8)
        if near and near[0] not in source:
            yield f'{where}: "{key}" is ignored: did you mean "{near[0]}"?'


def _join(path: str, step: str) -> str:
    return step if not path else f"{path}{step}" if step.startswith("[") else f"{path}.{step}"
