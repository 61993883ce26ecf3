"""The plain engine's writing: one function for each node of a write plan, made as those of `read` are."""

from collections.abc import Callable
from typing import Any, Final

from splnode.avro.codec.budget import Budget
from splnode.avro.codec.choice import branch_of
from splnode.avro.codec.plan import Op, WriteNode
from splnode.avro.codec.taking import (
    Fields,
    converter,
    dict_of,
    list_of,
    steady_entries,
    steady_items,
    take_text,
    taker,
)
from splnode.errors import DataError

Write = Callable[[Any, bytearray, Budget], None]
Find = Callable[[WriteNode], "Part"]
"""Gives the part that stands for a node; it has its function when all are made."""


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
        made.write = _converted(node, _MAKERS[node.op](node, part))
        made.branches = tuple(part(branch) for branch in node.branches)
    return result.write


def write_long(number: int, out: bytearray) -> None:
    """A zig-zag varint of a number within 64 bits. (specification, "Binary Encoding")"""
    bits = (number << 1) ^ (number >> 63)
    while bits > 0x7F:
        out.append(bits & 0x7F | 0x80)
        bits >>= 7
    out.append(bits)


def _converted(node: WriteNode, write: Write) -> Write:
    convert = converter(node)
    if convert is None:
        return write
    return lambda value, out, left: write(convert(value), out, left)


def _leaf(node: WriteNode, part: Find) -> Write:
    take, put = taker(node), _PUT[node.op]
    return lambda value, out, left: put(take(value, left), out)


def _put_sized(raw: bytes | bytearray, out: bytearray) -> None:
    write_long(len(raw), out)
    out += raw


def _put_raw(raw: bytes | bytearray, out: bytearray) -> None:
    out += raw


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
    cost, charge = node.cost, node.each

    def write(value: Any, out: bytearray, left: Budget) -> None:
        left.enter(cost)
        items = list_of(value)
        left.spend(len(items) * charge)
        if items:
            write_long(len(items), out)
        for place, each in enumerate(steady_items(items)):
            try:
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
    cost, charge = node.cost, node.each

    def write(value: Any, out: bytearray, left: Budget) -> None:
        left.enter(cost)
        entries = dict_of(value)
        left.spend(len(entries) * charge)
        if entries:
            write_long(len(entries), out)
        for key, each in steady_entries(entries):
            _put_sized(take_text(key, left), out)
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
    cost = node.cost

    def write(value: Any, out: bytearray, left: Budget) -> None:
        left.enter(cost)
        given = Fields(node, value)
        name = ""
        try:
            for name, field, is_union, default in fields:
                each = given.take(name, default)
                step, inner = _branch(field, each, out) if is_union else (field.write, each)
                step(inner, out, left)
        except DataError as error:
            error.at(f".{name}")
            raise
        given.end(node)
        left.depth += 1

    return write


_PUT: Final[dict[Op, Callable[[Any, bytearray], None]]] = {
    Op.NULL: lambda raw, out: None, Op.BOOLEAN: lambda raw, out: out.append(raw), Op.INT: write_long,
    Op.LONG: write_long, Op.FLOAT: _put_raw, Op.DOUBLE: _put_raw, Op.BYTES: _put_sized, Op.STRING: _put_sized,
    Op.FIXED: _put_raw, Op.ENUM: write_long,
}  # fmt: skip
_MAKERS: Final[dict[Op, Callable[[WriteNode, Find], Write]]] = {
    **dict.fromkeys(_PUT, _leaf), Op.ARRAY: _array, Op.MAP: _map, Op.RECORD: _record, Op.UNION: _union,
}  # fmt: skip
