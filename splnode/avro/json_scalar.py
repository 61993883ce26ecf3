"""Plain JSON of the types without parts: numbers, texts, bytes and enums; logical types are `json_logical`'s.

| type | JSON, as it is written | also read |
|---|---|---|
| bytes, fixed | a string: base64 (or `bytes_as`) | `{"base64": s}`, `{"utf8": s}`, `{"hex": s}` |
| float, double | a number, or "NaN", "Infinity", "-Infinity" | |
"""

import base64
import binascii
import enum
import json as json_module
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from splnode.avro.json_text import brief
from splnode.avro.schema import Schema
from splnode.errors import EncodeError

BytesAs = Literal["base64", "utf8", "hex"]
BYTE_FORMS: Final = ("base64", "utf8", "hex")
NOT_FINITE: Final = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
INT_BITS: Final = {"int": 32, "long": 64}
_FLOAT: Final = struct.Struct("<f")


def read_scalar(schema: Schema, json: Any, bytes_as: BytesAs) -> Any:
    """The value that a JSON value stands for. EncodeError says what was expected and what was found."""
    if schema.logical is not None:
        from splnode.avro.json_logical import read_logical  # noqa: PLC0415 - with dates, decimals and UUIDs

        return read_logical(schema, json, bytes_as)
    kind = schema.kind
    if kind in INT_BITS:
        return read_whole(schema, json)
    if kind in ("float", "double"):
        return _read_number(schema, json)
    if kind in ("bytes", "fixed"):
        return read_bytes(schema, json, bytes_as)
    if kind == "enum":
        return _read_enum(schema, json)
    fits = {"null": json is None, "boolean": isinstance(json, bool), "string": isinstance(json, str)}
    if not fits[kind]:
        raise misfit(schema, json)
    return json


def write_scalar(schema: Schema, value: Any, bytes_as: BytesAs) -> Any:
    """The JSON value of a value. EncodeError if it is none of the schema's."""
    if schema.logical is not None:
        from splnode.avro.json_logical import RAW, write_logical  # noqa: PLC0415 - with dates, decimals and UUIDs

        if (written := write_logical(schema, value)) is not RAW:
            return written
    kind = schema.kind
    if isinstance(value, (bytes, bytearray, memoryview)) and kind in ("bytes", "fixed"):
        return write_bytes(bytes(value), bytes_as)
    if kind in ("float", "double") and isinstance(value, (int, float)) and not isinstance(value, bool):
        return _write_number(schema, value)
    symbol = symbol_of(value) if kind == "enum" else value
    fits = {
        "null": value is None,
        "boolean": isinstance(value, bool),
        "string": isinstance(value, str),
        "enum": symbol in schema.symbols,
    }
    if not fits.get(kind, kind in INT_BITS and isinstance(value, int) and not isinstance(value, bool)):
        raise misfit(schema, value)
    return symbol


def write_bytes(value: bytes, bytes_as: BytesAs) -> Any:
    """Bytes as a string; those that are no UTF-8 where that is wanted, as a base64 object."""
    if bytes_as == "hex":
        return value.hex()
    if bytes_as == "utf8":
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode()}
    return base64.b64encode(value).decode()


def is_byte_form(json: object) -> bool:
    """True for `{"base64": s}`, `{"utf8": s}` and `{"hex": s}`."""
    if not isinstance(json, dict) or len(json) != 1:
        return False
    ((key, text),) = json.items()
    return key in BYTE_FORMS and isinstance(text, str)


def symbol_of(value: object) -> object:
    """The symbol behind a member of an enum.Enum; anything else as it is."""
    if isinstance(value, enum.Enum):
        return value.value if isinstance(value.value, str) else value.name
    return value


def misfit(schema: Schema, json: object, why: str = "") -> EncodeError:
    """The error for a value that a schema does not admit: what was expected, what was found."""
    reason = f": {why}" if why else ""
    return EncodeError(f"expected {expected(schema)}, found {brief(json)}{reason}")


def key_step(key: str) -> str:
    """The step of an error's path to the value of a key: `["x y"]`."""
    return f"[{json_module.dumps(key, ensure_ascii=False)}]"


def expected(schema: Schema) -> str:
    """What a schema admits, in the words of a person who types JSON."""
    if schema.logical is not None:
        return _LOGICAL_WORDS[schema.logical].format(schema=schema)
    if schema.kind == "enum":
        shown = ", ".join(schema.symbols[:8]) + (", ..." if len(schema.symbols) > 8 else "")
        return f"{schema.name}: one of {shown}"
    if schema.kind == "union":
        return "one of " + ", ".join(branch.label for branch in schema.branches)
    return _WORDS[schema.kind].format(schema=schema)


_WORDS: Final = {
    "null": "null",
    "boolean": "true or false",
    "int": "int, a whole number of 32 bits",
    "long": "long, a whole number of 64 bits",
    "float": "float, a number",
    "double": "double, a number",
    "bytes": "bytes as a string",
    "string": "a string",
    "fixed": "{schema.name}, {schema.size} bytes as a string",
    "array": "a list",
    "map": "an object (map)",
    "record": "an object ({schema.name})",
    "error": "an object ({schema.name})",
}
_LOGICAL_WORDS: Final = {
    "decimal": 'a decimal of {schema.precision} digits, {schema.scale} behind the point, like "12.3"',
    "uuid": "a UUID as a string of 36 characters",
    "date": 'a date like "2024-05-01"',
    "time-millis": 'a time like "12:34:56.789"',
    "time-micros": 'a time like "12:34:56.789012"',
    "timestamp-millis": 'a time like "2024-05-01T12:34:56.789Z"',
    "timestamp-micros": 'a time like "2024-05-01T12:34:56.789012Z"',
    "timestamp-nanos": 'a time like "2024-05-01T12:34:56.789012345Z"',
    "local-timestamp-millis": 'a time without zone like "2024-05-01T12:34:56.789"',
    "local-timestamp-micros": 'a time without zone like "2024-05-01T12:34:56.789012"',
    "local-timestamp-nanos": 'a time without zone like "2024-05-01T12:34:56.789012345"',
    "duration": 'a duration like {{"months": 0, "days": 1, "millis": 500}}',
}


def read_whole(schema: Schema, json: Any) -> int:
    """An int or a long."""
    bits = INT_BITS[schema.kind]
    if isinstance(json, bool) or not isinstance(json, (int, float)):
        raise misfit(schema, json)
    whole = int(json) if isinstance(json, int) or json.is_integer() else None
    if whole is None or not -(1 << (bits - 1)) <= whole < 1 << (bits - 1):
        raise misfit(schema, json)
    return whole


def _read_number(schema: Schema, json: Any) -> float:
    if isinstance(json, str) and json in NOT_FINITE:
        return NOT_FINITE[json]
    if isinstance(json, bool) or not (isinstance(json, (int, float)) or type(json).__name__ == "Decimal"):
        raise misfit(schema, json)
    try:
        value = float(json)
        value = _FLOAT.unpack(_FLOAT.pack(value))[0] if schema.kind == "float" else value
    except OverflowError:
        raise misfit(schema, json, "it is too large") from None
    if value in (NOT_FINITE["Infinity"], NOT_FINITE["-Infinity"]) or value != value:  # noqa: PLR0124 - only NaN differs
        raise misfit(schema, json, 'write "NaN", "Infinity" or "-Infinity" for what is no number')
    if isinstance(json, int) and value != json:
        raise misfit(schema, json, f"a {schema.kind} cannot hold all its digits")
    return value


def _write_number(schema: Schema, value: float) -> Any:
    number = float(value)
    if number != number:  # noqa: PLR0124 - only NaN differs from itself
        return "NaN"
    if number in (NOT_FINITE["Infinity"], NOT_FINITE["-Infinity"]):
        return "Infinity" if number > 0 else "-Infinity"
    if schema.kind == "float":
        return _shortest(number)
    return value if isinstance(value, int) else number


def _shortest(number: float) -> float:
    """The double with the fewest digits that is the same float: 0.1, not 0.10000000149011612."""
    try:
        single = _FLOAT.pack(number)
    except OverflowError:
        raise EncodeError(f"{number} is too large for a float") from None
    for digits in range(6, 10):
        short = float(f"{number:.{digits}g}")
        try:
            if _FLOAT.pack(short) == single:
                return short
        except OverflowError:  # rounded up beyond the largest float
            continue
    return number


def read_bytes(schema: Schema, json: Any, bytes_as: BytesAs) -> bytes:
    """Bytes, or those of a fixed."""
    form, text = bytes_as, json
    if is_byte_form(json):
        ((form, text),) = json.items()
    if not isinstance(text, str):
        raise misfit(schema, json, 'write a string, or {"base64": ...}, {"utf8": ...} or {"hex": ...}')
    try:
        value = _DECODERS[form](text)
    except (ValueError, binascii.Error) as error:
        raise misfit(schema, json, f"it is not {form} ({error})") from None
    if schema.kind == "fixed" and len(value) != schema.size:
        raise misfit(schema, json, f"it is {len(value)} bytes long")
    return value


_DECODERS: Final[Mapping[str, Callable[[str], bytes]]] = {
    "base64": lambda text: base64.b64decode(text, validate=True),
    "utf8": str.encode,
    "hex": binascii.unhexlify,
}


def _read_enum(schema: Schema, json: Any) -> str:
    if isinstance(json, str) and json in schema.symbols:
        return json
    import difflib  # noqa: PLC0415 - for those who mistype

    near = difflib.get_close_matches(json, schema.symbols, n=1) if isinstance(json, str) else []
    raise misfit(schema, json, f"did you mean {near[0]}?" if near else "")
