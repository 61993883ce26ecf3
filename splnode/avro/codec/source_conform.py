"""Python source that conforms the values of one pair of plans, as `source_write` and `source_read` have it.

What the encoding would measure is not counted but bounded: every number as the longest there is. A value that may be
too long goes to the functions of `conform`, which count.
"""

import struct
from collections.abc import Callable
from typing import Any, Final

from splnode.avro.codec.pairing import Pair, children
from splnode.avro.codec.plan import Op, Promote
from splnode.avro.codec.source import Costs, Source, Unsuitable, own_functions
from splnode.avro.codec.source_read import add_record
from splnode.avro.codec.source_write import add_choice, add_fields
from splnode.limits import Limits

Quick = Callable[[Any], Any]

_SHORT: Final = 5
"""The longest varint of 32 bits, and of a length that memory can hold."""
_SIZES: Final = {
    Op.BOOLEAN: 1, Op.INT: _SHORT, Op.LONG: 10, Op.FLOAT: 4, Op.DOUBLE: 8, Op.BYTES: _SHORT, Op.STRING: _SHORT,
    Op.ENUM: _SHORT, Op.ARRAY: _SHORT + 1, Op.MAP: _SHORT + 1,
}  # fmt: skip
_CONSTANTS: Final = {"pack": struct.Struct("<f").pack, "unpack": struct.Struct("<f").unpack}


def quick_conform(root: Pair, limits: Limits) -> Quick | None:
    """A function of the value that gives what would be read.

    It raises any Exception where something is wrong or unusual; None if the plans are too large for it.
    """
    try:
        return _Generator(root, limits).function()
    except Unsuitable:
        return None


class _Generator:
    def __init__(self, root: Pair, limits: Limits) -> None:
        self._limits = limits
        self._own = own_functions(root, children)
        self._functions = {key: f"conform{place}" for place, key in enumerate(self._own)}
        self._costs = Costs(children, self._own)
        self._sizes: dict[int, int] = {}
        self._source = Source()
        self._source.constants.update(_CONSTANTS)
        self._depth = 0  # containers entered so far in the function being made
        self._root = root

    def function(self) -> Quick:
        for key, pair in self._own.items():
            self._make(self._functions[key], pair)
        nodes, size, depth = self._limits.nodes - self._root.weight, self._limits.message_bytes, self._limits.depth
        self._source.add("def start(v):", f"    left = [{nodes}, {size}]")
        self._source.add(f"    v = {self._functions[id(self._root)]}(v, left, {depth})")
        self._source.add("    if left[1] < 0: raise bad", "    return v")
        return self._source.compiled("start")

    def _make(self, name: str, pair: Pair) -> None:
        source, (nodes, depth) = self._source, self._costs.of(pair)
        source.add(f"def {name}(v, left, depth):")
        source.indent, self._depth = 1, 0
        source.add(f"left[0] -= {nodes}", f"if depth < {depth} or left[0] < 0: raise bad", f"z = {self._size(pair)}")
        result = self._body(pair, "v")
        source.add("left[1] -= z", f"return {result}")
        source.indent = 0

    def _size(self, pair: Pair) -> int:
        """The longest that a value may be, but for the contents of what has a length, and for own functions."""
        if id(pair) not in self._sizes:  # `Costs` has seen that it is not too deep
            parts = [0 if id(child) in self._own else self._size(child) for child in children(pair)]
            if pair.op == Op.UNION:
                size = _SHORT + max(parts, default=0)
            elif pair.op == Op.RECORD:
                size = sum(parts)
            else:
                size = pair.write.size if pair.op == Op.FIXED else _SIZES.get(pair.op, 0)
            self._sizes[id(pair)] = size
        return self._sizes[id(pair)]

    def _value(self, pair: Pair, value: str) -> str:
        """Adds the lines that conform the value of that name; gives the expression for what it becomes."""
        if id(pair) not in self._own:
            return self._body(pair, value)
        name = self._source.name("v")
        self._source.add(f"{name} = {self._functions[id(pair)]}({value}, left, depth - {self._depth})")
        return name

    def _body(self, pair: Pair, value: str) -> str:
        if pair.op != Op.FAIL and pair.write.logical is not None:
            value = self._applied(pair.write.logical, value)
        made = _EMIT[pair.op](self, pair, value)
        return made if pair.read.logical is None else self._applied(pair.read.logical, made)

    def _applied(self, function: Callable[[Any], Any], value: str) -> str:
        name = self._source.name("v")
        self._source.add(f"{name} = {self._source.constant('L', function)}({value})")
        return name

    def _named(self, expression: str) -> str:
        name = self._source.name("v")
        self._source.add(f"{name} = {expression}")
        return name

    def null(self, pair: Pair, value: str) -> str:
        self._source.add(f"if {value} is not None: raise bad")
        return "None"

    def boolean(self, pair: Pair, value: str) -> str:
        self._source.add(f"if type({value}) is not bool: raise bad")
        return value

    def integer(self, pair: Pair, value: str) -> str:
        bound = 1 << (31 if pair.op == Op.INT else 63)
        self._source.add(f"if type({value}) is not int or not {-bound} <= {value} < {bound}: raise bad")
        return self._named(f"float({value})") if pair.read.promote == Promote.TO_FLOAT else value

    def real(self, pair: Pair, value: str) -> str:
        self._source.add(f"if type({value}) is not float and type({value}) is not int: raise bad")
        return self._named(f"unpack(pack({value}))[0]" if pair.op == Op.FLOAT else f"float({value})")

    def text(self, pair: Pair, value: str) -> str:
        self._measure_text(value)
        return self._named(f"{value}.encode()") if pair.read.promote == Promote.TO_BYTES else value

    def _measure_text(self, value: str) -> None:
        self._source.add(
            f"if type({value}) is not str: raise bad",
            f"z += len({value}) if {value}.isascii() else len({value}.encode())",
        )

    def raw(self, pair: Pair, value: str) -> str:
        self._source.add(f"if type({value}) is not bytes: raise bad", f"z += len({value})")
        return self._named(f"{value}.decode()") if pair.read.promote == Promote.TO_STRING else value

    def fixed(self, pair: Pair, value: str) -> str:
        self._source.add(f"if type({value}) is not bytes or len({value}) != {pair.write.size}: raise bad")
        return value

    def enum(self, pair: Pair, value: str) -> str:
        symbols = {symbol: pair.read.symbols[index] for symbol, index in pair.write.indexes.items()}
        known = {symbol: given for symbol, given in symbols.items() if given is not None}
        return self._named(f"{self._source.constant('S', known)}[{value}]")

    def union(self, pair: Pair, value: str) -> str:
        name = self._source.name("v")

        def branch(place: int, inner: str) -> None:
            self._source.add(f"{name} = {self._value(pair.branches[place], inner)}")

        add_choice(self._source, pair.write, value, branch)
        return name

    def fail(self, pair: Pair, value: str) -> str:
        self._source.add("raise bad")
        return "None"

    def array(self, pair: Pair, value: str) -> str:
        source, item = self._source, self._source.name("v")
        source.add(f"if type({value}) is not list and type({value}) is not tuple: raise bad")
        return self._items(pair, value, "[]", f"for {item} in {value}:", item)

    def map(self, pair: Pair, value: str) -> str:
        source, key, item = self._source, self._source.name("k"), self._source.name("v")
        source.add(f"if type({value}) is not dict: raise bad")
        return self._items(pair, value, "{}", f"for {key}, {item} in {value}.items():", item, key)

    def _items(self, pair: Pair, value: str, empty: str, loop: str, item: str, key: str = "") -> str:
        source, items, name, count = self._source, pair.items, self._source.name("v"), self._source.name("n")
        if items is None:
            raise Unsuitable
        size = (0 if id(items) in self._own else self._size(items)) + (_SHORT if key else 0)
        source.add(f"{count} = len({value})", f"left[0] -= {count} * {self._costs.of_item(pair)}")
        source.add(
            f"left[1] -= {count} * {size}", "if left[0] < 0 or left[1] < 0: raise bad", f"{name} = {empty}", loop
        )
        source.indent += 1
        self._depth += 1
        if key:
            self._measure_text(key)
            source.add(f"{name}[{key}] = {self._value(items, item)}")
        else:
            source.add(f"{name}.append({self._value(items, item)})")
        self._depth -= 1
        source.indent -= 1
        source.add(f"if len({name}) != {count}: raise bad")
        return name

    def record(self, pair: Pair, value: str) -> str:
        values: dict[int, str] = {}

        def field(place: int, item: str) -> None:
            _, child, _, target = pair.steps[place]
            made = self._value(child, item)
            if target >= 0:
                values[target] = made

        self._depth += 1
        add_fields(self._source, pair.write, value, field)
        self._depth -= 1
        return add_record(self._source, pair.read, values)


_EMIT: Final[dict[Op, Callable[[_Generator, Pair, str], str]]] = {
    Op.NULL: _Generator.null, Op.BOOLEAN: _Generator.boolean, Op.INT: _Generator.integer, Op.LONG: _Generator.integer,
    Op.FLOAT: _Generator.real, Op.DOUBLE: _Generator.real, Op.BYTES: _Generator.raw, Op.STRING: _Generator.text,
    Op.FIXED: _Generator.fixed, Op.ENUM: _Generator.enum, Op.ARRAY: _Generator.array, Op.MAP: _Generator.map,
    Op.RECORD: _Generator.record, Op.UNION: _Generator.union, Op.FAIL: _Generator.fail,
}  # fmt: skip
