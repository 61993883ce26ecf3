"""Which branch of a union a value belongs to: the rule by which the codec writes, for those who print.

The table stands in `codec.plan.WriteNode`, and `codec.choice` carries it out on plans; this does on schemas.
"""

import enum
from collections.abc import Iterator, Mapping
from typing import Any

from splnode.avro import logical
from splnode.avro.codec.plan import Branch
from splnode.avro.json_scalar import symbol_of
from splnode.avro.json_text import brief
from splnode.avro.schema import MISSING, Schema
from splnode.avro.structs import Struct, is_struct
from splnode.errors import EncodeError, LimitExceeded
from splnode.limits import Limits


def pick(union: Schema, value: object) -> tuple[int, Any]:
    """The place of the branch and the bare value. EncodeError if no branch takes it."""
    if isinstance(value, Branch):
        return named(union, value.name), value.value
    for fits in (_converts, _is_named_as, _fits):
        for place, branch in enumerate(union.branches):
            if fits(branch, value):
                return place, value
    # The only place for a dict or a Struct, so that the error says what is wrong inside.
    kinds: tuple[str, ...] = ("record", "error") if is_struct(value) else ()
    if isinstance(value, Mapping):
        kinds = ("map", "record", "error")
    places = [place for place, branch in enumerate(union.branches) if branch.kind in kinds]
    if len(places) == 1:
        return places[0], value
    raise EncodeError(f"{brief(value)} fits none of {', '.join(branch.label for branch in union.branches)}")


def named(union: Schema, name: str) -> int:
    """The place of the branch with this full name or kind, or else short name. EncodeError if there is none."""
    for place, branch in enumerate(union.branches):
        if branch.label == name:
            return place
    short = [place for place, branch in enumerate(union.branches) if branch.name and branch.short_name == name]
    if len(short) == 1:
        return short[0]
    labels = ", ".join(branch.label for branch in union.branches)
    raise EncodeError(f"no branch is named {name!r}; there are {labels}")


def as_mapping(value: object) -> Mapping[str, Any] | None:
    """A record's value by field name: a dict as it is, a Struct by its encoded names; None for anything else."""
    if isinstance(value, Mapping):
        return value
    if is_struct(value):
        return dict(_struct_items(value))
    return None


def deeper(depth: int, limits: Limits) -> int:
    """The depth inside of one more record, array or map. LimitExceeded beyond `limits.depth`."""
    if depth >= limits.depth:
        raise LimitExceeded("depth", limits.depth, "records, arrays and maps nest too deep")
    return depth + 1


def _struct_items(value: Struct) -> Iterator[tuple[str, Any]]:
    for name, key in zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True):
        yield key, getattr(value, name)


def _converts(schema: Schema, value: object) -> bool:
    """True for a value of the branch's logical type."""
    _, accepts = logical.writing(schema)
    return bool(accepts) and isinstance(value, accepts)


def _fits(schema: Schema, value: object) -> bool:
    kind = schema.kind
    if kind in ("int", "long"):
        bits = 31 if kind == "int" else 63
        return isinstance(value, int) and not isinstance(value, bool) and -(1 << bits) <= value < 1 << bits
    if kind in ("float", "double"):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "enum":
        return isinstance(value, (str, enum.Enum)) and symbol_of(value) in schema.symbols
    if kind == "fixed":
        return isinstance(value, (bytes, bytearray, memoryview)) and len(value) == schema.size
    if schema.is_record:
        return _fits_record(schema, value)
    return isinstance(value, _CLASSES[kind])


_CLASSES: dict[str, Any] = {
    "null": type(None),
    "boolean": bool,
    "bytes": (bytes, bytearray, memoryview),
    "string": str,
    "array": (list, tuple),
    "map": Mapping,
}


def _is_named_as(schema: Schema, value: object) -> bool:
    """True for a Struct whose tag or class bears the name of the record."""
    if not is_struct(value) or not schema.is_record:
        return False
    names = (value.__struct_config__.tag, type(value).__name__)
    return schema.name in names or schema.short_name in names


def _fits_record(schema: Schema, value: object) -> bool:
    fields = as_mapping(value)
    if fields is None:
        return False
    known = {field.name for field in schema.fields}
    return fields.keys() <= known and all(
        field.name in fields or field.default is not MISSING for field in schema.fields
    )
