"""From the JSON of schemas to the graph of `schema.Schema`, each rule of the specification checked.

Source: Apache Avro 1.12 specification, "Schema Declaration", "Names", "Aliases", "Logical Types".
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from splnode.avro import defaults, referee
from splnode.avro.schema import MISSING, NAMED, PRIMITIVES, Field, Schema, full_name, namespace_of
from splnode.avro.text import read_json, read_text
from splnode.collector import CollectorPaused
from splnode.errors import SchemaError
from splnode.limits import DEFAULT_LIMITS, Limits

MAX_FIELDS: Final = 4096
"""Fields of one record: the `avro` package's parser compares each with all others."""
MAX_FIXED: Final = 2**31 - 1
MAX_NAME: Final = 512
"""Characters of a name, and of a namespace: every type inside of a namespace has a full name that repeats it."""
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_DOTTED: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*\Z")
_ORDERS: Final = ("ascending", "descending", "ignore")


def parse(source: str | bytes, limits: Limits = DEFAULT_LIMITS, second_opinion: bool = True) -> Schema:
    """The schema of an .avsc text; `schema.parse_schema` is its public face."""
    with CollectorPaused():
        document = read_json(read_text(source, limits=limits), limits=limits)
        builder = SchemaBuilder(limits=limits)
        schema = builder.build(document)
        builder.finish()
        if second_opinion:
            referee.check_schema(document, builder.names)
    return schema


class SchemaBuilder:
    """Turns the JSON of schemas, one after another, into the graph; names stay known between them.

    Nothing is trusted but the JSON's nesting, which `text.read_json` has limited. Call `finish` at the end:
    the defaults of fields are checked there, when all types are known.
    """

    def __init__(self, namespace: str = "", *, limits: Limits = DEFAULT_LIMITS) -> None:
        self.names: dict[str, Schema] = {}
        self._namespace = namespace
        self._limits = limits
        self._fields: list[tuple[Field, str]] = []
        self._primitives = {kind: Schema(kind) for kind in PRIMITIVES}  # where they are only named, one for all

    def build(self, source: Any, path: str = "", namespace: str | None = None) -> Schema:
        """The schema of one piece of JSON. SchemaError carries `path`, where in the text it stood."""
        space = self._namespace if namespace is None else namespace
        if isinstance(source, str):
            return self._reference(source, space, path)
        if isinstance(source, list):
            return self._union(source, space, path)
        if not isinstance(source, dict):
            raise SchemaError(f"a schema is a name, a list or an object, not {shown(source)}", path)
        kind = source.get("type")
        if kind is None:
            raise SchemaError(f'an object without "type" is no schema: {shown(source)}', path)
        if not isinstance(kind, str):
            return self.build(kind, path, space)
        if kind in NAMED:
            return self._named(kind, source, space, path)
        if kind in ("array", "map"):
            return self._container(kind, source, space, path)
        if kind not in PRIMITIVES:
            return self._reference(kind, space, path)
        schema = Schema(kind)
        _decorate(schema, source, path)
        return schema

    def fields(self, source: Any, path: str, namespace: str | None = None) -> tuple[Field, ...]:
        """The fields of a record, or the parameters of a message."""
        if not isinstance(source, list):
            raise SchemaError(f"a list of fields is needed, not {shown(source)}", path)
        if len(source) > MAX_FIELDS:
            raise SchemaError(f"a record of {len(source)} fields (at most {MAX_FIELDS})", path)
        space = self._namespace if namespace is None else namespace
        result = tuple(self._field(each, f"{path}[{place}]", path, space) for place, each in enumerate(source))
        _refuse_doubles((field.name for field in result), "field", path)
        return result

    def finish(self) -> None:
        """Checks the default of every field that was built since the last time."""
        checker = defaults.Defaults()
        fields, self._fields = self._fields, []
        for field, path in fields:
            checker.check(field, path)

    def _field(self, source: Any, place: str, path: str, namespace: str) -> Field:
        if not isinstance(source, dict):
            raise SchemaError(f"a field is an object with a name and a type, not {shown(source)}", place)
        name = check_name(source.get("name"), "field", place)
        path = join(path, name)
        if "type" not in source:
            raise SchemaError("the field has no type", path)
        order = source.get("order", "ascending")
        if order not in _ORDERS:
            raise SchemaError(f"order is one of {', '.join(_ORDERS)}, not {shown(order)}", path)
        schema = self.build(source["type"], path, namespace)
        aliases = _names(source.get("aliases"), "alias", path)
        field = Field(name, schema, source.get("default", MISSING), aliases, _doc(source))
        if not _FIELD_KEYS.issuperset(source):
            field.properties = {key: value for key, value in source.items() if key not in _FIELD_KEYS}
        if field.default is not MISSING:
            self._fields.append((field, path))
        return field

    def _reference(self, name: str, namespace: str, path: str) -> Schema:
        if name in self._primitives:
            return self._primitives[name]
        found: Schema | None = find(name, namespace, self._namespace, self.names)
        if found is None:
            hint = " (a type is known only behind its definition)" if name not in NAMED else ""
            raise SchemaError(f"no type is named {shown(full_name(name, namespace))}{hint}", path)
        return found

    def _container(self, kind: str, source: dict[str, Any], namespace: str, path: str) -> Schema:
        key = "items" if kind == "array" else "values"
        if key not in source:
            raise SchemaError(f"{'an' if kind == 'array' else 'a'} {kind} needs {key!r}", path)
        schema = Schema(kind)
        schema.items = self.build(source[key], join(path, key), namespace)
        _decorate(schema, source, path)
        return schema

    def _union(self, source: list[Any], namespace: str, path: str) -> Schema:
        limit = self._limits.schema_branches
        if len(source) > limit:
            raise SchemaError(f"a union of {len(source)} branches (limit schema_branches = {limit})", path)
        schema = Schema("union")
        schema.branches = tuple(self.build(branch, f"{path}[{i}]", namespace) for i, branch in enumerate(source))
        check_branches(schema.branches, path)
        return schema

    def _named(self, kind: str, source: dict[str, Any], namespace: str, path: str) -> Schema:
        name = self._declared_name(source, namespace, path)
        space = namespace_of(name)
        schema = self.names[name] = Schema(kind, name)
        aliases = _names(source.get("aliases"), "alias", path, dotted=True)
        schema.aliases = tuple(full_name(alias, space) for alias in aliases)
        if kind == "enum":
            schema.symbols, schema.default = _symbols(source, path)
        elif kind == "fixed":
            schema.size = _size(source, path)
        elif "fields" not in source:
            raise SchemaError(f"the {kind} {name!r} has no fields", path)
        else:
            schema.fields = self.fields(source["fields"], join(path, "fields"), space)
        _decorate(schema, source, path)
        return schema

    def _declared_name(self, source: dict[str, Any], namespace: str, path: str) -> str:
        short, own = check_name(source.get("name"), "type", path, dotted=True), source.get("namespace")
        if own is not None and own != "":
            check_name(own, "namespace", path, dotted=True)
        # An empty namespace is one too: it puts the name outside of the enclosing one.
        name = full_name(short, namespace if own is None else own)
        if name in PRIMITIVES:
            raise SchemaError(f"{name!r} is a type of Avro's own and cannot be defined", path)
        if name in self.names:
            raise SchemaError(f"the name {name!r} is given to two types", path)
        return name


def join(path: str, step: str) -> str:
    """One step further: `types[3]` and `fields` make `types[3].fields`."""
    return f"{path}.{step}" if path else step


def find(name: str, namespace: str, outermost: str, names: Mapping[str, Any]) -> Any:
    """What a name refers to, or None.

    The specification knows the enclosing namespace alone. Java also tries the null namespace, and the
    Python `avro` package, when it prints a protocol, shortens names by the protocol's namespace even inside
    of another one; both are understood.
    """
    for space in dict.fromkeys((namespace, outermost, "")):
        found = names.get(full_name(name, space))
        if found is not None:
            return found
    return None


def check_branches(branches: Iterable[Schema], path: str) -> None:
    """A union holds each type once, named types by their name, and no other union. (specification, "Unions")"""
    seen: set[str] = set()
    for branch in branches:
        if branch.kind == "union":
            raise SchemaError("a union cannot directly hold a union", path)
        if branch.label in seen:
            raise SchemaError(f"the union holds {branch.label!r} twice", path)
        seen.add(branch.label)


def shown(value: object) -> str:
    """A value for an error text: short, whatever it is."""
    if isinstance(value, dict):
        return f"an object with the keys {', '.join(map(repr, list(value)[:5]))}" if value else "an empty object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a huge number"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def check_name(name: object, what: str, path: str, *, dotted: bool = False) -> str:
    """The name. SchemaError unless it is one, or where `dotted` several with dots between."""
    if not isinstance(name, str):
        raise SchemaError(f"the {what} needs a name, not {shown(name)}", path)
    if len(name) > MAX_NAME:
        raise SchemaError(f"a name of {len(name)} characters (at most {MAX_NAME}): {shown(name)}", path)
    if not (_DOTTED if dotted else _NAME).match(name):
        raise SchemaError(f"{shown(name)} is not a name: letters, digits and _, not beginning with a digit", path)
    return name


def _names(source: object, what: str, path: str, *, dotted: bool = False) -> tuple[str, ...]:
    if source is None:
        return ()
    if not isinstance(source, list):
        raise SchemaError(f"a list of {what} names is needed, not {shown(source)}", path)
    for each in source:
        check_name(each, what, path, dotted=dotted)
    return tuple(source)


def _refuse_doubles(names: Iterable[str], what: str, path: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise SchemaError(f"the {what} {name!r} stands twice", path)
        seen.add(name)


def _symbols(source: Mapping[str, Any], path: str) -> tuple[tuple[str, ...], str | None]:
    if not isinstance(source.get("symbols"), list):
        raise SchemaError(f"an enum needs a list of symbols, not {shown(source.get('symbols'))}", path)
    symbols = _names(source["symbols"], "symbol", path)
    _refuse_doubles(symbols, "symbol", path)
    default = source.get("default")
    if default is not None and default not in symbols:
        raise SchemaError(f"the default {shown(default)} is none of the symbols", path)
    return symbols, default


def _size(source: Mapping[str, Any], path: str) -> int:
    size = source.get("size")
    if type(size) is not int or not 0 <= size <= MAX_FIXED:
        raise SchemaError(f"the size of a fixed is a number of bytes from 0 to {MAX_FIXED}, not {shown(size)}", path)
    return size


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
MAX_PRECISION: Final = 4096
"""Digits of a decimal: converting longer ones costs more than reading them, so they stay bytes."""
_FIELD_KEYS = frozenset(("name", "type", "default", "aliases", "doc", "order"))
_KEYS = frozenset(
    ("type", "name", "namespace", "aliases", "fields", "symbols", "default", "size", "items", "values", "doc",
     "logicalType", "precision", "scale")
)  # fmt: skip


def _doc(source: Mapping[str, Any]) -> str:
    doc = source.get("doc")
    return doc if isinstance(doc, str) else ""


def _decorate(schema: Schema, source: Mapping[str, Any], path: str) -> None:
    """Doc, unknown keys, and the logical type where it is one that fits the type below it."""
    schema.doc = _doc(source)
    if not _KEYS.issuperset(source):
        schema.properties = {key: value for key, value in source.items() if key not in _KEYS}
    reason = misfit(schema, source)
    if reason is None:
        logical = source.get("logicalType")
        schema.logical = logical
        if logical == "decimal":
            schema.precision, schema.scale = source["precision"], source.get("scale", 0)
    else:
        ignored = {key: source[key] for key in ("logicalType", "precision", "scale") if key in source}
        schema.properties = {**schema.properties, **ignored}


def misfit(schema: Schema, source: Mapping[str, Any]) -> str | None:
    """Why the logical type in `source` is ignored, or None. (specification, "Logical Types")"""
    logical = source.get("logicalType")
    if logical is None:
        return None
    if not isinstance(logical, str) or logical not in _LOGICAL:
        return f"the logical type {shown(logical)} is not one of Avro's"
    if schema.kind not in _LOGICAL[logical]:
        return f"the logical type {logical} needs {' or '.join(_LOGICAL[logical])}, not {schema.kind}"
    if logical == "decimal":
        return _decimal_misfit(schema, source.get("precision"), source.get("scale", 0))
    size = {"uuid": 16, "duration": 12}.get(logical)
    if schema.kind == "fixed" and schema.size != size:
        return f"the logical type {logical} needs a fixed of {size} bytes, not {schema.size}"
    return None


def _decimal_misfit(schema: Schema, precision: object, scale: object) -> str | None:
    if type(precision) is not int or precision < 1:
        return f"a decimal needs a precision of at least 1, not {shown(precision)}"
    if type(scale) is not int or not 0 <= scale <= precision:
        return f"the scale of a decimal is from 0 to its precision, not {shown(scale)}"
    if precision > MAX_PRECISION:
        return f"a decimal of {precision} digits (at most {MAX_PRECISION})"
    # log10(2) digits for each bit but the sign's (specification, "Decimal")
    most = int((8 * schema.size - 1) * 0.30102999566398)
    if schema.kind == "fixed" and precision > most:
        return f"a decimal of {precision} digits does not fit a fixed of {schema.size} bytes ({most} digits)"
    return None
