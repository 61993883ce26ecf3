"""The JSON that people and other programs hand us as text: read strictly, written on one line.

Strictly means that nothing is lost on the way: whole numbers keep all their digits, and what parsers
disagree about (a key given twice, NaN, a number too large for a double) is refused with its place.

Source: RFC 8259.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from splnode.avro.text import place
from splnode.errors import DecodeError

MAX_DEPTH: Final = 256
"""Lists and objects inside one another. Python's parser recurses once a level."""
_STRING_OR_BRACKET: Final = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|([\[{])|[\]}]', re.DOTALL)
_SPACE: Final = re.compile(r"[ \t\n\r]*")


def loads(text: str | bytes) -> Any:
    """The one value in a text. DecodeError says what is wrong and where."""
    values = list(loads_all(text))
    if len(values) != 1:
        raise DecodeError("not JSON: the text is empty" if not values else f"{len(values)} JSON values instead of one")
    return values[0]


def loads_all(text: str | bytes) -> Iterator[Any]:
    """The values of a text, one after another, with white space or nothing between them."""
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError as error:
            raise DecodeError(f"not JSON: byte {error.start} is not UTF-8") from None
    text = text.removeprefix("\ufeff")
    check_depth(text)
    offset = _skip(text, 0)
    while offset < len(text):
        try:
            value, offset = _DECODER.raw_decode(text, offset)
        except json.JSONDecodeError as error:
            raise DecodeError(f"not JSON: {error.msg} at {place(text, error.pos)}") from None
        except ValueError as error:  # a whole number of more than 4,300 digits
            raise DecodeError(f"not JSON that can be read: {error}") from None
        yield value
        offset = _skip(text, offset)


def dumps(value: Any, *, indent: int | None = None) -> str:
    """The text of a JSON value. ValueError for NaN and infinities, TypeError for what JSON has not."""
    separators = (", ", ": ") if indent is None else (",", ": ")
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent, separators=separators)
    return text if _is_unicode(text) else json.dumps(value, allow_nan=False, indent=indent, separators=separators)


def brief(value: object) -> str:
    """A JSON value for an error text: as JSON, and short whatever it is."""
    if isinstance(value, dict):
        keys = ", ".join(brief(key) for key in list(value)[:4])
        return f"an object with {keys}{', ...' if len(value) > 4 else ''}" if value else "{}"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}" if value else "[]"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**40:
        return "a huge number"
    try:
        text = json.dumps(value, ensure_ascii=False)
    except TypeError:
        text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _skip(text: str, offset: int) -> int:
    match = _SPACE.match(text, offset)
    return match.end() if match else offset


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate: JSON can say it, but only escaped
        return False
    return True


def check_depth(text: str) -> None:
    """DecodeError if a text nests deeper than MAX_DEPTH; sees brackets only, and so takes any text."""
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(text):
        if token[1]:
            depth += 1
            if depth > MAX_DEPTH:
                raise DecodeError(f"JSON nests deeper than {MAX_DEPTH} levels at {place(text, token.start())}")
        elif token[0] in "]}":
            depth -= 1


def _refuse_constant(word: str) -> NoReturn:
    raise DecodeError(f'{word} is not JSON; where a number may be that, write "{word}"')


def _number(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise DecodeError(f"the number {text[:40]} is too large for a double")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise DecodeError(f"the key {brief(key)} stands twice in one object")
            seen.add(key)
    return result


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_number, object_pairs_hook=_unique)
