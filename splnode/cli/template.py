"""A value of a schema to start from: JSON to edit and hand to `-d`."""

from typing import Any, Final

from splnode.avro.protocol import Message
from splnode.avro.schema import MISSING, Field, Schema

_SAMPLES: Final[dict[str, Any]] = {
    "null": None,
    "boolean": False,
    "int": 0,
    "long": 0,
    "float": 0.0,
    "double": 0.0,
    "bytes": "",
    "string": "",
}
_LOGICAL: Final[dict[str, Any]] = {
    "uuid": "00000000-0000-0000-0000-000000000000",
    "date": "1970-01-01",
    "time-millis": "00:00:00",
    "time-micros": "00:00:00",
    "timestamp-millis": "1970-01-01T00:00:00Z",
    "timestamp-micros": "1970-01-01T00:00:00Z",
    "timestamp-nanos": "1970-01-01T00:00:00Z",
    "local-timestamp-millis": "1970-01-01T00:00:00",
    "local-timestamp-micros": "1970-01-01T00:00:00",
    "local-timestamp-nanos": "1970-01-01T00:00:00",
    "duration": {"months": 0, "days": 0, "millis": 0},
}
OPEN: Final = ("splnode.Record", "splnode.Json")
"""Types that take any JSON."""


class EndlessError(Exception):
    """A type that holds itself without a way out."""


def message_template(message: Message) -> Any:
    """The parameters of a message, by name."""
    return {field.name: _field(field, ()) for field in message.request.fields}


def template(schema: Schema, inside: tuple[Schema, ...] = ()) -> Any:
    """A value of the schema; a recursive type appears once and then ends (in null, or an empty list or map)."""
    if schema.name in OPEN:
        return {}
    if schema.logical == "decimal":
        return "0" if not schema.scale else "0." + "0" * schema.scale
    if schema.logical:
        return _LOGICAL[schema.logical]
    if schema.is_record:
        if any(schema is outer for outer in inside):
            raise EndlessError(schema.name)
        return {field.name: _field(field, (*inside, schema)) for field in schema.fields}
    if schema.kind == "enum":
        return schema.default or schema.symbols[0]
    if schema.kind == "fixed":
        return {"hex": "00" * schema.size}
    if schema.items is not None:
        return _items(schema, schema.items, inside)
    if schema.kind == "union":
        return _union(schema, inside)
    return _SAMPLES[schema.kind]


def _field(field: Field, inside: tuple[Schema, ...]) -> Any:
    """A default says more than a made-up value; null, and empty lists and maps, say nothing."""
    if field.default is MISSING or field.default in (None, [], {}):
        try:
            return template(field.schema, inside)
        except EndlessError:
            if field.default is MISSING:
                raise
    if field.schema.kind == "bytes" or (field.schema.kind == "union" and isinstance(field.default, str)):
        return template(field.schema, inside)  # the default of bytes is not written as plain JSON writes bytes
    return _plain(field.schema, field.default, inside)


def _plain(schema: Schema, default: Any, inside: tuple[Schema, ...]) -> Any:
    """The default as plain JSON where it is one; a made-up value where it is written in another way."""
    simple = schema.logical is None and schema.kind in ("boolean", "int", "long", "float", "double", "string", "enum")
    return default if simple or default in (None, [], {}) else template(schema, inside)


def _items(schema: Schema, items: Schema, inside: tuple[Schema, ...]) -> Any:
    try:
        item = template(items, inside)
    except EndlessError:
        return {} if schema.kind == "map" else []
    return {"key": item} if schema.kind == "map" else [item]


def _union(schema: Schema, inside: tuple[Schema, ...]) -> Any:
    """The first branch that is not null and comes to an end; null if there is no other."""
    endless = False
    for branch in schema.branches:
        if branch.kind == "null":
            continue
        try:
            return template(branch, inside)
        except EndlessError:
            endless = True
    if endless and all(branch.kind != "null" for branch in schema.branches):
        raise EndlessError(schema.kind)
    return None
