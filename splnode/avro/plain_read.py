"""Plain JSON to Avro values. The rules stand in `plain_json`."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from splnode.avro import json_value
from splnode.avro.branch import deeper, named
from splnode.avro.codec.plan import Branch
from splnode.avro.json_scalar import NOT_FINITE, BytesAs, is_byte_form, key_step, misfit, read_scalar
from splnode.avro.json_text import brief
from splnode.avro.schema import MISSING, Field, Schema
from splnode.errors import EncodeError, LimitExceeded
from splnode.limits import Limits

Wrap = Callable[[Any], Any]
Choice = tuple[int, Any, bool]
"""The place of a branch, the value read for it, and whether the JSON said the branch."""
MAX_REASON: Final = 160
"""Characters of one branch's reason: reasons hold those of the unions below, and would double at each."""


class PlainReader:
    """Reads one JSON value; `wrap` makes the value of a `splnode.Record` of any JSON."""

    def __init__(self, bytes_as: BytesAs, wrap: Wrap, limits: Limits) -> None:
        self._bytes_as = bytes_as
        self._wrap = wrap
        self._limits = limits
        self._known: dict[tuple[int, int, int], Choice | _Refusal] = {}

    def read(self, schema: Schema, json: Any, depth: int = 0) -> Any:
        """The value that `json` stands for, below `depth` containers. EncodeError with the path."""
        if schema.kind == "union":
            return self._union(schema, json, depth)
        if json_value.is_record(schema):
            return self._wrap(json)
        if json_value.is_json(schema):
            return json_value.to_value(json, levels=max(0, self._limits.depth - depth - 2) // 2)
        if schema.is_record:
            return self._record(schema, json, deeper(depth, self._limits))
        if schema.kind == "array":
            return self._array(schema, json, deeper(depth, self._limits))
        if schema.kind == "map":
            return self._map(schema, json, deeper(depth, self._limits))
        return read_scalar(schema, json, self._bytes_as)

    def choose(self, union: Schema, json: Any, depth: int = 0) -> Choice:
        """The branch that takes `json`, and its value. EncodeError where none does, or several do.

        Remembered for lists and objects: two branches that both hold the same union below would otherwise
        be tried 2^depth times.
        """
        if not isinstance(json, (list, dict)):
            return self._choose(union, json, depth)
        key = (id(union), id(json), depth)
        known = self._known.get(key)
        if known is None:
            try:
                known = self._choose(union, json, depth)
            except EncodeError as error:
                known = _Refusal(error)
            self._known[key] = known
        if isinstance(known, _Refusal):
            raise known.again()
        return known

    def _record(self, schema: Schema, json: Any, depth: int) -> dict[str, Any]:
        if not isinstance(json, dict):
            raise misfit(schema, json)
        if json.keys() - {field.name for field in schema.fields}:
            raise _unknown(schema, json)
        value: dict[str, Any] = {}
        for field in schema.fields:
            if field.name in json:
                value[field.name] = self._part(field.schema, json[field.name], f".{field.name}", depth)
            elif field.default is MISSING:
                raise EncodeError(f"{schema.name} needs {_missing(schema.fields, json)}, which is not given")
        return value

    def _array(self, schema: Schema, json: Any, depth: int) -> list[Any]:
        if not isinstance(json, (list, tuple)) or schema.items is None:
            raise misfit(schema, json)
        items = schema.items
        return [self._part(items, each, f"[{place}]", depth) for place, each in enumerate(json)]

    def _map(self, schema: Schema, json: Any, depth: int) -> dict[str, Any]:
        if not isinstance(json, dict) or schema.items is None:
            raise misfit(schema, json)
        items = schema.items
        return {key: self._part(items, each, key_step(key), depth) for key, each in json.items()}

    def _part(self, schema: Schema, json: Any, step: str, depth: int) -> Any:
        try:
            return self.read(schema, json, depth)
        except (EncodeError, LimitExceeded) as error:
            error.at(step)
            raise

    def _union(self, union: Schema, json: Any, depth: int) -> Any:
        place, value, _ = self.choose(union, json, depth)
        if value is None or sum(branch.kind != "null" for branch in union.branches) == 1:
            return value
        return Branch(union.branches[place].label, value)

    def _choose(self, union: Schema, json: Any, depth: int) -> Choice:
        misfits: list[tuple[str, EncodeError]] = []
        for group in _groups(union, json):
            found: list[Choice] = []
            for place, part, step in group:
                branch = union.branches[place]
                try:
                    value = self._part(branch, part, step, depth) if step else self.read(branch, part, depth)
                    found.append((place, value, bool(step)))
                except EncodeError as error:
                    misfits.append((branch.label, error))
            if len(found) == 1:
                return found[0]
            if found:
                raise _ambiguous([union.branches[place].label for place, _, _ in found], json)
        if not misfits:
            raise misfit(union, json)
        if len(misfits) == 1:
            raise misfits[0][1]
        reasons = "; ".join(f"{label}: {str(error)[:MAX_REASON]}" for label, error in misfits[:8])
        raise EncodeError(f"{brief(json)} fits no branch of the union: {reasons}")


class _Refusal:
    """An error that is kept: raising the same one again would make its path grow."""

    def __init__(self, error: EncodeError) -> None:
        self._reason = error.reason
        self._path = error.path

    def again(self) -> EncodeError:
        error = EncodeError(self._reason)
        if self._path:
            error.at(self._path if self._path.startswith("[") else f".{self._path}")
        return error


def is_open(schema: Schema) -> bool:
    """True for the types that take any JSON."""
    return json_value.is_record(schema) or json_value.is_json(schema)


def tag_of(union: Schema, json: Any) -> tuple[int, bool] | None:
    """The place of the branch that `{name: value}` names, and whether that comes before any other reading.

    Beside a map or an open branch an object is data, and only a type's full name and `map` come first.
    """
    if not isinstance(json, dict) or len(json) != 1:
        return None
    (name,) = json
    try:
        place = named(union, name)
    except EncodeError:
        return None
    if not any(branch.kind == "map" or is_open(branch) for branch in union.branches):
        return place, True
    branch = union.branches[place]
    return place, name in (branch.name, "map")


def object_branches(union: Schema) -> list[int]:
    """The places of the branches that take objects, other than bytes written as one."""
    return [
        place
        for place, branch in enumerate(union.branches)
        if branch.is_record or branch.kind == "map" or branch.logical == "duration"
    ]


def _groups(union: Schema, json: Any) -> Iterator[list[tuple[int, Any, str]]]:
    """What to try, best first: place, part to read and its step. Several of one group that fit are one too many."""
    branches = list(enumerate(union.branches))
    if isinstance(json, dict):
        tag = tag_of(union, json)
        named_group = [(tag[0], part, key_step(name)) for name, part in json.items()] if tag else []
        if tag and tag[1]:
            yield named_group
        if is_byte_form(json):
            yield [(place, json, "") for place, branch in branches if branch.kind in ("bytes", "fixed")]
        yield [(place, json, "") for place in object_branches(union)]
        if tag and not tag[1]:
            yield named_group
        return
    ranked = [(rank, place) for place, branch in branches if (rank := _rank(branch, json)) is not None]
    for rank in sorted({rank for rank, _ in ranked}):
        yield [(place, json, "") for each, place in ranked if each == rank]
    yield [(place, json, "") for place, branch in branches if is_open(branch)]


_WHOLE_RANKS: Final = {"int": 0, "long": 1, "double": 2, "float": 3}
_FRACTION_RANKS: Final = {"double": 0, "float": 1, "int": 3, "long": 4}


def _rank(branch: Schema, json: Any) -> int | None:
    """How natural a branch is for a JSON value that is no object; None if it never takes one of this type."""
    kind, is_logical = branch.kind, branch.logical is not None
    if json is None:
        return 0 if kind == "null" else None
    if isinstance(json, bool):
        return 0 if kind == "boolean" else None
    if isinstance(json, (list, tuple)):
        return 0 if kind == "array" else None
    if isinstance(json, str):
        return _text_rank(branch, json)
    if is_logical:
        numeric = branch.logical == "decimal" or (isinstance(json, int) and kind in ("int", "long"))
        return (4 if isinstance(json, int) else 2) if numeric else None
    return (_WHOLE_RANKS if isinstance(json, int) else _FRACTION_RANKS).get(kind)


def _text_rank(branch: Schema, json: str) -> int | None:
    if branch.kind == "string":
        return 0
    if branch.logical is not None:
        return 1 if branch.logical != "duration" else None
    if branch.kind in ("float", "double"):
        return 1 if json in NOT_FINITE else None
    return 1 if branch.kind in ("enum", "bytes", "fixed") else None


def _ambiguous(labels: list[str], json: Any) -> EncodeError:
    says = ", ".join(f'{{"{label}": ...}}' for label in labels)
    return EncodeError(f"{brief(json)} fits several branches of the union; say which: {says} (or use --json=avro)")


def _unknown(schema: Schema, json: dict[str, Any]) -> EncodeError:
    names = [field.name for field in schema.fields]
    key = next(key for key in json if key not in names)
    import difflib  # noqa: PLC0415 - for those who mistype

    near = difflib.get_close_matches(key, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names) or 'none'}"
    return EncodeError(f"{schema.name} has no field {key!r}; {hint}")


def _missing(fields: tuple[Field, ...], json: dict[str, Any]) -> str:
    names = [field.name for field in fields if field.default is MISSING and field.name not in json]
    return " and ".join(map(repr, names))
