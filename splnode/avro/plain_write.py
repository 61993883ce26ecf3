"""Avro values to plain JSON. The rules stand in `plain_json`.

What is written is read back as the same value: where a union would read it otherwise, the branch is said.
"""

from collections.abc import Callable, Mapping
from typing import Any

from splnode.avro import json_value, logical
from splnode.avro.branch import as_mapping, pick
from splnode.avro.json_scalar import BytesAs, is_byte_form, misfit, write_scalar
from splnode.avro.json_write import JsonWriter
from splnode.avro.plain_read import PlainReader, is_open, object_branches, tag_of
from splnode.avro.schema import Schema
from splnode.errors import DataError
from splnode.limits import Limits

Unwrap = Callable[[Mapping[str, Any]], Any]


class PlainWriter(JsonWriter):
    """Writes one value as JSON; `unwrap` gives the JSON of a `splnode.Record`."""

    def __init__(self, bytes_as: BytesAs, unwrap: Unwrap, limits: Limits) -> None:
        super().__init__(limits)
        self._bytes_as = bytes_as
        self._unwrap = unwrap

    def _record(self, schema: Schema, value: Any, depth: int) -> Any:
        if not is_open(schema):
            return super()._record(schema, value, depth)
        fields = as_mapping(value)
        if fields is None or not fields.keys() >= {field.name for field in schema.fields}:
            raise misfit(schema, value)
        return self._unwrap(fields) if json_value.is_record(schema) else finite(json_value.from_value(fields))

    def _scalar(self, schema: Schema, value: Any) -> Any:
        return write_scalar(schema, value, self._bytes_as)

    def _union(self, union: Schema, value: Any, depth: int) -> Any:
        place, bare = pick(union, value)
        if union.branches[place].kind == "float":
            # Read back, a float and a double look alike; as the float it would lose digits if it was none.
            place = next((i for i, branch in enumerate(union.branches) if branch.kind == "double"), place)
        branch = union.branches[place]
        json = self.write(branch, bare, depth)
        if _is_plain(union, branch, json):
            return json
        tagged = {branch.label: json}
        for form in (json, *self._forms(branch, bare, json), tagged, *_raw_forms(branch, bare)):
            if self._reads_as(union, form, (place, form is tagged), depth):
                return form
        return tagged

    def _forms(self, branch: Schema, value: Any, json: Any) -> list[Any]:
        if branch.logical is None and isinstance(value, (bytes, bytearray, memoryview)) and isinstance(json, str):
            return [{self._bytes_as: json}]
        return []

    def _reads_as(self, union: Schema, json: Any, wanted: tuple[int, bool], depth: int) -> bool:
        """Whether reading takes this branch, and for the reason that it should: `{"map": 1}` may be a tag, or data."""
        reader = PlainReader(self._bytes_as, lambda any_json: any_json, self._limits)
        try:
            place, _, said = reader.choose(union, json, depth)
        except DataError:
            return False
        return (place, said) == wanted


def _raw_forms(branch: Schema, value: Any) -> list[Any]:
    """A logical value as what it is stored as, where its own text would be taken for another branch."""
    convert = logical.writing(branch)[0]
    raw = value if convert is None else convert(value)
    if isinstance(raw, bytes) and branch.logical is not None:
        return [{"hex": raw.hex()}]
    return [raw] if isinstance(raw, int) else []


def finite(json: Any) -> Any:
    """A JSON value whose NaN and infinities are the strings that a double is written as."""
    if isinstance(json, float):
        if json != json:  # noqa: PLR0124 - only NaN differs from itself
            return "NaN"
        return json if abs(json) != float("inf") else ("Infinity" if json > 0 else "-Infinity")
    if isinstance(json, list):
        return [finite(each) for each in json]
    if isinstance(json, dict):
        return {key: finite(each) for key, each in json.items()}
    return json


def _is_plain(union: Schema, branch: Schema, json: Any) -> bool:
    """True where no other branch can be meant, whatever is inside: saves reading it all again."""
    if branch.kind == "union" or is_open(branch):
        return False
    if isinstance(json, dict):
        return object_branches(union) == [union.branches.index(branch)] and not (
            is_byte_form(json) or tag_of(union, json) is not None
        )
    return branch.logical is None and branch.kind in ("null", "boolean", "string", "int", "long", "array")
