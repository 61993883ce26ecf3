"""A schema as a graph: what the Avro specification calls a schema, names resolved.

`parse_schema` and `protocol.Protocol` build it; plans, fingerprints and plain JSON read it. A named
type is one object wherever it is referred to, so a recursive type is a cycle: whoever walks the graph
keeps the objects it has seen, and does not recurse (a text of 256 KiB holds a chain of 5,000 records).

Source: Apache Avro 1.12 specification, "Schema Declaration", "Names", "Aliases", "Logical Types".
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from splnode.limits import DEFAULT_LIMITS, Limits

PRIMITIVES: Final = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
NAMED: Final = ("record", "error", "enum", "fixed")


class _Missing:
    """The default of a field that has none (None is a default of its own)."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Field:
    """A field of a record, or a parameter of a message. `default` is the JSON of the schema, or MISSING."""

    __slots__ = ("aliases", "default", "doc", "name", "properties", "schema")

    def __init__(
        self, name: str, schema: "Schema", default: Any = MISSING, aliases: tuple[str, ...] = (), doc: str = ""
    ) -> None:
        self.name = name
        self.schema = schema
        self.default = default
        self.aliases = aliases
        self.doc = doc
        self.properties: Mapping[str, Any] = _NOTHING

    def __repr__(self) -> str:
        return f"Field({self.name!r}, {self.schema!r})"


class Schema:
    """One type. Which attributes mean something depends on `kind`:

    | kind | attributes |
    |---|---|
    | null boolean int long float double bytes string | - |
    | record, error | name, aliases, fields |
    | enum | name, aliases, symbols, default (a symbol or None) |
    | fixed | name, aliases, size (bytes) |
    | array, map | items |
    | union | branches |

    `logical` is the name of a logical type that fits (`decimal` with `precision` and `scale`); one that
    does not fit is ignored, as the specification asks. `properties` are the keys that Avro does not know,
    and an ignored `logicalType`. Treated as immutable once its parser returned.
    """

    __slots__ = (
        "__weakref__", "aliases", "branches", "default", "doc", "fields", "items", "kind", "logical",
        "name", "precision", "properties", "scale", "size", "symbols",
    )  # fmt: skip

    def __init__(self, kind: str, name: str = "") -> None:
        self.kind = kind
        self.name = name
        self.aliases: tuple[str, ...] = ()
        self.fields: tuple[Field, ...] = ()
        self.symbols: tuple[str, ...] = ()
        self.default: str | None = None
        self.size = 0
        self.items: Schema | None = None
        self.branches: tuple[Schema, ...] = ()
        self.logical: str | None = None
        self.precision = 0
        self.scale = 0
        self.doc = ""
        self.properties: Mapping[str, Any] = _NOTHING

    @property
    def label(self) -> str:
        """What a union calls this branch: the full name of a named type, else the kind."""
        return self.name or self.kind

    @property
    def short_name(self) -> str:
        """The name without its namespace; "" for a type without a name."""
        return self.name.rpartition(".")[2]

    @property
    def is_record(self) -> bool:
        """True for `record` and `error`, which differ in nothing but the word."""
        return self.kind in ("record", "error")

    def children(self) -> "Iterator[Schema]":
        """The schemas directly below, in order."""
        if self.items is not None:
            yield self.items
        yield from self.branches
        for field in self.fields:
            yield field.schema

    def __repr__(self) -> str:
        return f"<Schema {self.kind}{' ' + self.name if self.name else ''}>"


def full_name(name: str, namespace: str) -> str:
    """A name as it is known outside of its namespace. (specification, "Names")"""
    return name if "." in name or not namespace else f"{namespace}.{name}"


def namespace_of(name: str) -> str:
    """The namespace of a full name; "" where it has none."""
    return name.rpartition(".")[0]


def walk(*roots: Schema) -> Iterator[Schema]:
    """Every schema that can be reached from the roots, each once, without recursion."""
    seen: set[int] = set()
    stack = list(reversed(roots))
    while stack:
        schema = stack.pop()
        if id(schema) not in seen:
            seen.add(id(schema))
            yield schema
            stack.extend(reversed(list(schema.children())))


def parse_schema(source: str | bytes, *, limits: Limits = DEFAULT_LIMITS, referee: bool = True) -> Schema:
    """The schema of an .avsc text. SchemaError says where it is malformed and why.

    `referee` False leaves out the second opinion of the `avro` package: see Protocol.parse.

    Two schemas of one text are two objects: parse once and keep it, since plans are remembered by object.
    """
    # builder stands on this module, and most who import this one parse nothing
    from splnode.avro import builder  # noqa: PLC0415 - see above

    return builder.parse(source, limits, referee)
