"""The plain engine's conforming: what reading a value written would give, without writing it.

One function for each pair of a write node and a read node, made as those of `read` and `write` are. What is taken
`taking` says, what is given `giving`, and the branch of a union `choice`: so a call that stays in the process has the
rules of one that does not.

The charges are the reader's, which are never below the writer's: both count in the same places, and a reader adds
its defaults. A fault may therefore be the reader's where encoding would have met one of its own further on; who
conforms finds that out by conforming to `pairing.as_written`.
"""

from collections.abc import Callable
from typing import Any, Final

from splnode.avro.codec.budget import Budget
from splnode.avro.codec.choice import branch_of
from splnode.avro.codec.giving import finisher, giver
from splnode.avro.codec.pairing import Pair
from splnode.avro.codec.plan import Op
from splnode.avro.codec.taking import (
    REALS,
    Fields,
    converter,
    dict_of,
    list_of,
    steady_entries,
    steady_items,
    take_raw,
    take_text,
    taker,
)
from splnode.errors import DataError, DecodeError
from splnode.limits import Limits


class Measure(Budget):
    """What one datum may still cost, and the `size` that its encoding would have so far, in bytes."""

    __slots__ = ("size",)

    def __init__(self, limits: Limits, weight: int = 1) -> None:
        super().__init__(limits, weight)
        self.size = 0


Conform = Callable[[Any, Measure], Any]
Find = Callable[[Pair], "Part"]
"""Gives the part that stands for a pair; it has its function when all are made."""


class Part:
    """A pair's part: the function that conforms it, or for a union those of its branches, as `read.Part`."""

    __slots__ = ("branches", "conform", "is_union", "write")

    conform: Conform
    branches: "tuple[Part, ...]"

    def __init__(self, pair: Pair) -> None:
        self.write = pair.write
        self.is_union = pair.op == Op.UNION
        self.branches = ()


def compile_conform(root: Pair) -> Conform:
    """The function that conforms one datum; it takes a fresh Measure each time."""
    parts: dict[int, Part] = {}
    pairs: list[Pair] = []

    def part(pair: Pair) -> Part:
        if id(pair) not in parts:
            parts[id(pair)] = Part(pair)
            pairs.append(pair)
        return parts[id(pair)]

    result = part(root)
    for pair in pairs:  # grows while their parts are found
        made = parts[id(pair)]
        made.conform = _converted(pair, _MAKERS[pair.op](pair, part))
        made.branches = tuple(part(branch) for branch in pair.branches)
    return result.conform


def size_of_long(number: int) -> int:
    """The length of the varint of a number within 64 bits."""
    return ((number if number >= 0 else ~number).bit_length() + 7) // 7


def _converted(pair: Pair, conform: Conform) -> Conform:
    convert, give = converter(pair.write), giver(pair.read)
    if pair.op == Op.FAIL or (convert is None and give is None):
        return conform
    if convert is None and give is not None:
        return lambda value, left: give(conform(value, left))
    if give is None and convert is not None:
        return lambda value, left: conform(convert(value), left)
    assert convert is not None
    assert give is not None
    return lambda value, left: give(conform(convert(value), left))


def _fail(pair: Pair, part: Find) -> Conform:
    reason = pair.read.reason

    def conform(value: Any, left: Measure) -> Any:
        raise DecodeError(reason)

    return conform


def _constant_size(pair: Pair, part: Find) -> Conform:
    take, size = taker(pair.write), 1 if pair.op == Op.BOOLEAN else 0

    def conform(value: Any, left: Measure) -> Any:
        left.size += size
        return take(value, left)

    return conform


def _integer(pair: Pair, part: Find) -> Conform:
    take = taker(pair.write)

    def conform(value: Any, left: Measure) -> Any:
        number = take(value, left)
        left.size += size_of_long(number)
        return number

    return conform


def _real(pair: Pair, part: Find) -> Conform:
    take, layout = taker(pair.write), REALS[pair.op]
    size, unpack, is_double = layout.size, layout.unpack, pair.op == Op.DOUBLE

    def conform(value: Any, left: Measure) -> Any:
        left.size += size
        if is_double and type(value) is float:
            return value
        return unpack(take(value, left))[0]

    return conform


def _own_text(value: Any, left: Measure) -> str:
    """A string, or a map's key: itself, since nobody can change it."""
    if type(value) is str and value.isascii():
        size = len(value)
        left.length(size)
    else:
        raw = take_text(value, left)
        size = len(raw)
        value = value if type(value) is str else str(raw, "utf-8")
    left.size += size + size_of_long(size)
    return value  # type: ignore[no-any-return]  # mypy does not narrow Any


def _string(pair: Pair, part: Find) -> Conform:
    return _own_text


def _bytes(pair: Pair, part: Find) -> Conform:
    def conform(value: Any, left: Measure) -> Any:
        raw = take_raw(value, left)
        size = len(raw)
        left.size += size + size_of_long(size)
        return bytes(raw)

    return conform


def _fixed(pair: Pair, part: Find) -> Conform:
    take, size = taker(pair.write), pair.write.size

    def conform(value: Any, left: Measure) -> Any:
        left.size += size
        return bytes(take(value, left))

    return conform


def _branch(part: Part, value: Any, left: Measure) -> tuple[Conform, Any]:
    """The function of the union's branch that takes the value, and what it shall take."""
    index, inner = branch_of(part.write, value)
    left.size += size_of_long(index)
    return part.branches[index].conform, inner


def _union(pair: Pair, part: Find) -> Conform:
    own = part(pair)

    def conform(value: Any, left: Measure) -> Any:
        branch, inner = _branch(own, value, left)
        return branch(inner, left)

    return conform


def _array(pair: Pair, part: Find) -> Conform:
    assert pair.items is not None
    item, cost, charge = part(pair.items), pair.cost, pair.each

    def conform(value: Any, left: Measure) -> Any:
        left.enter(cost)
        items = list_of(value)
        left.spend(len(items) * charge)
        left.size += _size_of_count(len(items))
        result: list[Any] = []
        for each in steady_items(items):
            try:
                step, inner = _branch(item, each, left) if item.is_union else (item.conform, each)
                result.append(step(inner, left))
            except DataError as error:
                error.at(f"[{len(result)}]")
                raise
        left.depth += 1
        return result

    return conform


def _map(pair: Pair, part: Find) -> Conform:
    assert pair.items is not None
    item, cost, charge = part(pair.items), pair.cost, pair.each

    def conform(value: Any, left: Measure) -> Any:
        left.enter(cost)
        entries = dict_of(value)
        left.spend(len(entries) * charge)
        left.size += _size_of_count(len(entries))
        result: dict[str, Any] = {}
        for key, each in steady_entries(entries):
            own_key = _own_text(key, left)
            try:
                step, inner = _branch(item, each, left) if item.is_union else (item.conform, each)
                result[own_key] = step(inner, left)
            except DataError as error:
                error.at(f'["{key}"]')
                raise
        left.depth += 1
        return result

    return conform


def _size_of_count(count: int) -> int:
    """All items are one block; an empty one ends them."""
    return size_of_long(count) + 1 if count else 1


def _record(pair: Pair, part: Find) -> Conform:
    steps = tuple((name, part(child), default, target) for name, child, default, target in pair.steps)
    write, cost, finish, width = pair.write, pair.cost, finisher(pair.read), len(pair.read.names)

    def conform(value: Any, left: Measure) -> Any:
        left.enter(cost)
        given = Fields(write, value)
        values = [None] * width
        name = ""
        try:
            for name, field, default, target in steps:
                each = given.take(name, default)
                step, inner = _branch(field, each, left) if field.is_union else (field.conform, each)
                each = step(inner, left)
                if target >= 0:
                    values[target] = each
        except DataError as error:
            error.at(f".{name}")
            raise
        given.end(write)
        left.depth += 1
        return finish(values)

    return conform


_MAKERS: Final[dict[Op, Callable[[Pair, Find], Conform]]] = {
    Op.NULL: _constant_size, Op.BOOLEAN: _constant_size, Op.INT: _integer, Op.LONG: _integer, Op.FLOAT: _real,
    Op.DOUBLE: _real, Op.BYTES: _bytes, Op.STRING: _string, Op.FIXED: _fixed, Op.ENUM: _integer, Op.ARRAY: _array,
    Op.MAP: _map, Op.RECORD: _record, Op.UNION: _union, Op.FAIL: _fail,
}  # fmt: skip
