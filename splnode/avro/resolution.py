"""Schema resolution: what a writer wrote, as a reader wants it, decided once for each pair of schemas.

`read_plan(writer, reader)` and `write_plan(schema)` make the plans that an engine of `codec` carries out;
they are remembered as long as the schemas live. Nothing here recurses: a text of 256 KiB holds a chain of
5,000 types.

What the specification leaves open, and what we do:

- A reader's union takes the branch that is the same type (kind and full name), else the first that has
  the same unqualified name or an alias, else the first that a promotion reaches. The specification says
  "the first that matches", by which `[double, long]` would turn its own longs into doubles; Java looks for
  the exact one first, too.
- A branch of the writer's union that the reader cannot take is an error only when it comes (a FAIL node).
  Everywhere else, also in the items of an array, the pair does not match at all. A union of which no
  branch fits does not match either.
- Two decimals match only with equal precision and scale; another pair of logical types matches as the
  types below match, and the reader's logical type is what the value gets.

Source: Apache Avro 1.12 specification, "Schema Resolution", "Aliases".
"""

from collections.abc import Callable
from typing import Any, Final
from weakref import WeakKeyDictionary

from splnode.avro import logical
from splnode.avro.charges import KEY, entering, weight
from splnode.avro.codec.plan import Op, Promote, ReadNode, WriteNode
from splnode.avro.codec.unfolding import mark_hopeless
from splnode.avro.defaults import Default, Defaults
from splnode.avro.schema import MISSING, Field, Schema
from splnode.collector import CollectorPaused
from splnode.errors import SchemaError

_OPS: Final = {
    "null": Op.NULL, "boolean": Op.BOOLEAN, "int": Op.INT, "long": Op.LONG, "float": Op.FLOAT, "double": Op.DOUBLE,
    "bytes": Op.BYTES, "string": Op.STRING, "fixed": Op.FIXED, "enum": Op.ENUM, "array": Op.ARRAY, "map": Op.MAP,
    "record": Op.RECORD, "error": Op.RECORD, "union": Op.UNION,
}  # fmt: skip
_PROMOTIONS: Final = {
    ("int", "long"): Promote.NONE,
    ("int", "float"): Promote.TO_FLOAT,
    ("int", "double"): Promote.TO_FLOAT,
    ("long", "float"): Promote.TO_FLOAT,
    ("long", "double"): Promote.TO_FLOAT,
    ("float", "double"): Promote.NONE,
    ("bytes", "string"): Promote.TO_STRING,
    ("string", "bytes"): Promote.TO_BYTES,
}
_EXACT, _NAMED, _PROMOTED, _NO = 3, 2, 1, 0
MAX_REASONS: Final = 8
"""Reasons that one SchemaError lists."""

_read_plans: "WeakKeyDictionary[Schema, WeakKeyDictionary[Schema, ReadNode]]" = WeakKeyDictionary()
_write_plans: "WeakKeyDictionary[Schema, WriteNode]" = WeakKeyDictionary()


def read_plan(writer: Schema, reader: Schema | None = None) -> ReadNode:
    """The plan to read what `writer` wrote as `reader` (by default the writer itself).

    SchemaError, with every path at which they differ and both sides, if no datum could be read.
    """
    reader = writer if reader is None else reader
    plans = _read_plans.setdefault(writer, WeakKeyDictionary())
    plan = plans.get(reader)
    if plan is None:
        with CollectorPaused():
            plan = plans[reader] = _Resolution().plan(writer, reader)
    return plan


def write_plan(schema: Schema) -> WriteNode:
    """The plan to write values of the schema."""
    plan = _write_plans.get(schema)
    if plan is None:
        with CollectorPaused():
            plan = _write_plans[schema] = _write_plan(schema)
    return plan


def described(schema: Schema) -> str:
    """A schema in a word or two, for an error: `int`, `record com.acme.Order`, `decimal(4, 2) bytes`."""
    if schema.logical == "decimal":
        kind = f"decimal({schema.precision}, {schema.scale}) {schema.kind}"
    else:
        kind = f"{schema.logical} {schema.kind}" if schema.logical else schema.kind
    if schema.kind == "union":
        labels = [branch.label for branch in schema.branches]
        return f"union of {', '.join(labels[:6])}{', ...' if len(labels) > 6 else ''}"
    if schema.kind == "fixed":
        return f"{kind} {schema.name} of {schema.size} bytes"
    return f"{kind} {schema.name}" if schema.name else kind


class _Pair:
    """A writer's and a reader's schema that meet somewhere, and the node they make."""

    __slots__ = ("live", "node", "parents", "reader", "reasons", "writer")

    def __init__(self, writer: Schema, reader: Schema) -> None:
        self.writer = writer
        self.reader = reader
        self.node = ReadNode(_OPS[writer.kind], reader.label)
        self.node.weight = weight(writer) if writer is reader else max(weight(writer), weight(reader))
        self.reasons: list[tuple[str, str]] = []  # (path from here, reason); any means that they do not match
        self.parents: list[tuple[_Pair, str, int]] = []  # who needs this pair, by which step, as which branch or -1
        self.live = 0  # writer's union: branches that match


class _Resolution:
    """Finds all pairs that a writer and a reader lead to, makes their nodes, then sees which cannot be."""

    def __init__(self) -> None:
        self._pairs: dict[tuple[int, int], _Pair] = {}
        self._todo: list[_Pair] = []
        self._failed: list[tuple[_Pair, str, str]] = []
        self._defaults = Defaults()

    def plan(self, writer: Schema, reader: Schema) -> ReadNode:
        root = self._pair(writer, reader)
        while self._todo:
            self._fill(self._todo.pop())
        self._spread_failures()
        if root.reasons:
            raise SchemaError([f"{path}: {reason}" if path else reason for path, reason in root.reasons])
        mark_hopeless(pair.node for pair in self._pairs.values())
        return root.node

    def _pair(self, writer: Schema, reader: Schema) -> _Pair:
        """The pair, with the reader's union, if it is one, already decided. A schema always fits itself."""
        reason = None
        if writer.kind != "union" and reader.kind == "union":
            chosen = _choose(writer, reader)
            if chosen is None:
                reason = f"the writer's {described(writer)} is no branch of the reader's {described(reader)}"
            else:
                reader = chosen
        key = (id(writer), id(reader))
        pair = self._pairs.get(key)
        if pair is None:
            pair = self._pairs[key] = _Pair(writer, reader)
            if reason is None and writer is not reader and writer.kind != "union" and _match(writer, reader) == _NO:
                reason = f"the writer's {described(writer)} cannot be read as the reader's {described(reader)}"
            if reason is None:
                self._todo.append(pair)
            else:
                self._fail(pair, "", reason)
        return pair

    def _child(self, parent: _Pair, writer: Schema, reader: Schema, step: str, branch: int = -1) -> ReadNode:
        pair = self._pair(writer, reader)
        if writer is not reader:  # else it cannot fail
            pair.parents.append((parent, step, branch))
        return pair.node

    def _fail(self, pair: _Pair, path: str, reason: str) -> None:
        if len(pair.reasons) < MAX_REASONS and (path, reason) not in pair.reasons:
            pair.reasons.append((path, reason))
            self._failed.append((pair, path, reason))

    def _fill(self, pair: _Pair) -> None:
        writer, reader, node = pair.writer, pair.reader, pair.node
        if writer.kind == "union":
            same = writer is reader
            pair.live = len(writer.branches)
            node.branches = tuple(
                self._child(pair, branch, branch if same else reader, "", place)
                for place, branch in enumerate(writer.branches)
            )
            return
        node.promote = _PROMOTIONS.get((writer.kind, reader.kind), Promote.NONE)
        node.logical = logical.reading(reader)
        if writer.is_record:
            self._fill_record(pair)
        elif writer.kind == "enum":
            _fill_enum(node, writer, reader)
        elif writer.items is not None and reader.items is not None:
            node.items = self._child(pair, writer.items, reader.items, "[]" if writer.kind == "array" else "{}")
            node.cost, node.each = entering(writer), _each(writer, node.items)
        node.size = writer.size

    def _fill_record(self, pair: _Pair) -> None:
        writer, reader, node = pair.writer, pair.reader, pair.node
        targets = _targets(writer, reader)
        node.names = tuple(field.name for field in reader.fields)
        steps = []
        for field, target in zip(writer.fields, targets, strict=True):
            wanted = field.schema if target < 0 else reader.fields[target].schema
            child = self._child(pair, field.schema, wanted, f".{field.name}")
            steps.append((field.name, child, target))
        node.steps = tuple(steps)
        missing = sorted(set(range(len(reader.fields))) - set(targets))
        defaults = [(place, self._default(pair, reader.fields[place])) for place in missing]
        node.defaults = tuple((place, default.make) for place, default in defaults if default is not None)
        node.cost = max(entering(writer), entering(reader))
        node.cost += sum(child.weight for _, child, _ in steps)
        node.cost += sum(default.nodes for _, default in defaults if default is not None)
        node.straight = targets == list(range(len(reader.fields)))

    def _default(self, pair: _Pair, field: Field) -> Default | None:
        if field.default is MISSING:
            what = f"the reader's field {field.name!r} ({described(field.schema)}) has no default"
            self._fail(pair, "", f"{what}, and the writer's {described(pair.writer)} has no such field")
            return None
        return self._defaults.of(field)

    def _spread_failures(self) -> None:
        """Whoever needs a pair that does not match does not match; but a writer's union lives by any branch."""
        while self._failed:
            pair, path, reason = self._failed.pop()
            for parent, step, branch in pair.parents:
                if branch < 0:
                    self._fail(parent, _joined(step, path), reason)
                elif parent.node.branches[branch].op != Op.FAIL:
                    branches = parent.node.branches
                    parent.node.branches = (*branches[:branch], _failing(pair), *branches[branch + 1 :])
                    parent.live -= 1
                    if not parent.live:
                        self._fail(parent, path, reason)


def _joined(step: str, path: str) -> str:
    """A path with the step that leads to it; a very long one loses its end."""
    joined = (f"{step}.{path}" if path and path[0] not in "[{" else step + path).removeprefix(".")
    return joined if len(joined) <= 400 else joined[:300] + "..."


def _failing(pair: _Pair) -> ReadNode:
    node = ReadNode(Op.FAIL, pair.writer.label)
    path, reason = pair.reasons[0]
    node.reason = f"{path}: {reason}" if path else reason
    return node


def _match(writer: Schema, reader: Schema) -> int:
    """How well two schemas match, their parts not looked at; the writer's is no union."""
    if reader.kind == "union":
        return _NO
    if writer.logical == reader.logical and (writer.precision, writer.scale) != (reader.precision, reader.scale):
        return _NO  # decimals: only they have a precision
    if writer.kind == reader.kind or (writer.is_record and reader.is_record):
        if not writer.name or writer.name == reader.name:
            return _EXACT if writer.size == reader.size else _NO
        if writer.short_name == reader.short_name or writer.name in reader.aliases:
            return _NAMED if writer.size == reader.size else _NO
        return _NO
    return _PROMOTED if (writer.kind, reader.kind) in _PROMOTIONS else _NO


def _choose(writer: Schema, union: Schema) -> Schema | None:
    """The branch of the reader's union that takes what the writer wrote."""
    best, found = _NO, None
    for branch in union.branches:
        rank = _match(writer, branch)
        if rank > best:
            best, found = rank, branch
    return found


def _targets(writer: Schema, reader: Schema) -> list[int]:
    """For each of the writer's fields the place of the reader's that takes it, by name, else by alias; or -1."""
    places = {field.name: place for place, field in enumerate(reader.fields)}
    if writer is reader:
        return list(places.values())
    taken = {field.name for field in writer.fields}
    aliases: dict[str, int] = {}
    for place, field in enumerate(reader.fields):
        if field.name not in taken:
            # One alias is enough: a second of the same field would read it twice
            alias = next((each for each in field.aliases if each in taken and each not in places), None)
            if alias is not None:
                aliases.setdefault(alias, place)
    return [places.get(field.name, aliases.get(field.name, -1)) for field in writer.fields]


def _fill_enum(node: ReadNode, writer: Schema, reader: Schema) -> None:
    known = set(reader.symbols)
    node.symbols = tuple(symbol if symbol in known else reader.default for symbol in writer.symbols)
    unknown = [symbol for symbol in writer.symbols if symbol not in known]
    if unknown and reader.default is None:
        shown = ", ".join(unknown[:6]) + (", ..." if len(unknown) > 6 else "")
        node.reason = f"a symbol that the reader's enum {reader.name} has not, nor a default (it has not: {shown})"


def _write_plan(root: Schema) -> WriteNode:
    nodes: dict[int, WriteNode] = {}
    todo: list[Schema] = []
    defaults = Defaults()

    def node_of(schema: Schema) -> WriteNode:
        node = nodes.get(id(schema))
        if node is None:
            node = nodes[id(schema)] = WriteNode(_OPS[schema.kind], schema.label)
            node.weight = weight(schema)
            todo.append(schema)
        return node

    result = node_of(root)
    while todo:
        schema = todo.pop()
        node = nodes[id(schema)]
        node.logical, node.accepts = logical.writing(schema)
        node.size = schema.size
        node.indexes = {symbol: index for index, symbol in enumerate(schema.symbols)}
        node.branches = tuple(node_of(branch) for branch in schema.branches)
        if schema.items is not None:
            node.items = node_of(schema.items)
            node.each = _each(schema, node.items)
        node.fields = tuple((field.name, node_of(field.schema), _made(field, defaults)) for field in schema.fields)
        node.names = frozenset(field.name for field in schema.fields)
        node.cost = entering(schema) + sum(child.weight for _, child, _ in node.fields)
    return result


def _each(schema: Schema, items: ReadNode | WriteNode) -> int:
    """What an array or a map charges for each of its items."""
    return items.weight + (KEY if schema.kind == "map" else 0)


def _made(field: Field, defaults: Defaults) -> Callable[[], Any] | None:
    return None if field.default is MISSING else defaults.of(field).make
