"""The plain engine's reading: one function for each node of a read plan.

A function takes the data, the place in it and what is left of the limits, and gives the value and the place
behind it. It holds those of the node's parts, so that nothing is looked up while reading.
"""

from collections.abc import Callable
from typing import Any, Final

from splnode.avro.codec.budget import Budget
from splnode.avro.codec.giving import finisher, giver, text
from splnode.avro.codec.plan import Op, ReadNode
from splnode.avro.codec.taking import REALS
from splnode.errors import DataError, DecodeError

Data = bytes | bytearray | memoryview
Read = Callable[[Data, int, Budget], tuple[Any, int]]
Find = Callable[[ReadNode], "Part"]
"""Gives the part that stands for a node; it has its function when all are made."""

_INT: Final = 1 << 31


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
        made.read = _given(node, _MAKERS[node.op](node, part))
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


def _given(node: ReadNode, read: Read) -> Read:
    give = giver(node)
    if give is None:
        return read

    def read_given(data: Data, at: int, left: Budget) -> tuple[Any, int]:
        raw, at = read(data, at, left)
        return give(raw), at

    return read_given


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
    is_int = node.op == Op.INT

    def read(data: Data, at: int, left: Budget) -> tuple[Any, int]:
        number, at = read_long(data, at)
        if is_int and not -_INT <= number < _INT:
            raise DecodeError(f"{number} does not fit an int of 32 bits")
        return number, at

    return read


def _real(node: ReadNode, part: Find) -> Read:
    layout = REALS[node.op]
    size, unpack = layout.size, layout.unpack_from

    def read(data: Data, at: int, left: Budget) -> tuple[Any, int]:
        end = _end(data, at, size)
        return unpack(data, at)[0], end

    return read


def _string(node: ReadNode, part: Find) -> Read:
    def read(data: Data, at: int, left: Budget) -> tuple[Any, int]:
        at, end = _sized(data, at, left)
        return text(data[at:end]), end

    return read


def _bytes(node: ReadNode, part: Find) -> Read:
    def read(data: Data, at: int, left: Budget) -> tuple[Any, int]:
        at, end = _sized(data, at, left)
        return bytes(data[at:end]), end

    return read


def _fixed(node: ReadNode, part: Find) -> Read:
    size = node.size

    def read(data: Data, at: int, left: Budget) -> tuple[Any, int]:
        left.length(size)
        end = _end(data, at, size)
        return bytes(data[at:end]), end

    return read


def _enum(node: ReadNode, part: Find) -> Read:
    count = len(node.symbols)

    def read(data: Data, at: int, left: Budget) -> tuple[Any, int]:
        index, at = read_long(data, at)
        if not 0 <= index < count:
            raise DecodeError(f"enum index {index}, but there are {count} symbols")
        return index, at

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


def _block(data: Data, at: int, left: Budget, each: int) -> tuple[int, int, int]:
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
    left.spend(count * each)
    return count, at, end


def _check_block(at: int, end: int) -> None:
    if end not in (-1, at):
        raise DecodeError(f"a block's size is wrong by {end - at} bytes")


def _array(node: ReadNode, part: Find) -> Read:
    assert node.items is not None
    item, is_union = part(node.items), node.items.op == Op.UNION
    cost, charge = node.cost, node.each

    def read(data: Data, at: int, left: Budget) -> tuple[Any, int]:
        left.enter(cost)
        result: list[Any] = []
        while True:
            count, at, end = _block(data, at, left, charge)
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
    cost, charge = node.cost, node.each

    def read(data: Data, at: int, left: Budget) -> tuple[Any, int]:
        left.enter(cost)
        result: dict[str, Any] = {}
        while True:
            count, at, end = _block(data, at, left, charge)
            for _ in range(count):
                start, at = _sized(data, at, left)
                key = text(data[start:at])
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
    finish, cost, width = finisher(node), node.cost, len(node.names)

    def read(data: Data, at: int, left: Budget) -> tuple[Any, int]:
        left.enter(cost)
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
        left.depth += 1
        return finish(values), at

    return read


_MAKERS: Final[dict[Op, Callable[[ReadNode, Find], Read]]] = {
    Op.NULL: _null, Op.BOOLEAN: _boolean, Op.INT: _integer, Op.LONG: _integer, Op.FLOAT: _real, Op.DOUBLE: _real,
    Op.BYTES: _bytes, Op.STRING: _string, Op.FIXED: _fixed, Op.ENUM: _enum, Op.ARRAY: _array, Op.MAP: _map,
    Op.RECORD: _record, Op.UNION: _union, Op.FAIL: _fail,
}  # fmt: skip
