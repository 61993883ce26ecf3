"""Any JSON as Avro: the types `splnode.Json` and `splnode.Record`, and the way there and back.

A `Record` is a datum that says what it is: the full name of its schema, and a single-object message
(C3 01, CRC-64-AVRO fingerprint, datum; Avro 1.12 specification, "Single-object encoding"). An object that
names no schema travels as a `Json`.

`Json` costs two levels of a datum for one of JSON (the record and its array or map), so the depth limit
of 64 gives 31 levels. What lies deeper, and what no other branch can hold (an integer beyond 64 bits, a
lone surrogate), goes as the text of its JSON in `JsonText`: all JSON goes in and comes out as it was.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from splnode.avro import json_text, single_object
from splnode.avro.codec.plan import Branch
from splnode.avro.fingerprint import crc64_avro
from splnode.avro.schema import Schema, parse_schema
from splnode.errors import DecodeError, EncodeError
from splnode.limits import DEFAULT_LIMITS, Limits

RECORD_NAME: Final = "splnode.Record"
JSON_NAME: Final = "splnode.Json"
TEXT_NAME: Final = "splnode.JsonText"

RECORD_AVSC: Final = """{
  "type": "record",
  "name": "Record",
  "namespace": "splnode",
  "doc": "A datum that says what it is.",
  "fields": [
    {"name": "schema", "type": "string", "doc": "The full name of the datum's schema; splnode.Json for any JSON."},
    {"name": "data", "type": "bytes", "doc": "A single-object message: C3 01, the schema's fingerprint, the datum."}
  ]
}"""
"""The type `splnode.Record`, word for word as it stands in every protocol that uses it."""

JSON_AVSC: Final = """{
  "type": "record",
  "name": "Json",
  "namespace": "splnode",
  "doc": "Any JSON value.",
  "fields": [
    {"name": "value", "type": [
      "null", "boolean", "long", "double", "string",
      {"type": "array", "items": "Json"},
      {"type": "map", "values": "Json"},
      {"type": "record", "name": "JsonText", "doc": "A JSON value that no other branch can hold, as its text.",
       "fields": [{"name": "text", "type": "string"}]}
    ]}
  ]
}"""
"""The type `splnode.Json`: what an object is that names no schema."""


def json_schema() -> Schema:
    """The schema `splnode.Json`; the same object each time."""
    return _schema(JSON_AVSC)


def record_schema() -> Schema:
    """The schema `splnode.Record`; the same object each time."""
    return _schema(RECORD_AVSC)


@cache
def json_fingerprint() -> int:
    """The CRC-64-AVRO of `splnode.Json`, unsigned."""
    return crc64_avro(json_schema())


def is_record(schema: Schema) -> bool:
    """True for the type `splnode.Record`, in whatever protocol it stands."""
    return schema.name == RECORD_NAME and [field.name for field in schema.fields] == ["schema", "data"]


def is_json(schema: Schema) -> bool:
    """True for the type `splnode.Json`, in whatever schema it stands."""
    return schema.name == JSON_NAME and [field.name for field in schema.fields] == ["value"]


def make_record(schema: Schema, value: object, *, limits: Limits = DEFAULT_LIMITS) -> dict[str, Any]:
    """A datum of any schema as the value of `splnode.Record`. EncodeError, LimitExceeded."""
    return {"schema": schema.label, "data": single_object.encode(schema, value, limits=limits)}


def open_record(
    record: Mapping[str, Any], lookup: single_object.Lookup, *, limits: Limits = DEFAULT_LIMITS
) -> tuple[Schema, Any]:
    """The schema and the value of a `splnode.Record`; of a `splnode.Json` the JSON value itself.

    DecodeError if `lookup` does not know the schema (`splnode.Json` needs no lookup), if the record bears
    another name than its schema, or if its bytes are bad.
    """
    name, data = record["schema"], record["data"]
    number = single_object.fingerprint_of(data)
    known = json_schema() if number == json_fingerprint() else lookup(number)
    if known is None:
        raise DecodeError(f"no schema is known for {name!r} with the fingerprint {single_object.show(number)}")
    if known.label != name:
        raise DecodeError(f"a record that says it is {name!r} is a {known.label!r} by its fingerprint")
    value = single_object.decode(data, lambda _: known, limits=limits)
    return known, from_value(value) if is_json(known) else value


def json_to_record(value: object, *, limits: Limits = DEFAULT_LIMITS) -> dict[str, Any]:
    """Any JSON value (None, bool, int, float, str, list, dict) as the value of `splnode.Record`.

    EncodeError, with the path, for what JSON has not; LimitExceeded if it is too large.
    """
    return make_record(json_schema(), to_value(value, levels=(limits.depth - 2) // 2), limits=limits)


def to_value(value: object, *, levels: int) -> dict[str, Any]:
    """A JSON value as a value of `splnode.Json`, `levels` of lists and objects deep; the rest as text."""
    if value is None or isinstance(value, (bool, float)):
        return {"value": value}
    if isinstance(value, int):
        return {"value": value} if -(1 << 63) <= value < 1 << 63 else _text(value)
    if isinstance(value, str):
        return {"value": value} if _is_unicode(value) else _text(value)
    if isinstance(value, (list, tuple)):
        if levels < 1:
            return _text(value)
        return {"value": [_item(f"[{place}]", each, levels) for place, each in enumerate(value)]}
    if isinstance(value, dict):
        _check_key_types(value)
        if levels < 1 or not all(map(_is_unicode, value)):
            return _text(value)
        return {"value": {key: _item(f"[{json.dumps(key)}]", each, levels) for key, each in value.items()}}
    raise EncodeError(f"JSON has no {type(value).__name__}: use None, bool, int, float, str, list or dict")


def from_value(value: Mapping[str, Any]) -> Any:
    """The JSON value behind a decoded value of `splnode.Json`. DecodeError if a text in it is not JSON."""
    content = value["value"]
    if isinstance(content, list):
        return [from_value(each) for each in content]
    if isinstance(content, dict):
        text = content.get("text")
        if isinstance(text, str):  # a JsonText: the values of a map are all records
            return json_text.loads(text)
        return {key: from_value(each) for key, each in content.items()}
    return content


def _item(step: str, value: object, levels: int) -> dict[str, Any]:
    try:
        return to_value(value, levels=levels - 1)
    except EncodeError as error:
        error.at(step)
        raise


def _text(value: object) -> dict[str, Any]:
    try:
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
        json_text.check_depth(text)
        _check_keys(value)
    except (TypeError, ValueError, RecursionError, DecodeError) as error:  # ValueError also for one that holds itself
        raise EncodeError(f"not JSON that can be written: {error}") from None
    return {"value": Branch(TEXT_NAME, {"text": text})}


def _check_keys(value: object) -> None:
    """json.dumps would make strings of keys that are none, without a word."""
    stack = [value]
    while stack:
        each = stack.pop()
        if isinstance(each, (list, tuple)):
            stack.extend(each)
        elif isinstance(each, dict):
            _check_key_types(each)
            stack.extend(each.values())


def _check_key_types(value: dict[Any, Any]) -> None:
    for key in value:
        if not isinstance(key, str):
            raise EncodeError(f"the key {key!r} of an object must be a string")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@cache
def _schema(text: str) -> Schema:
    return parse_schema(text, referee=False)  # our own: the tests have asked it
