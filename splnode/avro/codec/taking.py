"""What a value must be like to be taken at a node of a write plan, and the raw value that it is then.

`write` and `conform` both ask here: what one refuses the other refuses, in the same words.
"""

import enum
import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

from splnode.avro.codec.budget import Budget
from splnode.avro.codec.choice import named, released, struct_values, symbol_of
from splnode.avro.codec.plan import Op, WriteNode
from splnode.errors import EncodeError

Take = Callable[[Any, Budget], Any]

REALS: Final = {Op.FLOAT: struct.Struct("<f"), Op.DOUBLE: struct.Struct("<d")}
"""How a float and a double stand in the bytes. (specification, "Binary Encoding")"""
_BITS: Final = {Op.INT: 32, Op.LONG: 64}
_MISSING: Final = object()


def taker(node: WriteNode) -> Take:
    """The function that takes the values of a node without parts, which raises EncodeError or LimitExceeded.

    The raw value is None, a bool, an int; of FLOAT and DOUBLE the bytes; of ENUM the index; of STRING, BYTES and
    FIXED bytes or a bytearray, its length checked.
    """
    return _TAKERS[node.op](node)


def converter(node: WriteNode) -> Callable[[Any], Any] | None:
    """What a node's logical type makes of a value before it is taken, with an EncodeError for what it refuses."""
    convert = node.logical
    if convert is None:
        return None

    def converted(value: Any) -> Any:
        try:
            return convert(value)
        except (ValueError, ArithmeticError) as error:
            raise EncodeError(str(error)) from None

    return converted


def take_text(value: Any, left: Budget) -> bytes:
    """A string, or a map's key, as UTF-8."""
    if not isinstance(value, str):
        raise _refused("str", value)
    try:
        raw = str.encode(value)
    except UnicodeEncodeError as error:
        raise EncodeError(f"a str that is no text: {error.reason} at {error.start}") from None
    left.length(len(raw))
    return raw


def take_raw(value: Any, left: Budget) -> bytes | bytearray:
    """The bytes of a BYTES or FIXED."""
    try:
        raw = value.tobytes() if isinstance(value, memoryview) else value
    except ValueError:
        raise released() from None
    if not isinstance(raw, (bytes, bytearray)):
        raise _refused("bytes", value)
    left.length(len(raw))
    return raw


def list_of(value: Any) -> list[Any] | tuple[Any, ...]:
    """The items of an array; a subclass's are asked for once."""
    if type(value) is list or type(value) is tuple:
        return value
    if not isinstance(value, (list, tuple)):
        raise _refused("list", value)
    return list(value)


def dict_of(value: Any) -> dict[Any, Any]:
    """The entries of a map; a subclass's are asked for once."""
    if type(value) is dict:
        return value
    if not isinstance(value, dict):
        raise _refused("dict", value)
    return dict(value)


def steady_items(items: list[Any] | tuple[Any, ...]) -> Iterator[Any]:
    """The items, as many as there were. EncodeError if that changes while they are taken."""
    size = len(items)
    for item in items:
        if len(items) != size:
            raise _changed()
        yield item
    if len(items) != size:
        raise _changed()


def steady_entries(entries: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    """The entries of a map, whose keys are str. EncodeError if they change while they are taken."""
    try:
        for key, value in entries.items():
            if not isinstance(key, str):
                raise EncodeError(f"a map's keys are str, not {named(key)}")
            yield key, value
    except RecursionError:
        raise
    except RuntimeError:  # how Python says it
        raise _changed() from None


class Fields:
    """The fields of one value that is to be a record: a dict, or a Struct."""

    __slots__ = ("_found", "_values")

    def __init__(self, node: WriteNode, value: Any) -> None:
        self._values: dict[Any, Any] = dict_of(value) if isinstance(value, dict) else struct_values(value, node.names)
        self._found = 0

    def take(self, name: str, default: Callable[[], Any] | None) -> Any:
        """The value of a field, or else its default. EncodeError where there is neither."""
        value = self._values.get(name, _MISSING)
        if value is not _MISSING:
            self._found += 1
            return value
        if default is None:
            raise EncodeError("the field is missing")
        return default()

    def end(self, node: WriteNode) -> None:
        """EncodeError if a dict holds more than was taken."""
        if self._found != len(self._values):
            for key in self._values:
                if key not in node.names:
                    raise EncodeError(f"{node.label} has no field {key!r}")
            raise _changed()


def _refused(wanted: str, value: object) -> EncodeError:
    return EncodeError(f"{wanted} expected, not {named(value)}")


def _changed() -> EncodeError:
    return EncodeError("the value was changed while it was encoded")


def _null(node: WriteNode) -> Take:
    def take(value: Any, left: Budget) -> None:
        if value is not None:
            raise _refused("None", value)

    return take


def _boolean(node: WriteNode) -> Take:
    def take(value: Any, left: Budget) -> bool:
        if value is not True and value is not False:
            raise _refused("bool", value)
        return value

    return take


def _integer(node: WriteNode) -> Take:
    kind, bits = node.op.name.lower(), _BITS[node.op]
    bound = 1 << (bits - 1)

    def take(value: Any, left: Budget) -> Any:
        if type(value) is not int:
            if not isinstance(value, int) or isinstance(value, bool):
                raise _refused("int", value)
            value = int.__int__(value)  # not what a subclass makes of itself
        if not -bound <= value < bound:
            raise EncodeError(f"the number does not fit {kind}, of {bits} bits")
        return value

    return take


def _real(node: WriteNode) -> Take:
    pack = REALS[node.op].pack

    def take(value: Any, left: Budget) -> bytes:
        if not isinstance(value, (float, int)) or isinstance(value, bool):
            raise _refused("float", value)
        try:
            return pack(value)
        except (OverflowError, struct.error):  # struct.error for an int beyond the doubles
            raise EncodeError(f"the number does not fit a {node.op.name.lower()}") from None

    return take


def _fixed(node: WriteNode) -> Take:
    size = node.size

    def take(value: Any, left: Budget) -> bytes | bytearray:
        raw = take_raw(value, left)
        if len(raw) != size:
            raise EncodeError(f"{len(raw)} bytes for a fixed of {size}")
        return raw

    return take


def _enum(node: WriteNode) -> Take:
    indexes, label = node.indexes, node.label

    def take(value: Any, left: Budget) -> int:
        symbol = symbol_of(value) if isinstance(value, enum.Enum) else value
        if not isinstance(symbol, str):
            raise _refused(f"a symbol of {label}", value)
        index = indexes.get(symbol)
        if index is None:
            raise EncodeError(f"{symbol[:60]!r} is no symbol of {label}")
        return index

    return take


_TAKERS: Final[dict[Op, Callable[[WriteNode], Take]]] = {
    Op.NULL: _null, Op.BOOLEAN: _boolean, Op.INT: _integer, Op.LONG: _integer, Op.FLOAT: _real, Op.DOUBLE: _real,
    Op.BYTES: lambda node: take_raw, Op.STRING: lambda node: take_text, Op.FIXED: _fixed, Op.ENUM: _enum,
}  # fmt: skip
