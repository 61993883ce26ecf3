"""A read plan made to give Structs and Enum members where a type asks for them, instead of dicts and strs.

The type is what a handler or a caller annotated: a msgspec.Struct class, an enum.Enum class, or a list, dict or
union made of such; every other type is checked against what the plan gives, as far as that can be told, and
changes nothing. A Struct takes the fields that it has (by the names they have in data, `rename` applied); others
of the record are read and dropped, unless the class forbids unknown fields. What the record lacks, the Struct's
default gives.
"""

import enum
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from splnode.avro.codec.choice import symbol_of
from splnode.avro.codec.plan import Op, Promote, ReadNode
from splnode.errors import SchemaError

Type = Any
"""A type as an annotation has it."""

_LISTS: Final = (list, Sequence, Collection, Iterable)
_DICTS: Final = (dict, Mapping)
_ANY: Final = (Any, object)
_MAY_BE: Final[Mapping[type, tuple[type, ...]]] = {int: (int, float), bool: (bool,), float: (float,)}


def bind(plan: ReadNode, into: Type | Mapping[str, Type]) -> ReadNode:
    """The plan, giving values of the type `into`; for a record also a type for each of some fields, by name.

    SchemaError, with the path, where the type and the plan do not fit.
    """
    binder = _Binder()
    if isinstance(into, Mapping):
        return binder.fields(plan, into)
    return binder.bind(plan, into, "")


class _Binder:
    def __init__(self) -> None:
        # A type that holds itself meets itself here; the node is kept, so that its id stays its own
        self._known: dict[tuple[int, Any], tuple[ReadNode, ReadNode]] = {}

    def fields(self, plan: ReadNode, into: Mapping[str, Type]) -> ReadNode:
        """A record as a dict, some of whose fields get a type."""
        if plan.op != Op.RECORD:
            raise SchemaError("types by name are for a record only")
        unknown = [name for name in into if name not in plan.names]
        if unknown:
            raise SchemaError(f"{plan.label} has no field {unknown[0]!r}; it has: {', '.join(plan.names) or 'none'}")
        node = _copy(plan)
        wanted = [into.get(name, Any) for name in plan.names]
        node.steps = tuple(
            (name, self.bind(child, wanted[target], plan.names[target]) if target >= 0 else child, target)
            for name, child, target in plan.steps
        )
        node.defaults = tuple(
            (place, _bound_default(make, wanted[place], plan.names[place])) for place, make in plan.defaults
        )
        return node

    def bind(self, node: ReadNode, wanted: Type, path: str) -> ReadNode:
        """The node, giving values of the type."""
        wanted = _bare(wanted)
        if node.op == Op.FAIL or _is_any(wanted):
            return node
        key = (id(node), wanted)
        if key in self._known:
            return self._known[key][1]
        if node.op == Op.UNION:
            bound = _copy(node)
            self._known[key] = (node, bound)
            bound.branches = tuple(self.bind(branch, wanted, path) for branch in node.branches)
            return bound
        arm = _arm(node, _arms(wanted), path)
        if node.op == Op.RECORD and _is_struct(arm):
            return self._struct(node, arm, path)
        if node.op == Op.ENUM and isinstance(arm, type) and issubclass(arm, enum.Enum):
            return _enum(node, arm, path)
        if node.op in (Op.ARRAY, Op.MAP) and typing.get_args(arm) and node.items is not None:
            items = typing.get_args(arm)[0 if node.op == Op.ARRAY else 1]
            bound = _copy(node)
            self._known[key] = (node, bound)
            bound.items = self.bind(node.items, items, path + ("[]" if node.op == Op.ARRAY else "{}"))
            return bound
        return node

    def _struct(self, node: ReadNode, struct: type[msgspec.Struct], path: str) -> ReadNode:
        key = (id(node), struct)
        if key in self._known:
            return self._known[key][1]
        fields = [each for each in msgspec.structs.fields(struct) if each.encode_name in node.names]
        _check_struct(node, struct, path)
        bound = _copy(node)
        self._known[key] = (node, bound)
        bound.factory = struct
        # In the Struct's order, so that the values can go to it by position
        bound.names = tuple(field.encode_name for field in fields)
        bound.struct_names = tuple(field.name for field in fields)
        bound.positional = bound.struct_names == struct.__match_args__[: len(fields)]
        places = {name: place for place, name in enumerate(bound.names)}
        steps = []
        for name, child, target in node.steps:
            place = places.get(node.names[target], -1) if target >= 0 else -1
            if place >= 0:
                child = self.bind(child, fields[place].type, f"{path}.{bound.names[place]}".removeprefix("."))
            steps.append((name, child, place))
        bound.steps = tuple(steps)
        kept = [(places[node.names[place]], make) for place, make in node.defaults if node.names[place] in places]
        bound.defaults = tuple(
            (place, _bound_default(make, fields[place].type, f"{path}.{bound.names[place]}")) for place, make in kept
        )
        bound.straight = [target for _, _, target in bound.steps] == list(range(len(fields)))
        return bound


def _origin(wanted: Type) -> Any:
    """`list` of `list[int]`; None of a type without parameters."""
    return typing.get_origin(wanted)


def _copy(node: ReadNode) -> ReadNode:
    copy = ReadNode(node.op, node.label)
    for slot in ReadNode.__slots__:
        setattr(copy, slot, getattr(node, slot))
    return copy


def _check_struct(node: ReadNode, struct: type[msgspec.Struct], path: str) -> None:
    fields = msgspec.structs.fields(struct)
    names = {field.encode_name for field in fields}
    for field in fields:
        if field.required and field.encode_name not in node.names:
            raise SchemaError(
                f"{struct.__name__} needs {field.encode_name!r}, which {node.label} does not have; give it a default",
                path,
            )
    if struct.__struct_config__.forbid_unknown_fields:
        for name in node.names:
            if name not in names:
                raise SchemaError(f"{struct.__name__} forbids unknown fields, and {node.label} has {name!r}", path)


def _bound_default(make: Callable[[], Any], wanted: Type, path: str) -> Callable[[], Any]:
    """A default as the type wants it: made of the plain one, whose types are right already."""
    if not _changes(wanted):
        return make

    def make_typed() -> Any:
        return msgspec.convert(make(), wanted)

    try:
        make_typed()
    except msgspec.ValidationError as error:
        raise SchemaError(f"the schema's default does not fit {_shown(wanted)}: {error}", path) from None
    return make_typed


def _changes(wanted: Type) -> bool:
    """True if values of the type are other than the plain ones."""
    wanted = _bare(wanted)
    if isinstance(wanted, type) and issubclass(wanted, (msgspec.Struct, enum.Enum)):
        return True
    return any(_changes(each) for each in typing.get_args(wanted) if each is not Ellipsis)


def _enum(node: ReadNode, wanted: type[enum.Enum], path: str) -> ReadNode:
    members = {symbol_of(member): member for member in wanted}
    bound = _copy(node)
    bound.symbols = tuple(None if symbol is None else members.get(str(symbol)) for symbol in node.symbols)
    for before, after in zip(node.symbols, bound.symbols, strict=True):
        if before is not None and after is None:
            raise SchemaError(f"{wanted.__name__} has no member for the symbol {before!r} of {node.label}", path)
    return bound


def _bare(wanted: Type) -> Type:
    """A type without what only decorates it."""
    while True:
        if _origin(wanted) is typing.Annotated:
            wanted = typing.get_args(wanted)[0]
        elif isinstance(wanted, typing.NewType):
            wanted = wanted.__supertype__
        elif isinstance(wanted, typing.TypeVar):
            wanted = wanted.__bound__ or Any
        elif hasattr(wanted, "__value__") and type(wanted).__name__ == "TypeAliasType":
            wanted = wanted.__value__
        else:
            return wanted


def _is_any(wanted: Type) -> bool:
    return wanted in _ANY or any(_is_any(arm) for arm in _arms(wanted) if arm is not wanted)


def _arms(wanted: Type) -> list[Type]:
    """The members of a union type; any other type is its own."""
    if _origin(wanted) in (typing.Union, types.UnionType):
        return [_bare(arm) for arm in typing.get_args(wanted)]
    return [wanted]


def _is_struct(arm: Type) -> bool:
    return isinstance(_class(arm), type) and issubclass(_class(arm), msgspec.Struct)


def _class(arm: Type) -> Any:
    """The class of a type, its parameters left out."""
    return _origin(arm) or arm


def _arm(node: ReadNode, arms: list[Type], path: str) -> Type:
    """The member of a union type that takes what the node gives."""
    if node.op == Op.RECORD:
        structs = [arm for arm in arms if _is_struct(arm)]
        for arm in structs:
            names = (_class(arm).__struct_config__.tag, _class(arm).__name__)
            if node.label in names or node.label.rpartition(".")[2] in names:
                return arm
        if len(structs) == 1:
            return structs[0]
    for arm in arms:
        if _takes(node, arm):
            return arm
    wanted = " | ".join(_shown(arm) for arm in arms)
    raise SchemaError(f"{_gives(node)} ({node.label}) is not {wanted}", path)


def _takes(node: ReadNode, arm: Type) -> bool:
    given = _class(arm)
    if given is not None and not isinstance(given, type):  # Literal and the like: msgspec's affair
        return True
    if node.op == Op.NULL:
        return given in (None, types.NoneType)
    if given is None or given is types.NoneType:
        return False
    if node.logical is not None:  # which type it gives, only its converter knows
        return not issubclass(given, msgspec.Struct)
    if node.op == Op.ARRAY:
        return given in _LISTS
    if node.op in (Op.MAP, Op.RECORD):
        return given in _DICTS or typing.is_typeddict(given)
    if node.op == Op.ENUM:
        return given is str or issubclass(given, enum.Enum)
    value = _value_type(node)
    return any(allowed is given for allowed in _MAY_BE.get(value, (value,)))


def _value_type(node: ReadNode) -> type:
    """The class of a scalar node's values."""
    if node.promote == Promote.TO_STRING or (node.op == Op.STRING and node.promote != Promote.TO_BYTES):
        return str
    if node.op in (Op.BYTES, Op.FIXED, Op.STRING):
        return bytes
    if node.op == Op.BOOLEAN:
        return bool
    return int if node.op in (Op.INT, Op.LONG) and node.promote != Promote.TO_FLOAT else float


def _gives(node: ReadNode) -> str:
    named = {Op.NULL: "None", Op.ARRAY: "a list", Op.MAP: "a dict", Op.RECORD: "a record", Op.ENUM: "a symbol"}
    return named.get(node.op) or _value_type(node).__name__


def _shown(wanted: Type) -> str:
    return wanted.__name__ if isinstance(wanted, type) and not typing.get_args(wanted) else str(wanted)
