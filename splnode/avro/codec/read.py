"""The plain engine's reading: one function for each node of a read plan.

A function takes the data, the place in it and what is left of the limits, and gives the value and the place
behind it. It holds those of the node's parts, so that nothing is looked up while reading.
"""

import struct
from collections.abc import Callable
from typing import Any, Final

from splnode.avro.codec.plan import Op, Promote, ReadNode
from splnode.errors import DataError, DecodeError, LimitExceeded
from splnode.limits import Limits

Data = bytes | bytearray | memoryview
Read = Callable[[Data, int, "Budget"], tuple[Any, int]]
Find = Callable[[ReadNode], "Part"]
"""Gives the part that stands for a node; it has its function when all are made."""

_FLOAT: Final = struct.Struct("<f")
_DOUBLE: Final = struct.Struct("<d")
_INT: Final = 1 << 31


class Budget:
    """What one datum may still cost. (limits `depth`, `nodes`)"""

    __slots__ = ("depth", "limits", "nodes")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.depth = limits.depth
        self.nodes = limits.nodes
        self.spend(1)

    def spend(self, nodes: int) -> None:
        """Charges values. LimitExceeded when there are too many."""
        self.nodes -= nodes
        if self.nodes < 0:
            raise LimitExceeded("nodes", self.limits.nodes, "too many values in one datum")

    def enter(self) -> None:
        """Charges a level; who leaves it gives it back. LimitExceeded when there are too many."""
        self.depth -= 1
        if self.depth < 0:
            raise LimitExceeded("depth", self.limits.depth, "records, arrays or maps nested too deep")

    def length(self, size: int) -> None:
        """Checks the length of a bytes, string or fixed."""
        if size > self.limits.message_bytes:
            raise LimitExceeded("message_bytes", self.limits.message_bytes, f"a bytes, string or fixed of {size}")


class Part:
    """A node's part: the function that reads it, or for a union those of its branches.

    Whoever holds the part reads the union's index itself: so one datum level is one Python call, and the
    deepest datum that the limits may allow does not reach the interpreter's recursion limit.
    """

    __slots__ = ("branches", "read")

    read: Read
    branches: "tuple[Part, ...]"

    def __init__(self) -> None:
        self.branches = ()


def compile_read(root: ReadNode) -> Read:
    """The function that reads one datum of the plan; it takes a fresh Budget each time."""
    parts: dict[int, Part] = {}
    nodes: list[ReadNode] = []

    def part(node: ReadNode) -> Part:
        if id(node) not in parts:
            parts[id(node)] = Part()
            nodes.append(node)
        return parts[id(node)]

    result = part(root)
    for node in nodes:  # grows while their parts are found
        made = parts[id(node)]
        made.read = _with_logical(node, _MAKERS[node.op](node, part))
        made.branches = tuple(part(branch) for branch in node.branches)
    return result.read


def read_long(data: Data, at: int) -> tuple[int, int]:
    """A zig-zag varint of 64 bits. (specification, "Binary Encoding")"""
    try:
        byte = data[at]
        if byte < 0x80:
            return (byte >> 1) ^ -(byte & 1), at + 1
        bits, shift = byte & 0x7F, 7
        while True:
            at += 1
            byte = data[at]
            if shift == 63 and byte > 1:
                raise DecodeError("a number of more than 10 bytes or 64 bits")
            bits |= (byte & 0x7F) << shift
            if byte < 0x80:
                return (bits >> 1) ^ -(bits & 1), at + 1
            shift += 7
    except IndexError:
        raise DecodeError("the data end within a number") from None


def _end(data: Data, at: int, size: int) -> int:
    """The place behind the next `size` bytes."""
    if size > len(data) - at:
        raise DecodeError(f"{size} bytes expected, but only {len(data) - at} are left")
    return at + size


def _sized(data: Data, at: int, left: Budget) -> tuple[int, int]:
    """Where the bytes behind a length start and end."""
    size, at = read_long(data, at)
    if size < 0:
        raise DecodeError(f"a length of {size}")
    left.length(size)
    return at, _end(data, at, size)


def _with_logical(node: ReadNode, read: Read) -> Read:
    convert = node.logical
    if convert is None:
        return read

    def read_logical(data: Data, at: int, left: Budget) -> tuple[Any, int]:
        raw, at = read(data, at, left)
        try:
            return convert(raw), at
        except (ValueError, ArithmeticError) as error:
            raise DecodeError(str(error)) from None

    return read_logical


def _null(node: ReadNode, part: Find) -> Read:
    return lambda data, at, left: (None, at)


def _boolean(node: ReadNode, part: Find) -> Read:
    def read(data: Data, at: int, left: Budget) -> tuple[Any, int]:
        end = _end(data, at, 1)
        if data[at] > 1:
            raise DecodeError(f"a boolean of {data[at]}")
        return data[at] == 1, end

    return read


def _integer(node: ReadNode, part: Find) -> Read:
    is_int, to_float = node.op == Op.INT, node.promote == Promote.TO_FLOAT

    def read(data: Data, at: int, left: Budget) -> tuple[Any, int]:
        number, at = read_long(data, at)
        if is_int and not -_INT <= number < _INT:
            raise DecodeError(f"{number} does not fit an int of 32 bits")
        return (float(number) if to_float else number), at

    return read


def _real(node: ReadNode, part: Find) -> Read:
    layout = _FLOAT if node.op == Op.FLOAT else _DOUBLE
    size, unpack = layout.size, layout.unpack_from

    def read(data: Data, at: int, left: Budget) -> tuple[Any, int]:
        end = _end(data, at, size)
        return unpack(data, at)[0], end

    return read


def _text(data: Data, at: int, end: int) -> str:
    try:
        return str(data[at:end], "utf-8")
    except UnicodeDecodeError as error:
        raise DecodeError(f"a string that is not UTF-8: {error.reason} at its byte {error.start}") from None


def _string(node: ReadNode, part: Find) -> Read:
    to_bytes = node.promote == Promote.TO_BYTES

    def read(data: Data, at: int, left: Budget) -> tuple[Any, int]:
        at, end = _sized(data, at, left)
        text = _text(data, at, end)
        return (bytes(data[at:end]) if to_bytes else text), end

    return read


def _bytes(node: ReadNode, part: Find) -> Read:
    to_string = node.promote == Promote.TO_STRING

    def read(data: Data, at: int, left: Budget) -> tuple[Any, int]:
        at, end = _sized(data, at, left)
        return (_text(data, at, end) if to_string else bytes(data[at:end])), end

    return read


def _fixed(node: ReadNode, part: Find) -> Read:
    size = node.size

    def read(data: Data, at: int, left: Budget) -> tuple[Any, int]:
        left.length(size)
        end = _end(data, at, size)
        return bytes(data[at:end]), end

    return read


def _enum(node: ReadNode, part: Find) -> Read:
    symbols, reason = node.symbols, node.reason

    def read(data: Data, at: int, left: Budget) -> tuple[Any, int]:
        index, at = read_long(data, at)
        if not 0 <= index < len(symbols):
            raise DecodeError(f"enum index {index}, but there are {len(symbols)} symbols")
        if symbols[index] is None:
            raise DecodeError(reason)
        return symbols[index], at

    return read


def _branch(part: Part, data: Data, at: int) -> tuple[Read, int]:
    """The function of a union's branch that the data name."""
    branches = part.branches
    index, at = read_long(data, at)
    if not 0 <= index < len(branches):
        raise DecodeError(f"union index {index}, but there are {len(branches)} branches")
    return branches[index].read, at


def _union(node: ReadNode, part: Find) -> Read:
    own = part(node)

    def read(data: Data, at: int, left: Budget) -> tuple[Any, int]:
        branch, at = _branch(own, data, at)
        return branch(data, at, left)

    return read


def _fail(node: ReadNode, part: Find) -> Read:
    reason = node.reason

    def read(data: Data, at: int, left: Budget) -> tuple[Any, int]:
        raise DecodeError(reason)

    return read


def _block(data: Data, at: int, left: Budget) -> tuple[int, int, int]:
    """The count of a block, where its items start, and where they must end or -1. (specification, "Arrays")"""
    count, at = read_long(data, at)
    end = -1
    if count < 0:
        if count == -(1 << 63):
            raise DecodeError("a block count of -2^63")
        count = -count
        size, at = read_long(data, at)
        if not 0 <= size <= len(data) - at:
            raise DecodeError(f"a block of {size} bytes, but {len(data) - at} are left")
        end = at + size
    left.spend(count)
    return count, at, end


def _check_block(at: int, end: int) -> None:
    if end not in (-1, at):
        raise DecodeError(f"a block's size is wrong by {end - at} bytes")


def _array(node: ReadNode, part: Find) -> Read:
    assert node.items is not None
    item, is_union = part(node.items), node.items.op == Op.UNION

    def read(data: Data, at: int, left: Budget) -> tuple[Any, int]:
        left.enter()
        result: list[Any] = []
        while True:
            count, at, end = _block(data, at, left)
            try:
                for _ in range(count):
                    step, at = _branch(item, data, at) if is_union else (item.read, at)
                    value, at = step(data, at, left)
                    result.append(value)
            except DataError as error:
                error.at(f"[{len(result)}]")
                raise
            _check_block(at, end)
            if not count:
                left.depth += 1
                return result, at

    return read


def _map(node: ReadNode, part: Find) -> Read:
    assert node.items is not None
    item, is_union = part(node.items), node.items.op == Op.UNION

    def read(data: Data, at: int, left: Budget) -> tuple[Any, int]:
        left.enter()
        result: dict[str, Any] = {}
        while True:
            count, at, end = _block(data, at, left)
            for _ in range(count):
                start, at = _sized(data, at, left)
                key = _text(data, start, at)
                try:
                    step, at = _branch(item, data, at) if is_union else (item.read, at)
                    result[key], at = step(data, at, left)
                except DataError as error:
                    error.at(f'["{key}"]')
                    raise
            _check_block(at, end)
            if not count:
                left.depth += 1
                return result, at

    return read


def _record(node: ReadNode, part: Find) -> Read:
    steps = tuple((name, part(child), child.op == Op.UNION, target) for name, child, target in node.steps)
    finish, defaults, cost, width = _finisher(node), node.defaults, node.cost, len(node.names)

    def read(data: Data, at: int, left: Budget) -> tuple[Any, int]:
        left.enter()
        left.spend(cost)
        values = [None] * width
        name = ""
        try:
            for name, child, is_union, target in steps:  # noqa: B007 - the handler below names the step
                step, at = _branch(child, data, at) if is_union else (child.read, at)
                value, at = step(data, at, left)
                if target >= 0:
                    values[target] = value
        except DataError as error:
            error.at(f".{name}")
            raise
        for place, make in defaults:
            values[place] = make()
        left.depth += 1
        return finish(values), at

    return read


def _finisher(node: ReadNode) -> Callable[[list[Any]], Any]:
    """Makes the dict, or the Struct, of a record's values."""
    names, factory, struct_names = node.names, node.factory, node.struct_names
    if factory is None:
        return lambda values: dict(zip(names, values, strict=True))

    def finish(values: list[Any]) -> Any:
        try:
            return factory(*values) if node.positional else factory(**dict(zip(struct_names, values, strict=True)))
        except (ValueError, TypeError, ArithmeticError) as error:  # its __post_init__ does not like them
            raise DecodeError(str(error)) from None

    return finish


_MAKERS: Final[dict[Op, Callable[[ReadNode, Find], Read]]] = {
    Op.NULL: _null, Op.BOOLEAN: _boolean, Op.INT: _integer, Op.LONG: _integer, Op.FLOAT: _real, Op.DOUBLE: _real,
    Op.BYTES: _bytes, Op.STRING: _string, Op.FIXED: _fixed, Op.ENUM: _enum, Op.ARRAY: _array, Op.MAP: _map,
    Op.RECORD: _record, Op.UNION: _union, Op.FAIL: _fail,
}  # fmt: skip
