"""The default of a field: from the JSON of the schema to the value that a reader gets.

A default is the schema author's JSON, and the author may be hostile: a few lines can describe a value of
2^64 parts (each record's default holds two of the one before), or one that holds itself. So the parts are
counted before any is made twice, and the value of each field's default is made once and shared; `fresh`
copies it for each reader.

Source: Apache Avro 1.12 specification, "Complex Types" (records, `default`).
"""

from collections.abc import Callable
from typing import Any, Final

from splnode.avro import logical
from splnode.avro.charges import KEY, entering, weight
from splnode.avro.schema import MISSING, Field, Schema
from splnode.errors import SchemaError

MAX_NODES: Final = 10_000
"""What one default may charge to the limit of nodes."""
MAX_TRIES: Final = 100_000
"""Parts of all defaults of one text, each as often as a union's branches have to be tried for it."""
MAX_DEPTH: Final = 64
"""Records, arrays and maps inside one another in a default."""
_RANGES: Final = {"int": 31, "long": 63}
_NOT_FINITE: Final = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


class Default:
    """A default as a value. `nodes` is what it charges in all; `depth` counts its containers inside one another."""

    __slots__ = ("depth", "nodes", "value")

    def __init__(self, value: object, nodes: int, depth: int = 0) -> None:
        self.value = value
        self.nodes = nodes
        self.depth = depth

    @property
    def make(self) -> Callable[[], Any]:
        """Gives the value, a fresh one each time where it could be changed."""
        value = self.value
        if self.depth > 1:
            return lambda: fresh(value)
        return value.copy if isinstance(value, (dict, list)) else lambda: value


def fresh(value: Any) -> Any:
    """A copy in which no container is shared."""
    if type(value) is dict:
        return {key: fresh(each) for key, each in value.items()}
    if type(value) is list:
        return [fresh(each) for each in value]
    return value


class Defaults:
    """Makes defaults and remembers them, as long as it lives, by field."""

    def __init__(self) -> None:
        self._known: dict[int, Default | None] = {}
        self._fields: list[Field] = []  # kept alive, so that an id means one field
        self._tries = MAX_TRIES

    def check(self, field: Field, path: str) -> None:
        """SchemaError, with the path, if the field's default does not fit its type."""
        try:
            self.of(field)
        except _MisfitError as misfit:
            raise SchemaError(f"the default does not fit: {misfit.where()}{misfit.reason}", path) from None

    def of(self, field: Field) -> Default:
        """The default of a field that has one, checked before."""
        if id(field) in self._known:
            known = self._known[id(field)]
            if known is None:
                raise _MisfitError("it holds itself without end", fatal=True)
            return known
        self._fields.append(field)
        self._known[id(field)] = None
        made = self._known[id(field)] = self._make(field.schema, field.default)
        return made

    def _make(self, schema: Schema, json: Any) -> Default:
        self._tries -= 1
        if self._tries < 0:
            raise _MisfitError(f"more than {MAX_TRIES} tries to fit defaults to the branches of unions", fatal=True)
        if schema.kind == "union":
            return self._union(schema, json)
        if schema.kind == "array":
            return self._array(schema, json)
        if schema.kind == "map":
            return self._map(schema, json)
        if schema.is_record:
            return self._record(schema, json)
        raw = _scalar(schema, json)
        convert = logical.reading(schema)
        if convert is None:
            return Default(raw, weight(schema))
        try:
            return Default(convert(raw), weight(schema))
        except (ValueError, OverflowError) as error:
            raise _MisfitError(str(error)) from None

    def _union(self, schema: Schema, json: Any) -> Default:
        # 1.12: the first branch that the default matches; older ones: the first branch
        for branch in schema.branches:
            try:
                return self._make(branch, json)
            except _MisfitError as misfit:
                if misfit.fatal or len(schema.branches) == 1:
                    raise
        labels = ", ".join(branch.label for branch in schema.branches)
        raise _MisfitError(f"{_shown(json)} is none of {labels}")

    def _array(self, schema: Schema, json: Any) -> Default:
        if not isinstance(json, list) or schema.items is None:
            raise _MisfitError(f"an array is needed, not {_shown(json)}")
        result: list[Any] = []
        total = _Total(schema)
        for place, each in enumerate(json):
            result.append(self._part(schema.items, each, f"[{place}]", total))
        return total.default(result)

    def _map(self, schema: Schema, json: Any) -> Default:
        if not isinstance(json, dict) or schema.items is None:
            raise _MisfitError(f"a map is needed, not {_shown(json)}")
        result: dict[str, Any] = {}
        total = _Total(schema)
        for key, each in json.items():
            result[key] = self._part(schema.items, each, f"[{key!r}]", total)
            total.nodes += KEY
        return total.default(result)

    def _record(self, schema: Schema, json: Any) -> Default:
        if not isinstance(json, dict):
            raise _MisfitError(f"a record {schema.name} is needed, not {_shown(json)}")
        unknown = json.keys() - {field.name for field in schema.fields}
        if unknown:
            raise _MisfitError(f"the record {schema.name} has no field {min(unknown)!r}")
        result: dict[str, Any] = {}
        total = _Total(schema)
        for field in schema.fields:
            if field.name in json:
                result[field.name] = self._part(field.schema, json[field.name], f".{field.name}", total)
            elif field.default is MISSING:
                raise _MisfitError(f"the field {field.name!r} of {schema.name} is missing and has no default")
            else:
                result[field.name] = total.add(self.of(field))
        return total.default(result)

    def _part(self, schema: Schema, json: Any, step: str, total: "_Total") -> Any:
        try:
            return total.add(self._make(schema, json))
        except _MisfitError as misfit:
            misfit.steps.append(step)
            raise


class _MisfitError(Exception):
    """A default that does not fit; `fatal` where no other branch of a union can help."""

    def __init__(self, reason: str, *, fatal: bool = False) -> None:
        self.reason = reason
        self.fatal = fatal
        self.steps: list[str] = []

    def where(self) -> str:
        return "".join(reversed(self.steps)).removeprefix(".") + ": " if self.steps else ""


class _Total:
    """Counts the parts of a container while it is made."""

    def __init__(self, schema: Schema) -> None:
        self.nodes = weight(schema) + entering(schema)
        self.depth = 1

    def add(self, part: Default) -> object:
        self.nodes += part.nodes
        self.depth = max(self.depth, part.depth + 1)
        if self.nodes > MAX_NODES:
            raise _MisfitError(f"its values charge more than {MAX_NODES} nodes", fatal=True)
        if self.depth > MAX_DEPTH:
            raise _MisfitError(f"it nests deeper than {MAX_DEPTH} levels", fatal=True)
        return part.value

    def default(self, value: object) -> Default:
        return Default(value, self.nodes, self.depth)


def _scalar(schema: Schema, json: Any) -> Any:
    """The raw value of a type without parts."""
    kind = schema.kind
    fits = False
    if kind == "null":
        fits = json is None
    elif kind == "boolean":
        fits = isinstance(json, bool)
    elif kind in _RANGES:
        fits = type(json) is int and -1 << _RANGES[kind] <= json < 1 << _RANGES[kind]
    elif kind in ("float", "double"):
        return _number(json, kind)
    elif kind == "string":
        fits = isinstance(json, str)
    elif kind == "enum":
        fits = isinstance(json, str) and json in schema.symbols
    elif isinstance(json, str) and all(character <= "\xff" for character in json):
        raw = json.encode("latin-1")  # code points 0-255 are the bytes (specification, "Complex Types")
        if kind == "bytes" or len(raw) == schema.size:
            return raw
    if not fits:
        size = f" of {schema.size} bytes" if kind == "fixed" else ""
        raise _MisfitError(f"{_shown(json)} is no {schema.label}{size}")
    return json


def _number(json: Any, kind: str) -> float:
    if isinstance(json, str) and json in _NOT_FINITE:
        return _NOT_FINITE[json]
    if type(json) in (int, float):
        try:
            return float(json)
        except OverflowError:
            pass
    raise _MisfitError(f"{_shown(json)} is no {kind}")


def _shown(value: object) -> str:
    """A value for an error text, short."""
    if isinstance(value, (dict, list)):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a huge number"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
