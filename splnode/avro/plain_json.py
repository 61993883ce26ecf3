"""JSON that a person types or reads, and Avro values. The branch of a union is chosen by the schema.

A JSON value that fits one branch takes it. One that fits several is refused with the branches listed, but
for these, which lose nothing:

- a string is `string` before anything else that strings are read as; a whole number is int, long, double,
  float, then a logical type; a number with a fraction is double, float, decimal;
- `{"base64": s}`, `{"utf8": s}` and `{"hex": s}` are bytes where there is a branch for bytes;
- an open branch (`splnode.Record` and `splnode.Json`, which take any JSON) takes what is no object only
  if no other branch does.

`{"com.acme.Celsius": {...}}` says the branch: a type's full name, its short name if that is enough, or
the kind (`{"bytes": ...}`). Beside an open branch or a map an object is data first, unless it says a full
name or `map`.

`splnode.Json` is the JSON it stands for, and a `splnode.Record` the JSON of its datum. A Record whose
schema is not known is `{"schema": name, "data": {"base64": ...}}`, and that is read as the same Record.

`style="avro"` is Avro's own JSON encoding (`avro_json`), with none of all this.
"""

import base64
from collections.abc import Mapping
from typing import Any, Literal

from splnode.avro import json_value, single_object
from splnode.avro.json_scalar import BytesAs, is_byte_form, read_scalar
from splnode.avro.plain_read import PlainReader, Wrap
from splnode.avro.plain_write import PlainWriter, Unwrap, finite
from splnode.avro.schema import Schema
from splnode.errors import DataError, LimitExceeded
from splnode.limits import DEFAULT_LIMITS, Limits

Style = Literal["plain", "avro"]


def from_json(
    schema: Schema,
    json: Any,
    *,
    style: Style = "plain",
    bytes_as: BytesAs = "base64",
    wrap: Wrap | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Any:
    """A JSON value as a value for the codec, with `Branch` where the codec must be told the branch.

    EncodeError, with the path, says what was expected and what was found. Missing fields that have a
    default are left out: the codec fills them in. `wrap` makes a `splnode.Record` (the dict) of any JSON;
    without it that is `wrap_record`.
    """
    if style == "avro":
        from splnode.avro.avro_json import AvroReader  # noqa: PLC0415 - for those who ask for it

        return AvroReader(limits).read(schema, json)
    return PlainReader(bytes_as, wrap or _wrapping(limits), limits).read(schema, json)


def to_json(
    schema: Schema,
    value: Any,
    *,
    style: Style = "plain",
    bytes_as: BytesAs = "base64",
    unwrap: Unwrap | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Any:
    """A value, as a decoder gives it, as JSON: dict, list, str, int, finite float, bool and None alone.

    `from_json` reads it back as the same value. EncodeError, with the path, if it is no value of the
    schema. `unwrap` gives the JSON of a `splnode.Record`; without it only JSON is unwrapped.
    """
    if style == "avro":
        from splnode.avro.avro_json import AvroWriter  # noqa: PLC0415 - for those who ask for it

        return AvroWriter(limits).write(schema, value)
    return PlainWriter(bytes_as, unwrap or _unwrapping(None, bytes_as, limits), limits).write(schema, value)


def wrap_record(json: Any, *, limits: Limits = DEFAULT_LIMITS) -> dict[str, Any]:
    """The `splnode.Record` of any JSON; of the JSON of a Record with an unknown schema, that Record."""
    if isinstance(json, dict) and json.keys() == {"schema", "data"} and isinstance(json["schema"], str):
        data = _raw_data(json["data"])
        if data is not None:
            return {"schema": json["schema"], "data": data}
    return json_value.json_to_record(json, limits=limits)


def record_to_json(
    record: Mapping[str, Any],
    lookup: single_object.Lookup | None = None,
    *,
    bytes_as: BytesAs = "base64",
    limits: Limits = DEFAULT_LIMITS,
) -> Any:
    """The JSON of a `splnode.Record`. DecodeError if its bytes are bad.

    `lookup` finds schemas by their fingerprint; a Record whose schema it does not know is
    `{"schema": name, "data": {"base64": ...}}`.
    """
    if limits.depth < 1:
        raise LimitExceeded("depth", limits.depth, "records within the data of records nest too deep")
    name, data = record["schema"], bytes(record["data"])
    number = single_object.fingerprint_of(data)
    if number != json_value.json_fingerprint() and (lookup is None or lookup(number) is None):
        return {"schema": name, "data": {"base64": base64.b64encode(data).decode()}}
    schema, value = json_value.open_record(record, lookup or (lambda _: None), limits=limits)
    if json_value.is_json(schema):
        return finite(value)
    inner = limits.replace(depth=limits.depth - 1)
    return to_json(schema, value, bytes_as=bytes_as, unwrap=_unwrapping(lookup, bytes_as, inner), limits=limits)


def _wrapping(limits: Limits) -> Wrap:
    return lambda json: wrap_record(json, limits=limits)


def _unwrapping(lookup: single_object.Lookup | None, bytes_as: BytesAs, limits: Limits) -> Unwrap:
    return lambda record: record_to_json(record, lookup, bytes_as=bytes_as, limits=limits)


def _raw_data(json: Any) -> bytes | None:
    """The bytes of a single-object message of anything but JSON, written as an object; None for all else."""
    if not is_byte_form(json):
        return None
    try:
        data: bytes = read_scalar(Schema("bytes"), json, "base64")
        return data if single_object.fingerprint_of(data) != json_value.json_fingerprint() else None
    except DataError:
        return None
