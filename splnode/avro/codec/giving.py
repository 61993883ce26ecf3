"""What a raw value becomes at a node of a read plan: promoted, converted, a symbol, a dict or a Struct.

`read` and `conform` both ask here, so that a value that was never encoded looks as one that was.
"""

from collections.abc import Callable
from typing import Any, Final

from splnode.avro.codec.plan import Op, Promote, ReadNode
from splnode.errors import DecodeError

Give = Callable[[Any], Any]


def giver(node: ReadNode) -> Give | None:
    """What a raw value of the node is given as, with DecodeError; None where it is given as it is.

    The raw value of ENUM is the index, of FLOAT and DOUBLE a float, of BYTES and FIXED bytes, of STRING a str.
    """
    promoted = _symbol(node) if node.op == Op.ENUM else _PROMOTIONS.get(node.promote)
    convert = node.logical
    if convert is None:
        return promoted

    def give(raw: Any) -> Any:
        if promoted is not None:
            raw = promoted(raw)
        try:
            return convert(raw)
        except (ValueError, ArithmeticError) as error:
            raise DecodeError(str(error)) from None

    return give


def text(raw: bytes | bytearray | memoryview) -> str:
    """The str of UTF-8 bytes. DecodeError where they are none."""
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError as error:
        raise DecodeError(f"a string that is not UTF-8: {error.reason} at its byte {error.start}") from None


def finisher(node: ReadNode) -> Callable[[list[Any]], Any]:
    """Makes the dict, or the Struct, of a record's values by place; the defaults it fills in itself."""
    names, factory, struct_names, defaults = node.names, node.factory, node.struct_names, node.defaults

    def fill(values: list[Any]) -> None:
        for place, make in defaults:
            values[place] = make()

    if factory is None:

        def finish_dict(values: list[Any]) -> Any:
            fill(values)
            return dict(zip(names, values, strict=True))

        return finish_dict

    def finish(values: list[Any]) -> Any:
        fill(values)
        try:
            return factory(*values) if node.positional else factory(**dict(zip(struct_names, values, strict=True)))
        except (ValueError, TypeError, ArithmeticError) as error:  # its __post_init__ does not like them
            raise DecodeError(str(error)) from None

    return finish


def _symbol(node: ReadNode) -> Give:
    symbols, reason = node.symbols, node.reason

    def give(index: int) -> Any:
        if symbols[index] is None:
            raise DecodeError(reason)
        return symbols[index]

    return give


_PROMOTIONS: Final[dict[Promote, Give]] = {
    Promote.TO_FLOAT: float, Promote.TO_STRING: text, Promote.TO_BYTES: str.encode,
}  # fmt: skip
