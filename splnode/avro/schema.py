"""A schema as a graph: what the Avro specification calls a schema, names resolved.

`parse_schema` and `protocol.Protocol` build it; plans, fingerprints and plain JSON read it. A named
type is one object wherever it is referred to, so a recursive type is a cycle: whoever walks the graph
keeps the objects it has seen.

Source: Apache Avro 1.12 specification, "Schema Declaration", "Names", "Aliases", "Logical Types".
"""

from collections.abc import Mapping
from typing import Any, Final

from splnode.errors import SchemaError

PRIMITIVES: Final = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
NAMED: Final = ("record", "error", "enum", "fixed")


class _Missing:
    """The default of a field that has none (None is a default of its own)."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


class Field:
    """A field of a record, or a parameter of a message. `default` is the JSON of the schema, or MISSING."""

    __slots__ = ("aliases", "default", "doc", "name", "schema")

    def __init__(self, name: str, schema: "Schema", default: Any = MISSING, aliases: tuple[str, ...] = (), doc: str = "") -> None:
        self.name = name
        self.schema = schema
        self.default = default
        self.aliases = aliases
        self.doc = doc

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
    does not fit is ignored, as the specification asks. Treated as immutable once its parser returned.
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
        self.properties: Mapping[str, Any] = {}

    @property
    def label(self) -> str:
        """What a union calls this branch: the full name of a named type, else the kind."""
        return self.name or self.kind

    @property
    def is_record(self) -> bool:
        """True for `record` and `error`, which differ in nothing but the word."""
        return self.kind in ("record", "error")

    def __repr__(self) -> str:
        return f"<Schema {self.kind}{' ' + self.name if self.name else ''}>"


def full_name(name: str, namespace: str) -> str:
    """A name as it is known outside of its namespace. (specification, "Names")"""
    return name if "." in name or not namespace else f"{namespace}.{name}"


def namespace_of(name: str) -> str:
    """The namespace of a full name; "" where it has none."""
    return name.rpartition(".")[0]


class SchemaBuilder:
    """Turns the JSON of schemas, one after another, into the graph; names stay known between them.

    The JSON is expected to have passed `avro`'s own parser: what that one refuses is not looked for
    again. What it lets through and what would harm us is: depth, branches, unknown names.
    """

    def __init__(self, namespace: str = "", *, max_branches: int = 256) -> None:
        self.names: dict[str, Schema] = {}
        self._namespace = namespace
        self._max_branches = max_branches

    def build(self, source: Any, path: str = "", namespace: str | None = None) -> Schema:
        """The schema of one piece of JSON. SchemaError carries `path`, where in the text it stood."""
        space = self._namespace if namespace is None else namespace
        if isinstance(source, str):
            return self._reference(source, space, path)
        if isinstance(source, list):
            return self._union(source, space, path)
        if not isinstance(source, dict):
            raise SchemaError(f"a schema is a name, a list or an object, not {source!r}", path)
        kind = source.get("type")
        if not isinstance(kind, str):
            return self.build(kind, path, space)
        if kind in NAMED:
            return self._named(kind, source, space, path)
        if kind in ("array", "map"):
            schema = Schema(kind)
            schema.items = self.build(source.get("items" if kind == "array" else "values"), f"{path}.{kind}", space)
        elif kind in PRIMITIVES:
            schema = Schema(kind)
        else:
            return self._reference(kind, space, path)
        _decorate(schema, source)
        return schema

    def field(self, source: Mapping[str, Any], path: str, namespace: str) -> Field:
        """A field of a record, or a parameter of a message."""
        name = source["name"]
        schema = self.build(source["type"], f"{path}.{name}", namespace)
        aliases = tuple(source.get("aliases", ()))
        return Field(name, schema, source.get("default", MISSING), aliases, source.get("doc") or "")

    def _reference(self, name: str, namespace: str, path: str) -> Schema:
        if name in PRIMITIVES:
            return Schema(name)
        found = self.names.get(full_name(name, namespace)) or self.names.get(name)
        if found is None:
            raise SchemaError(f"no type is named {full_name(name, namespace)!r}", path)
        return found

    def _union(self, source: list[Any], namespace: str, path: str) -> Schema:
        if len(source) > self._max_branches:
            raise SchemaError(f"a union of {len(source)} branches (limit schema_branches = {self._max_branches})", path)
        schema = Schema("union")
        schema.branches = tuple(self.build(branch, f"{path}[{i}]", namespace) for i, branch in enumerate(source))
        return schema

    def _named(self, kind: str, source: dict[str, Any], namespace: str, path: str) -> Schema:
        # An empty namespace is one too: it puts the name outside of the enclosing one.
        own = source.get("namespace")
        name = full_name(source["name"], namespace if own is None else own)
        if name in self.names:
            raise SchemaError(f"the name {name!r} is given to two types", path)
        space = namespace_of(name)
        schema = self.names[name] = Schema(kind, name)
        schema.aliases = tuple(full_name(alias, space) for alias in source.get("aliases", ()))
        if kind == "enum":
            schema.symbols = tuple(source["symbols"])
            schema.default = source.get("default")
        elif kind == "fixed":
            schema.size = source["size"]
        else:
            fields = source.get("fields", ())
            schema.fields = tuple(self.field(each, f"{path}.{name}", space) for each in fields)
        _decorate(schema, source)
        return schema


_LOGICAL: Final[Mapping[str, tuple[str, ...]]] = {
    "decimal": ("bytes", "fixed"),
    "uuid": ("string", "fixed"),
    "date": ("int",),
    "time-millis": ("int",),
    "time-micros": ("long",),
    "timestamp-millis": ("long",),
    "timestamp-micros": ("long",),
    "timestamp-nanos": ("long",),
    "local-timestamp-millis": ("long",),
    "local-timestamp-micros": ("long",),
    "local-timestamp-nanos": ("long",),
    "duration": ("fixed",),
}
_READ = frozenset(
    ("type", "name", "namespace", "aliases", "fields", "symbols", "default", "size", "items", "values", "doc",
     "logicalType", "precision", "scale")
)  # fmt: skip


def _decorate(schema: Schema, source: Mapping[str, Any]) -> None:
    """Doc, unknown keys, and the logical type where it is one that fits the type below it."""
    schema.doc = source.get("doc") or ""
    schema.properties = {key: value for key, value in source.items() if key not in _READ}
    logical = source.get("logicalType")
    if not isinstance(logical, str) or schema.kind not in _LOGICAL.get(logical, ()):
        return
    if (logical, schema.kind) in (("uuid", "fixed"), ("duration", "fixed")):
        if schema.size != (16 if logical == "uuid" else 12):
            return
    elif logical == "decimal":
        precision, scale = source.get("precision"), source.get("scale", 0)
        if not _is_decimal(schema, precision, scale):
            return
        schema.precision, schema.scale = precision, scale  # type: ignore[assignment]  # _is_decimal saw two ints
    schema.logical = logical


def _is_decimal(schema: Schema, precision: object, scale: object) -> bool:
    if type(precision) is not int or type(scale) is not int:
        return False
    if precision < 1 or not 0 <= scale <= precision:
        return False
    # log10(2) digits for each bit but the sign's (specification, "Decimal")
    return schema.kind == "bytes" or precision <= int((8 * schema.size - 1) * 0.30102999566398)
