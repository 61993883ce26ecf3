"""A write plan and a read plan for what it writes, as one graph: what there is to do for a value that is conformed.

The plans have the same shape, for a read plan follows the writer's schema; it may end in FAIL before the other does.
"""

from collections.abc import Callable, Iterator
from typing import Any

from splnode.avro.codec.plan import Op, ReadNode, WriteNode


class Pair:
    """A write node and the read node that stands for it.

    - `op` is the read node's, and so FAIL where the reader cannot take what is written. `weight`, `cost` and `each`
      are the reader's, which are never below the writer's.
    - ARRAY, MAP: `items`. UNION: `branches`. RECORD: `steps`, `(name, pair, default, target)`, as in the two nodes.
    """

    __slots__ = ("branches", "cost", "each", "items", "op", "read", "steps", "weight", "write")

    def __init__(self, write: WriteNode, read: ReadNode) -> None:
        self.write = write
        self.read = read
        self.op = read.op
        self.weight = read.weight
        self.cost = read.cost
        self.each = read.each
        self.items: Pair | None = None
        self.branches: tuple[Pair, ...] = ()
        self.steps: tuple[tuple[str, Pair, Callable[[], Any] | None, int], ...] = ()


def pair_up(write: WriteNode, read: ReadNode) -> Pair:
    """The pair of two plans. ValueError if they are not of the same writer's schema."""
    pairs: dict[tuple[int, int], Pair] = {}
    todo: list[Pair] = []

    def pair_of(write: WriteNode, read: ReadNode) -> Pair:
        key = (id(write), id(read))
        if key not in pairs:
            pairs[key] = Pair(write, read)
            todo.append(pairs[key])
        return pairs[key]

    result = pair_of(write, read)
    for pair in todo:  # grows while their parts are found
        if pair.op != Op.FAIL:
            _fill(pair, pair_of)
    return result


def children(pair: Pair) -> Iterator[Pair]:
    """The pairs directly below a pair."""
    if pair.items is not None:
        yield pair.items
    yield from pair.branches
    for _, child, _, _ in pair.steps:
        yield child


def as_written(write: WriteNode) -> ReadNode:
    """A read plan for the same data that has no rule of its own and keeps nothing: it shows what writing would say."""
    nodes: dict[int, ReadNode] = {}
    todo: list[WriteNode] = []

    def node_of(write: WriteNode) -> ReadNode:
        if id(write) not in nodes:
            nodes[id(write)] = ReadNode(write.op, write.label)
            todo.append(write)
        return nodes[id(write)]

    result = node_of(write)
    for each in todo:  # grows while their parts are found
        node = nodes[id(each)]
        node.size, node.symbols = each.size, tuple(each.indexes)
        node.weight, node.cost, node.each = each.weight, each.cost, each.each
        node.items = None if each.items is None else node_of(each.items)
        node.branches = tuple(node_of(branch) for branch in each.branches)
        node.steps = tuple((name, node_of(child), -1) for name, child, _ in each.fields)
    return result


def _fill(pair: Pair, pair_of: Callable[[WriteNode, ReadNode], Pair]) -> None:
    write, read = pair.write, pair.read
    if read.op != write.op or len(read.branches) != len(write.branches) or len(read.steps) != len(write.fields):
        raise ValueError("the two plans are not of the same writer's schema")
    if write.items is not None and read.items is not None:
        pair.items = pair_of(write.items, read.items)
    pair.branches = tuple(pair_of(*branches) for branches in zip(write.branches, read.branches, strict=True))
    pair.steps = tuple(
        (name, pair_of(child, step), default, target)
        for (name, child, default), (_, step, target) in zip(write.fields, read.steps, strict=True)
    )
