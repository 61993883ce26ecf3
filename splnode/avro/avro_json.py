"""Avro's own JSON encoding: unions tagged, bytes as strings of the code points 0-255, logical types raw.

Source: Apache Avro 1.12 specification, "JSON Encoding". It leaves NaN and the infinities open; like Java
they are the strings "NaN", "Infinity" and "-Infinity". Logical types are left as what they are stored as.
"""

from typing import Any

from splnode.avro import logical
from splnode.avro.branch import deeper, named, pick
from splnode.avro.codec.plan import Branch
from splnode.avro.json_scalar import key_step, misfit, read_scalar, write_scalar
from splnode.avro.json_write import JsonWriter
from splnode.avro.schema import MISSING, Schema
from splnode.errors import DataError, EncodeError
from splnode.limits import Limits


class AvroReader:
    """Avro's JSON to values: raw where the type is logical, with `Branch` in unions."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def read(self, schema: Schema, json: Any, depth: int = 0) -> Any:
        """The value of `json`, below `depth` containers. EncodeError with the path; LimitExceeded for the depth."""
        kind = schema.kind
        if kind == "union":
            return self._union(schema, json, depth)
        if schema.is_record and isinstance(json, dict):
            return self._record(schema, json, deeper(depth, self._limits))
        if kind == "array" and isinstance(json, (list, tuple)) and schema.items is not None:
            items, depth = schema.items, deeper(depth, self._limits)
            return [self._part(items, each, f"[{place}]", depth) for place, each in enumerate(json)]
        if kind == "map" and isinstance(json, dict) and schema.items is not None:
            items, depth = schema.items, deeper(depth, self._limits)
            return {key: self._part(items, each, key_step(key), depth) for key, each in json.items()}
        if schema.is_record or schema.items is not None:
            raise misfit(schema, json)
        return _bytes_of(schema, json) if kind in ("bytes", "fixed") else read_scalar(_raw(schema), json, "base64")

    def _part(self, schema: Schema, json: Any, step: str, depth: int) -> Any:
        try:
            return self.read(schema, json, depth)
        except DataError as error:
            error.at(step)
            raise

    def _union(self, schema: Schema, json: Any, depth: int) -> Any:
        if json is None:
            named(schema, "null")
            return None
        if not isinstance(json, dict) or len(json) != 1:
            first = next((branch.label for branch in schema.branches if branch.kind != "null"), "null")
            raise misfit(schema, json, f'in Avro JSON a value of a union names its branch: {{"{first}": ...}}')
        ((name, inner),) = json.items()
        branch = schema.branches[named(schema, name)]
        return Branch(branch.label, self._part(branch, inner, key_step(name), depth))

    def _record(self, schema: Schema, json: dict[str, Any], depth: int) -> dict[str, Any]:
        unknown = json.keys() - {field.name for field in schema.fields}
        if unknown:
            raise EncodeError(f"{schema.name} has no field {min(map(str, unknown))!r}")
        value: dict[str, Any] = {}
        for field in schema.fields:
            if field.name in json:
                value[field.name] = self._part(field.schema, json[field.name], f".{field.name}", depth)
            elif field.default is MISSING:
                raise EncodeError(f"{schema.name} needs {field.name!r}, which is not given")
        return value


class AvroWriter(JsonWriter):
    """Values to Avro's JSON. The branch of a union is the one that the codec would write."""

    def _union(self, union: Schema, value: Any, depth: int) -> Any:
        place, bare = pick(union, value)
        branch = union.branches[place]
        return None if branch.kind == "null" else {branch.label: self.write(branch, bare, depth)}

    def _scalar(self, schema: Schema, value: Any) -> Any:
        return _write_scalar(schema, value)


def _bytes_of(schema: Schema, json: Any) -> bytes:
    if not isinstance(json, str):
        raise misfit(_raw(schema), json)
    try:
        value = json.encode("latin-1")
    except UnicodeEncodeError:
        raise misfit(_raw(schema), json, "in Avro JSON each byte is a character of U+0000 to U+00FF") from None
    if schema.kind == "fixed" and len(value) != schema.size:
        raise misfit(_raw(schema), json, f"it is {len(value)} bytes long")
    return value


def _write_scalar(schema: Schema, value: Any) -> Any:
    convert = logical.writing(schema)[0]
    if convert is not None:
        try:
            value = convert(value)
        except (ValueError, OverflowError) as error:
            raise EncodeError(str(error)) from None
    if schema.kind not in ("bytes", "fixed"):
        return write_scalar(_raw(schema), value, "base64")
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise misfit(_raw(schema), value)
    return bytes(value).decode("latin-1")


def _raw(schema: Schema) -> Schema:
    """The type below a logical type."""
    if schema.logical is None:
        return schema
    raw = Schema(schema.kind, schema.name)
    raw.size = schema.size
    return raw
