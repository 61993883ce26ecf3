"""The plain engine's writing: one function for each node of a write plan, made as those of `read` are."""

import enum
import struct
from collections.abc import Callable
from typing import Any, Final

from splnode.avro.codec.choice import branch_of, named, struct_values, symbol_of
from splnode.avro.codec.plan import Op, WriteNode
from splnode.avro.codec.read import Budget
from splnode.errors import DataError, EncodeError

Write = Callable[[Any, bytearray, Budget], None]
Find = Callable[[WriteNode], "Part"]
"""Gives the part that stands for a node; it has its function when all are made."""

_FLOAT: Final = struct.Struct("<f")
_DOUBLE: Final = struct.Struct("<d")
_BITS: Final = {Op.INT: 32, Op.LONG: 64}


class Part:
    """A node's part: the function that writes it, or for a union those of its branches, as `read.Part`."""

    __slots__ = ("branches", "node", "write")

    write: Write
    branches: "tuple[Part, ...]"

    def __init__(self, node: WriteNode) -> None:
        self.node = node
        self.branches = ()


def compile_write(root: WriteNode) -> Write:
    """The function that writes one datum of the plan; it takes a fresh Budget each time."""
    parts: dict[int, Part] = {}
    nodes: list[WriteNode] = []

    def part(node: WriteNode) -> Part:
        if id(node) not in parts:
            parts[id(node)] = Part(node)
            nodes.append(node)
        return parts[id(node)]

    result = part(root)
    for node in nodes:  # grows while their parts are found
        made = parts[id(node)]
        made.write = _with_logical(node, _MAKERS[node.op](node, part))
        made.branches = tuple(part(branch) for branch in node.branches)
    return result.write


def write_long(number: int, out: bytearray) -> None:
    """A zig-zag varint of a number within 64 bits. (specification, "Binary Encoding")"""
    bits = (number << 1) ^ (number >> 63)
    while bits > 0x7F:
        out.append(bits & 0x7F | 0x80)
        bits >>= 7
    out.append(bits)


def _refused(wanted: str, value: object) -> EncodeError:
    return EncodeError(f"{wanted} expected, not {named(value)}")


def _with_logical(node: WriteNode, write: Write) -> Write:
    convert = node.logical
    if convert is None:
        return write

    def write_logical(value: Any, out: bytearray, left: Budget) -> None:
        try:
            raw = convert(value)
        except (ValueError, ArithmeticError) as error:
            raise EncodeError(str(error)) from None
        write(raw, out, left)

    return write_logical


def _null(node: WriteNode, part: Find) -> Write:
    def write(value: Any, out: bytearray, left: Budget) -> None:
        if value is not None:
            raise _refused("None", value)

    return write


def _boolean(node: WriteNode, part: Find) -> Write:
    def write(value: Any, out: bytearray, left: Budget) -> None:
        if value is not True and value is not False:
            raise _refused("bool", value)
        out.append(value)

    return write


def _integer(node: WriteNode, part: Find) -> Write:
    kind, bits = node.op.name.lower(), _BITS[node.op]
    bound = 1 << (bits - 1)

    def write(value: Any, out: bytearray, left: Budget) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise _refused("int", value)
        if not -bound <= value < bound:
            raise EncodeError(f"the number does not fit {kind}, of {bits} bits")
        write_long(value, out)

    return write


def _real(node: WriteNode, part: Find) -> Write:
    pack = (_FLOAT if node.op == Op.FLOAT else _DOUBLE).pack

    def write(value: Any, out: bytearray, left: Budget) -> None:
        if not isinstance(value, (float, int)) or isinstance(value, bool):
            raise _refused("float", value)
        try:
            out += pack(value)
        except (OverflowError, struct.error):  # struct.error for an int beyond the doubles
            raise EncodeError(f"the number does not fit a {node.op.name.lower()}") from None

    return write


def write_text(value: Any, out: bytearray, left: Budget) -> None:
    """A string, or a map's key."""
    if not isinstance(value, str):
        raise _refused("str", value)
    try:
        raw = value.encode()
    except UnicodeEncodeError as error:
        raise EncodeError(f"a str that is no text: {error.reason} at {error.start}") from None
    left.length(len(raw))
    write_long(len(raw), out)
    out += raw


def _string(node: WriteNode, part: Find) -> Write:
    return write_text


def _raw(value: Any, left: Budget) -> bytes | bytearray:
    raw = value.tobytes() if isinstance(value, memoryview) else value
    if not isinstance(raw, (bytes, bytearray)):
        raise _refused("bytes", value)
    left.length(len(raw))
    return raw


def _bytes(node: WriteNode, part: Find) -> Write:
    def write(value: Any, out: bytearray, left: Budget) -> None:
        raw = _raw(value, left)
        write_long(len(raw), out)
        out += raw

    return write


def _fixed(node: WriteNode, part: Find) -> Write:
    size = node.size

    def write(value: Any, out: bytearray, left: Budget) -> None:
        raw = _raw(value, left)
        if len(raw) != size:
            raise EncodeError(f"{len(raw)} bytes for a fixed of {size}")
        out += raw

    return write


def _enum(node: WriteNode, part: Find) -> Write:
    indexes, label = node.indexes, node.label

    def write(value: Any, out: bytearray, left: Budget) -> None:
        symbol = symbol_of(value) if isinstance(value, enum.Enum) else value
        if not isinstance(symbol, str):
            raise _refused(f"a symbol of {label}", value)
        index = indexes.get(symbol)
        if index is None:
            raise EncodeError(f"{symbol[:60]!r} is no symbol of {label}")
        write_long(index, out)

    return write


def _branch(part: Part, value: Any, out: bytearray) -> tuple[Write, Any]:
    """The function of the union's branch that takes the value, and what it shall write."""
    index, inner = branch_of(part.node, value)
    write_long(index, out)
    return part.branches[index].write, inner


def _union(node: WriteNode, part: Find) -> Write:
    own = part(node)

    def write(value: Any, out: bytearray, left: Budget) -> None:
        branch, inner = _branch(own, value, out)
        branch(inner, out, left)

    return write


def _array(node: WriteNode, part: Find) -> Write:
    assert node.items is not None
    item, is_union = part(node.items), node.items.op == Op.UNION

    def write(value: Any, out: bytearray, left: Budget) -> None:
        left.enter()
        if not isinstance(value, (list, tuple)):
            raise _refused("list", value)
        left.spend(len(value))
        if value:
            write_long(len(value), out)
        place = 0
        try:
            for place, each in enumerate(value):  # noqa: B007 - the handler below names the place
                step, inner = _branch(item, each, out) if is_union else (item.write, each)
                step(inner, out, left)
        except DataError as error:
            error.at(f"[{place}]")
            raise
        out.append(0)
        left.depth += 1

    return write


def _map(node: WriteNode, part: Find) -> Write:
    assert node.items is not None
    item, is_union = part(node.items), node.items.op == Op.UNION

    def write(value: Any, out: bytearray, left: Budget) -> None:
        left.enter()
        if not isinstance(value, dict):
            raise _refused("dict", value)
        left.spend(len(value))
        if value:
            write_long(len(value), out)
        for key, each in value.items():
            if not isinstance(key, str):
                raise EncodeError(f"a map's keys are str, not {named(key)}")
            write_text(key, out, left)
            try:
                step, inner = _branch(item, each, out) if is_union else (item.write, each)
                step(inner, out, left)
            except DataError as error:
                error.at(f'["{key}"]')
                raise
        out.append(0)
        left.depth += 1

    return write


def _record(node: WriteNode, part: Find) -> Write:
    fields = tuple((name, part(child), child.op == Op.UNION, default) for name, child, default in node.fields)
    known, label = node.names, node.label

    def write(value: Any, out: bytearray, left: Budget) -> None:
        left.enter()
        left.spend(len(fields))
        values = value if isinstance(value, dict) else struct_values(value, known)
        name, found = "", 0
        try:
            for name, field, is_union, default in fields:
                each = values.get(name, _MISSING)
                if each is not _MISSING:
                    found += 1
                elif default is None:
                    raise EncodeError("the field is missing")
                else:
                    each = default()
                step, inner = _branch(field, each, out) if is_union else (field.write, each)
                step(inner, out, left)
        except DataError as error:
            error.at(f".{name}")
            raise
        if found < len(values) and values is value:
            unknown = next(key for key in values if key not in known)
            raise EncodeError(f"{label} has no field {unknown!r}")
        left.depth += 1

    return write


_MISSING: Final = object()


_MAKERS: Final[dict[Op, Callable[[WriteNode, Find], Write]]] = {
    Op.NULL: _null, Op.BOOLEAN: _boolean, Op.INT: _integer, Op.LONG: _integer, Op.FLOAT: _real, Op.DOUBLE: _real,
    Op.BYTES: _bytes, Op.STRING: _string, Op.FIXED: _fixed, Op.ENUM: _enum, Op.ARRAY: _array, Op.MAP: _map,
    Op.RECORD: _record, Op.UNION: _union,
}  # fmt: skip
