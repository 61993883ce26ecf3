"""Python source that writes the values of one plan, as `source_read` has it for reading.

It takes values of exactly the usual classes; their subclasses, and all that a rule has to be asked for, go to the
functions of `write`.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

from splnode.avro.codec.choice import branch_of, struct_attributes, struct_values
from splnode.avro.codec.plan import Op, WriteNode
from splnode.avro.codec.source import Bad, Costs, Source, Unsuitable, own_functions
from splnode.avro.structs import is_struct
from splnode.limits import Limits

Quick = Callable[[Any], bytes]


def quick_write(root: WriteNode, limits: Limits) -> Quick | None:
    """A function of the value that gives its bytes, which may be longer than the limit.

    It raises any Exception where something is wrong or unusual; None if the plan is too large for it.
    """
    try:
        return _Generator(root, limits).function()
    except Unsuitable:
        return None


def children(node: WriteNode) -> Iterator[WriteNode]:
    """The nodes directly below a node."""
    if node.items is not None:
        yield node.items
    yield from node.branches
    for _, child, _ in node.fields:
        yield child


def _varint(bits: int) -> bytes:
    out = bytearray()
    while bits > 0x7F:
        out.append(bits & 0x7F | 0x80)
        bits >>= 7
    out.append(bits)
    return bytes(out)


def _long(bits: int, most: int) -> bytes:
    """A number whose zig-zag is made; one that was out of its range is above the most, or below zero."""
    if not 0 <= bits <= most:
        raise Bad
    return _varint(bits)


_SHORT: Final = tuple(_varint(bits) for bits in range(1024))
_CONSTANTS: Final = {
    "short": _SHORT,
    "varint": _varint,
    "long": _long,
    "pack4": struct.Struct("<f").pack,
    "pack8": struct.Struct("<d").pack,
}
# The class of values that surely go to the first branch of such an op, unless an op behind it comes first
_SURE: Final = (
    ("str", Op.STRING, (Op.ENUM,)),
    ("bytes", Op.BYTES, (Op.FIXED,)),
    ("bool", Op.BOOLEAN, ()),
    ("list", Op.ARRAY, ()),
    ("int", Op.LONG, (Op.INT, Op.FLOAT, Op.DOUBLE)),
    ("float", Op.DOUBLE, (Op.FLOAT,)),
    ("float", Op.FLOAT, (Op.DOUBLE,)),
    ("dict", Op.MAP, (Op.RECORD,)),
)

_MISSING: Final = object()
_REALS: Final = (Op.FLOAT, Op.DOUBLE)
_MOST_CLASSES: Final = 64
"""Struct classes that a place in a plan remembers."""


class _Generator:
    def __init__(self, root: WriteNode, limits: Limits) -> None:
        self._limits = limits
        self._own = own_functions(root, children)
        self._functions = {key: f"write{place}" for place, key in enumerate(self._own)}
        self._costs = Costs(children, self._own)
        self._source = Source()
        self._source.constants.update(_CONSTANTS)
        self._depth = 0  # containers entered so far in the function being made
        self._root = root

    def function(self) -> Quick:
        for key, node in self._own.items():
            self._make(self._functions[key], node)
        nodes, depth = self._limits.nodes - self._root.weight, self._limits.depth
        self._source.add("def start(v):", "    parts = []")
        self._source.add(f"    {self._functions[id(self._root)]}(v, parts.append, [{nodes}], {depth})")
        self._source.add("    return b''.join(parts)")
        return self._source.compiled("start")

    def _make(self, name: str, node: WriteNode) -> None:
        source, (nodes, depth) = self._source, self._costs.of(node)
        source.add(f"def {name}(v, out, left, depth):")
        source.indent, self._depth = 1, 0
        source.add(f"left[0] -= {nodes}", f"if depth < {depth} or left[0] < 0: raise bad")
        self._body(node, "v")
        source.indent = 0

    def _value(self, node: WriteNode, value: str) -> None:
        """Adds the lines that write the value of that name."""
        if id(node) in self._own:
            self._source.add(f"{self._functions[id(node)]}({value}, out, left, depth - {self._depth})")
        else:
            self._body(node, value)

    def _body(self, node: WriteNode, value: str) -> None:
        if node.logical is not None:
            raw = self._source.name("v")
            self._source.add(f"{raw} = {self._source.constant('L', node.logical)}({value})")
            value = raw
        _EMIT[node.op](self, node, value)

    def null(self, node: WriteNode, value: str) -> None:
        self._source.add(f"if {value} is not None: raise bad")

    def boolean(self, node: WriteNode, value: str) -> None:
        self._source.add(f"if type({value}) is not bool: raise bad", f"out(short[{value}])")

    def integer(self, node: WriteNode, value: str) -> None:
        most = "0xFFFFFFFF" if node.op == Op.INT else "0xFFFFFFFFFFFFFFFF"
        self._source.add(
            f"if type({value}) is not int: raise bad",
            f"n = {value} << 1 if {value} >= 0 else ~({value} << 1)",
            f"out(short[n] if n < 1024 else long(n, {most}))",
        )

    def real(self, node: WriteNode, value: str) -> None:
        size = 4 if node.op == Op.FLOAT else 8
        self._source.add(
            f"if type({value}) is not float and type({value}) is not int: raise bad", f"out(pack{size}({value}))"
        )

    def _sized(self, raw: str) -> None:
        self._source.add(f"n = len({raw})", "out(short[n << 1] if n < 512 else varint(n << 1))", f"out({raw})")

    def text(self, node: WriteNode, value: str) -> None:
        self._source.add(f"if type({value}) is not str: raise bad", f"b = {value}.encode()")
        self._sized("b")

    def raw(self, node: WriteNode, value: str) -> None:
        self._source.add(f"if type({value}) is not bytes: raise bad")
        self._sized(value)

    def fixed(self, node: WriteNode, value: str) -> None:
        self._source.add(f"if type({value}) is not bytes or len({value}) != {node.size}: raise bad", f"out({value})")

    def enum(self, node: WriteNode, value: str) -> None:
        indexes = {symbol: _varint(index << 1) for symbol, index in node.indexes.items()}
        self._source.add(f"out({self._source.constant('I', indexes)}[{value}])")

    def union(self, node: WriteNode, value: str) -> None:
        def branch(place: int, inner: str) -> None:
            self._source.add(f"out({_varint(place << 1)!r})")
            self._value(node.branches[place], inner)

        add_choice(self._source, node, value, branch)

    def array(self, node: WriteNode, value: str) -> None:
        self._source.add(f"if type({value}) is not list and type({value}) is not tuple: raise bad")
        item = self._source.name("v")
        self._items(node, value, f"for {item} in {value}:", item)

    def map(self, node: WriteNode, value: str) -> None:
        self._source.add(f"if type({value}) is not dict: raise bad")
        item = self._source.name("v")
        self._items(node, value, f"for k, {item} in {value}.items():", item)

    def _items(self, node: WriteNode, value: str, loop: str, item: str) -> None:
        source, items = self._source, node.items
        if items is None:
            raise Unsuitable
        count = source.name("n")
        source.add(f"n = {count} = len({value})", f"left[0] -= n * {self._costs.of_item(node)}")
        source.add("if left[0] < 0: raise bad", "if n:")
        source.indent += 1
        source.add("out(short[n << 1] if n < 512 else varint(n << 1))", loop)
        source.indent += 1
        self._depth += 1
        if node.op == Op.MAP:
            source.add("if type(k) is not str: raise bad", "b = k.encode()")
            self._sized("b")
        self._value(items, item)
        self._depth -= 1
        source.indent -= 2
        source.add(f"if len({value}) != {count}: raise bad", r"out(b'\0')")

    def record(self, node: WriteNode, value: str) -> None:
        self._depth += 1
        add_fields(self._source, node, value, lambda place, item: self._value(node.fields[place][1], item))
        self._depth -= 1


def add_choice(source: Source, node: WriteNode, value: str, branch: Callable[[int, str], None]) -> None:
    """Adds the choice of a union's branch; `branch` adds what is done for one, by its place and its value's name."""
    sure, word = _sure_branches(node), "if"

    def add(test: str, place: int, inner: str) -> None:
        source.add(f"{word} {test}:")
        source.indent += 1
        branch(place, inner)
        source.indent -= 1

    for test, place in sure:
        add(test.format(value), place, value)
        word = "elif"
    if len(sure) == len(node.branches) and not any(each.op == Op.RECORD for each in node.branches):
        source.add("else: raise bad" if sure else "raise bad")
        return
    source.add("else:" if sure else "if True:")
    source.indent += 1
    chosen, word = source.name("v"), "if"
    source.add(f"i, {chosen} = {source.constant('U', _chooser(node))}({value})")
    for place in range(len(node.branches)):
        add(f"i == {place}", place, chosen)
        word = "elif"
    source.indent -= 1


def add_fields(source: Source, node: WriteNode, value: str, field: Callable[[int, str], None]) -> None:
    """Adds the taking of a record's fields; `field` adds what is done for one, by its place and its value's name."""
    fields, count, of_struct = source.name("r"), source.name("c"), source.constant("S", _struct_reader(node.names))
    source.constants.update(missing=_MISSING)
    source.add(f"{fields} = {value} if type({value}) is dict else {of_struct}({value})")
    must = sum(default is None for _, _, default in node.fields)
    source.add(f"{count} = {must}")
    for place, (name, _, default) in enumerate(node.fields):
        item = source.name("v")
        if default is None:
            source.add(f"{item} = {fields}[{name!r}]")
        else:
            made = source.constant("D", default)
            source.add(
                f"{item} = {fields}.get({name!r}, missing)",
                f"if {item} is missing: {item} = {made}()",
                f"else: {count} += 1",
            )
        field(place, item)
    source.add(f"if len({fields}) != {count}: raise bad")


def _chooser(union: WriteNode) -> Callable[[Any], tuple[int, Any]]:
    """`branch_of` for one union, which is asked once for each class of Structs."""
    places: dict[type, int] = {}

    def choose(value: Any) -> tuple[int, Any]:
        place = places.get(type(value))
        if place is not None:
            return place, value
        place, inner = branch_of(union, value)
        if is_struct(value):
            _remember(places, type(value), place)
        return place, inner

    return choose


def _struct_reader(known: frozenset[str]) -> Callable[[Any], dict[str, Any]]:
    """`struct_values` for one record, in code made for each class. AttributeError where one was never set."""
    readers: dict[type, Callable[[Any], dict[str, Any]]] = {}

    def make(value: Any) -> Callable[[Any], dict[str, Any]]:
        struct_values(value, known)  # refuses what is no Struct
        source = Source()
        attributes = struct_attributes(type(value)).items()
        pairs = ", ".join(f"{name!r}: v.{attribute}" for name, attribute in attributes if name in known)
        source.add(f"def read(v): return {{{pairs}}}")
        return source.compiled("read")

    def read(value: Any) -> dict[str, Any]:
        reader = readers.get(type(value))
        if reader is None:
            reader = make(value)
            _remember(readers, type(value), reader)
        return reader(value)

    return read


def _remember(known: dict[type, Any], kind: type, found: Any) -> None:
    if len(known) >= _MOST_CLASSES:
        known.clear()
    known[kind] = found


def _sure_branches(union: WriteNode) -> list[tuple[str, int]]:
    """The branches that a value's class alone leads to: a test of `{}`, and the branch's place."""
    ops = [branch.op for branch in union.branches]
    sure = [("{} is None", place) for place, op in enumerate(ops) if op == Op.NULL]
    for name, op, rivals in _SURE:
        if op in ops and not any(rival in ops[: ops.index(op)] for rival in rivals):
            sure.append((f"type({{}}) is {name}", ops.index(op)))
    if Op.INT in ops and Op.LONG not in ops and not any(rival in ops[: ops.index(Op.INT)] for rival in _REALS):
        sure.append(("type({}) is int", ops.index(Op.INT)))
    records = [place for place, op in enumerate(ops) if op in (Op.RECORD, Op.MAP)]
    if len(records) == 1 and ops[records[0]] == Op.RECORD:
        sure.append(("type({}) is dict", records[0]))
    return sure


_EMIT: Final[dict[Op, Callable[[_Generator, WriteNode, str], None]]] = {
    Op.NULL: _Generator.null, Op.BOOLEAN: _Generator.boolean, Op.INT: _Generator.integer, Op.LONG: _Generator.integer,
    Op.FLOAT: _Generator.real, Op.DOUBLE: _Generator.real, Op.BYTES: _Generator.raw, Op.STRING: _Generator.text,
    Op.FIXED: _Generator.fixed, Op.ENUM: _Generator.enum, Op.ARRAY: _Generator.array, Op.MAP: _Generator.map,
    Op.RECORD: _Generator.record, Op.UNION: _Generator.union,
}  # fmt: skip
