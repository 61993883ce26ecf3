"""Python source that reads the data of one plan: all of a record in one function, without calls in between."""

import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

from splnode.avro.codec.plan import Op, Promote, ReadNode
from splnode.avro.codec.source import Bad, Costs, Source, Unsuitable, own_functions
from splnode.limits import Limits

Quick = Callable[[bytes, int], tuple[Any, int]]


def quick_read(root: ReadNode, limits: Limits) -> Quick | None:
    """A function of the data and the place in them, for data not longer than `limits.message_bytes`.

    It raises any Exception where something is wrong or unusual; None if the plan is too large for it.
    """
    try:
        return _Generator(root, limits).function()
    except Unsuitable:
        return None


def children(node: ReadNode) -> Iterator[ReadNode]:
    """The nodes directly below a node."""
    if node.items is not None:
        yield node.items
    yield from node.branches
    for _, child, _ in node.steps:
        yield child


def _more(bits: int, data: bytes, at: int) -> tuple[int, int]:
    """The rest of a varint whose first byte says that there is more; the zig-zag is left in."""
    bits &= 0x7F
    shift = 7
    while True:
        byte = data[at]
        at += 1
        bits |= (byte & 0x7F) << shift
        if byte < 0x80:
            if bits >> 64:
                raise Bad
            return bits, at
        shift += 7
        if shift > 63:
            raise Bad


_CONSTANTS: Final = {
    "more": _more,
    "booleans": (False, True),
    "unpack4": struct.Struct("<f").unpack_from,
    "unpack8": struct.Struct("<d").unpack_from,
}
_NUMBER: Final = ("n = d[p]", "p += 1", "if n > 127: n, p = more(n, d, p)")


class _Generator:
    def __init__(self, root: ReadNode, limits: Limits) -> None:
        self._limits = limits
        self._own = own_functions(root, children)
        self._functions = {key: f"read{place}" for place, key in enumerate(self._own)}
        self._costs = Costs(children, self._own)
        self._source = Source()
        self._source.constants.update(_CONSTANTS)
        self._depth = 0  # containers entered so far in the function being made
        self._root = root

    def function(self) -> Quick:
        for key, node in self._own.items():
            self._make(self._functions[key], node)
        nodes, depth = self._limits.nodes - self._root.weight, self._limits.depth
        self._source.add(f"def start(d, p): return {self._functions[id(self._root)]}(d, p, [{nodes}], {depth})")
        return self._source.compiled("start")

    def _make(self, name: str, node: ReadNode) -> None:
        source, (nodes, depth) = self._source, self._costs.of(node)
        source.add(f"def {name}(d, p, left, depth):")
        source.indent, self._depth = 1, 0
        source.add("size = len(d)", f"left[0] -= {nodes}", f"if depth < {depth} or left[0] < 0: raise bad")
        value = self._body(node)
        source.add(f"return {value}, p")
        source.indent = 0

    def _value(self, node: ReadNode) -> str:
        """Adds the lines that read a value; gives the expression for it."""
        if id(node) not in self._own:
            return self._body(node)
        name = self._source.name("v")
        self._source.add(f"{name}, p = {self._functions[id(node)]}(d, p, left, depth - {self._depth})")
        return name

    def _body(self, node: ReadNode) -> str:
        made = _EMIT[node.op](self, node)
        if node.logical is None:
            return made
        name = self._source.name("v")
        self._source.add(f"{name} = {self._source.constant('L', node.logical)}({made})")
        return name

    def null(self, node: ReadNode) -> str:
        return "None"

    def boolean(self, node: ReadNode) -> str:
        name = self._source.name("v")
        self._source.add(f"{name} = booleans[d[p]]", "p += 1")
        return name

    def integer(self, node: ReadNode) -> str:
        name = self._source.name("v")
        self._source.add(*_NUMBER)
        if node.op == Op.INT:
            self._source.add("if n > 0xFFFFFFFF: raise bad")
        number = "(n >> 1) ^ -(n & 1)"
        self._source.add(f"{name} = float({number})" if node.promote == Promote.TO_FLOAT else f"{name} = {number}")
        return name

    def real(self, node: ReadNode) -> str:
        name, size = self._source.name("v"), 4 if node.op == Op.FLOAT else 8
        self._source.add(f"{name} = unpack{size}(d, p)[0]", f"p += {size}")
        return name

    def text(self, node: ReadNode) -> str:
        name = self._source.name("v")
        self._source.add(*_NUMBER, "e = p + (n >> 1)", "if n & 1 or e > size: raise bad")
        if node.op == Op.STRING or node.promote == Promote.TO_STRING:
            self._source.add(f"{name} = d[p:e].decode()")
        if node.promote == Promote.TO_BYTES or (node.op == Op.BYTES and node.promote == Promote.NONE):
            self._source.add(f"{name} = d[p:e]")
        self._source.add("p = e")
        return name

    def fixed(self, node: ReadNode) -> str:
        name = self._source.name("v")
        self._source.add(f"e = p + {node.size}", "if e > size: raise bad", f"{name} = d[p:e]", "p = e")
        return name

    def enum(self, node: ReadNode) -> str:
        name, symbols = self._source.name("v"), self._source.constant("S", node.symbols)
        self._source.add(*_NUMBER, f"{name} = {symbols}[n >> 1]", f"if n & 1 or {name} is None: raise bad")
        return name

    def union(self, node: ReadNode) -> str:
        name, source = self._source.name("v"), self._source
        source.add(*_NUMBER)
        for place, branch in enumerate(node.branches):
            source.add(f"{'el' if place else ''}if n == {2 * place}:")
            source.indent += 1
            source.add(f"{name} = {self._value(branch)}")
            source.indent -= 1
        source.add("else: raise bad" if node.branches else "raise bad")
        return name

    def fail(self, node: ReadNode) -> str:
        self._source.add("raise bad")
        return "None"

    def array(self, node: ReadNode) -> str:
        return self._blocks(node, "[]")

    def map(self, node: ReadNode) -> str:
        return self._blocks(node, "{}")

    def _blocks(self, node: ReadNode, empty: str) -> str:
        """An array or a map. Blocks that carry their size, which few writers make, are left to the other engine."""
        source, name, items = self._source, self._source.name("v"), node.items
        if items is None:
            raise Unsuitable
        source.add(f"{name} = {empty}", "while True:")
        source.indent += 1
        self._depth += 1
        source.add(*_NUMBER, "if not n: break", "if n & 1: raise bad", "n >>= 1")
        source.add(f"left[0] -= n * {self._costs.of_item(node)}", "if left[0] < 0: raise bad", "for _ in range(n):")
        source.indent += 1
        if node.op == Op.ARRAY:
            source.add(f"{name}.append({self._value(items)})")
        else:
            key = source.name("k")
            source.add(*_NUMBER, "e = p + (n >> 1)", "if n & 1 or e > size: raise bad")
            source.add(f"{key} = d[p:e].decode()", "p = e")
            source.add(f"{name}[{key}] = {self._value(items)}")
        source.indent -= 2
        self._depth -= 1
        return name

    def record(self, node: ReadNode) -> str:
        self._depth += 1
        values: dict[int, str] = {}
        for _, child, target in node.steps:
            value = self._value(child)
            if target >= 0:
                values[target] = value
        self._depth -= 1
        return add_record(self._source, node, values)


def add_record(source: Source, node: ReadNode, values: dict[int, str]) -> str:
    """Adds the making of a record of the values, by place, but for its defaults; gives the expression for it."""
    for place, make in node.defaults:
        values[place] = source.constant("D", make) + "()"
    given = [values[place] for place in range(len(node.names))]
    name = source.name("v")
    if node.factory is None:
        pairs = ", ".join(f"{key!r}: {value}" for key, value in zip(node.names, given, strict=True))
        source.add(f"{name} = {{{pairs}}}")
        return name
    factory = source.constant("F", node.factory)
    if not node.positional:
        given = [f"{key}={value}" for key, value in zip(node.struct_names, given, strict=True)]
    source.add(f"{name} = {factory}({', '.join(given)})")
    return name


_EMIT: Final[dict[Op, Callable[[_Generator, ReadNode], str]]] = {
    Op.NULL: _Generator.null, Op.BOOLEAN: _Generator.boolean, Op.INT: _Generator.integer, Op.LONG: _Generator.integer,
    Op.FLOAT: _Generator.real, Op.DOUBLE: _Generator.real, Op.BYTES: _Generator.text, Op.STRING: _Generator.text,
    Op.FIXED: _Generator.fixed, Op.ENUM: _Generator.enum, Op.ARRAY: _Generator.array, Op.MAP: _Generator.map,
    Op.RECORD: _Generator.record, Op.UNION: _Generator.union, Op.FAIL: _Generator.fail,
}  # fmt: skip
