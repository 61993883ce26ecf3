"""Which branch of a union takes a value: the table of `plan.WriteNode`, carried out."""

import enum
from typing import Any, Final
from weakref import WeakKeyDictionary

from splnode.avro.codec.plan import Branch, Op, WriteNode
from splnode.avro.structs import Struct, is_struct
from splnode.errors import EncodeError

_INT: Final = 1 << 31
_LONG: Final = 1 << 63
_UNSET: Final = object()
_attributes: "WeakKeyDictionary[type, dict[str, str]]" = WeakKeyDictionary()
_DICT_OPS: Final = (Op.MAP, Op.RECORD)


def branch_of(union: WriteNode, value: object) -> tuple[int, object]:
    """The place of the branch, and what to write there (a Branch unwrapped). EncodeError if there is none."""
    if type(value) is Branch:
        return _called(union, value.name), value.value
    for place, branch in enumerate(union.branches):
        if branch.accepts and isinstance(value, branch.accepts):
            return place, value
    if is_struct(value):
        return _struct_branch(union, value), value
    for place, branch in enumerate(union.branches):
        if fits(branch, value):
            return place, value
    if isinstance(value, dict):
        only = [place for place, branch in enumerate(union.branches) if branch.op in _DICT_OPS]
        if len(only) == 1:  # so that the error says what is wrong inside
            return only[0], value
    raise EncodeError(f"a value of one of the union's branches ({_labels(union)}) expected, not {named(value)}")


def fits(node: WriteNode, value: object) -> bool:
    """True if a union may give this branch the value, by the value's Python type."""
    op = node.op
    if value is None:
        return op == Op.NULL
    if isinstance(value, bool):
        return op == Op.BOOLEAN
    if isinstance(value, str):
        return op == Op.STRING or (op == Op.ENUM and value in node.indexes)
    if isinstance(value, int):
        return (
            op in (Op.FLOAT, Op.DOUBLE)
            or (op == Op.LONG and -_LONG <= value < _LONG)
            or (op == Op.INT and -_INT <= value < _INT)
        )
    if isinstance(value, float):
        return op in (Op.FLOAT, Op.DOUBLE)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return op == Op.BYTES or (op == Op.FIXED and _size(value) == node.size)
    if isinstance(value, (list, tuple)):
        return op == Op.ARRAY
    if isinstance(value, dict):
        return op == Op.MAP or (op == Op.RECORD and _is_whole(node, value.keys()))
    return isinstance(value, enum.Enum) and op == Op.ENUM and symbol_of(value) in node.indexes


def symbol_of(member: enum.Enum) -> str:
    """The Avro symbol of an enumeration's member: its value where that is a str, else its name."""
    return member.value if isinstance(member.value, str) else member.name


def struct_attributes(struct: type[Struct]) -> dict[str, str]:
    """The attributes of a Struct class by the names they have in data (`rename` applied)."""
    return dict(zip(struct.__struct_encode_fields__, struct.__struct_fields__, strict=True))


def struct_values(value: object, known: frozenset[str]) -> dict[str, Any]:
    """The attributes of a Struct that are fields of the record, by name; those never set are left out.

    EncodeError for what is no Struct.
    """
    if not is_struct(value):
        raise EncodeError(f"dict expected, not {named(value)}")
    names = _attributes.get(type(value))
    if names is None:
        names = _attributes[type(value)] = struct_attributes(type(value))
    found = ((name, getattr(value, attribute, _UNSET)) for name, attribute in names.items() if name in known)
    return {name: each for name, each in found if each is not _UNSET}


def released() -> EncodeError:
    """What a memoryview that was released becomes, in Python's words."""
    return EncodeError("operation forbidden on released memoryview object")


def named(value: object) -> str:
    """A value's type for an error text; the value itself may be long, or secret."""
    return type(value).__name__


def _size(value: bytes | bytearray | memoryview) -> int:
    try:
        return memoryview(value).nbytes
    except ValueError:
        raise released() from None


def _is_whole(node: WriteNode, names: object) -> bool:
    """No unknown key, and none missing without a default."""
    keys = frozenset(names)  # type: ignore[call-overload]  # the keys of a dict or of struct_attributes
    return keys <= node.names and all(name in keys or default is not None for name, _, default in node.fields)


def _struct_branch(union: WriteNode, value: Struct) -> int:
    """By the tag or the class's name, else the first record that has all the Struct's fields and needs no others."""
    records = [(place, branch) for place, branch in enumerate(union.branches) if branch.op == Op.RECORD]
    for name in (value.__struct_config__.tag, type(value).__name__):
        for place, branch in records:
            if isinstance(name, str) and _is_called(branch, name):
                return place
    names = struct_attributes(type(value)).keys()
    for place, branch in records:
        if _is_whole(branch, names):
            return place
    if len(records) == 1:
        return records[0][0]
    raise EncodeError(f"a value of one of the union's branches ({_labels(union)}) expected, not {named(value)}")


def _called(union: WriteNode, name: str) -> int:
    for place, branch in enumerate(union.branches):
        if branch.label == name:
            return place
    for place, branch in enumerate(union.branches):
        if _is_called(branch, name):
            return place
    raise EncodeError(f"the union has no branch {name!r} ({_labels(union)})")


def _is_called(branch: WriteNode, name: str) -> bool:
    return branch.label == name or branch.label.endswith("." + name)


def _labels(union: WriteNode) -> str:
    labels = [branch.label for branch in union.branches]
    return ", ".join(labels[:8]) + (", ..." if len(labels) > 8 else "")
