"""The plain engine's writing: one function for each node of a write plan, made as those of `read`."""

import enum
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from splnode.avro.codec.choice import branch_of, named, struct_attributes, symbol_of
from splnode.avro.codec.plan import Op, WriteNode
from splnode.avro.codec.read import Budget
from splnode.errors import DataError, EncodeError

Write = Callable[[Any, bytearray, Budget], None]
Part = Callable[[WriteNode], Write]
"""Gives the function of a node's part."""

_FLOAT: Final = struct.Struct("<f")
_DOUBLE: Final = struct.Struct("<d")
_BITS: Final = {Op.INT: 32, Op.LONG: 64}


def compile_write(root: WriteNode) -> Write:
    """The function that writes one datum of the plan; it takes a fresh Budget each time."""
    made: dict[int, Write] = {}
    begun: dict[int, _Later] = {}

    def part(node: WriteNode) -> Write:
        return made.get(id(node)) or begun[id(node)].write

    stack = [root]
    while stack:
        node = stack[-1]
        if id(node) in made:
            stack.pop()
        elif id(node) in begun:
            made[id(node)] = begun[id(node)].function = _with_logical(node, _MAKERS[node.op](node, part))
            stack.pop()
        else:
            begun[id(node)] = _Later()
            stack.extend(child for child in _children(node) if id(child) not in begun)
    return made[id(root)]


class _Later:
    """Stands for the function of a node that holds itself."""

    __slots__ = ("function",)

    function: Write

    def write(self, value: Any, out: bytearray, left: Budget) -> None:
        self.function(value, out, left)


def _children(node: WriteNode) -> Iterator[WriteNode]:
    if node.items is not None:
        yield node.items
    yield from node.branches
    for _, child, _ in node.fields:
        yield child


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


def _null(node: WriteNode, part: Part) -> Write:
    def write(value: Any, out: bytearray, left: Budget) -> None:
        if value is not None:
            raise _refused("None", value)

    return write


def _boolean(node: WriteNode, part: Part) -> Write:
    def write(value: Any, out: bytearray, left: Budget) -> None:
        if value is not True and value is not False:
            raise _refused("bool", value)
        out.append(value)

    return write


def _integer(node: WriteNode, part: Part) -> Write:
    kind, bits = node.op.name.lower(), _BITS[node.op]
    bound = 1 << (bits - 1)

    def write(value: Any, out: bytearray, left: Budget) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise _refused("int", value)
        if not -bound <= value < bound:
            raise EncodeError(f"the number does not fit {kind}, of {bits} bits")
        write_long(value, out)

    return write


def _real(node: WriteNode, part: Part) -> Write:
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


def _string(node: WriteNode, part: Part) -> Write:
    return write_text


def _raw(value: Any, left: Budget) -> bytes | bytearray:
    raw = value.tobytes() if isinstance(value, memoryview) else value
    if not isinstance(raw, (bytes, bytearray)):
        raise _refused("bytes", value)
    left.length(len(raw))
    return raw


def _bytes(node: WriteNode, part: Part) -> Write:
    def write(value: Any, out: bytearray, left: Budget) -> None:
        raw = _raw(value, left)
        write_long(len(raw), out)
        out += raw

    return write


def _fixed(node: WriteNode, part: Part) -> Write:
    size = node.size

    def write(value: Any, out: bytearray, left: Budget) -> None:
        raw = _raw(value, left)
        if len(raw) != size:
            raise EncodeError(f"{len(raw)} bytes for a fixed of {size}")
        out += raw

    return write


def _enum(node: WriteNode, part: Part) -> Write:
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


def _union(node: WriteNode, part: Part) -> Write:
    branches = tuple(part(branch) for branch in node.branches)

    def write(value: Any, out: bytearray, left: Budget) -> None:
        index, inner = branch_of(node, value)
        write_long(index, out)
        branches[index](inner, out, left)

    return write


def _array(node: WriteNode, part: Part) -> Write:
    assert node.items is not None
    item = part(node.items)

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
                item(each, out, left)
        except DataError as error:
            error.at(f"[{place}]")
            raise
        out.append(0)
        left.depth += 1

    return write


def _map(node: WriteNode, part: Part) -> Write:
    assert node.items is not None
    item = part(node.items)

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
                item(each, out, left)
            except DataError as error:
                error.at(f'["{key}"]')
                raise
        out.append(0)
        left.depth += 1

    return write


def _record(node: WriteNode, part: Part) -> Write:
    fields = tuple((name, part(child), default) for name, child, default in node.fields)
    known, label = node.names, node.label

    def write(value: Any, out: bytearray, left: Budget) -> None:
        left.enter()
        left.spend(len(fields))
        values = value if isinstance(value, dict) else _struct_values(value)
        name, found = "", 0
        try:
            for name, field, default in fields:
                each = values.get(name, _MISSING)
                if each is not _MISSING:
                    found += 1
                elif default is None:
                    raise EncodeError("the field is missing")
                else:
                    each = default()
                field(each, out, left)
        except DataError as error:
            error.at(f".{name}")
            raise
        if found < len(values) and values is value:
            unknown = next(key for key in values if key not in known)
            raise EncodeError(f"{label} has no field {unknown!r}")
        left.depth += 1

    return write


_MISSING: Final = object()


def _struct_values(value: object) -> Mapping[str, Any]:
    """The attributes of a Struct by the names they have in data; those never set are left out."""
    if not isinstance(value, msgspec.Struct):
        raise _refused("dict", value)
    names = struct_attributes(type(value)).items()
    found = ((name, getattr(value, attribute, _MISSING)) for name, attribute in names)
    return {name: each for name, each in found if each is not _MISSING}


_MAKERS: Final[dict[Op, Callable[[WriteNode, Part], Write]]] = {
    Op.NULL: _null, Op.BOOLEAN: _boolean, Op.INT: _integer, Op.LONG: _integer, Op.FLOAT: _real, Op.DOUBLE: _real,
    Op.BYTES: _bytes, Op.STRING: _string, Op.FIXED: _fixed, Op.ENUM: _enum, Op.ARRAY: _array, Op.MAP: _map,
    Op.RECORD: _record, Op.UNION: _union,
}  # fmt: skip
