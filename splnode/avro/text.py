"""The JSON of schemas and protocols: read safely, with the place of a fault.

A peer sends such a text before anything is known about it, so its size and nesting are checked before
any parser that recurses sees it.
"""

import json
import re
from collections.abc import Mapping
from itertools import accumulate
from typing import Any, Final, NoReturn

from splnode.errors import SchemaError
from splnode.limits import DEFAULT_LIMITS, Limits

# A string: possessive, and taking an unfinished one to the end, so that no text makes it look twice.
_STRING: Final = r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)'
_STRINGS: Final = re.compile(_STRING, re.DOTALL)
_NO_BRACKETS: Final = re.compile(r"[^\[\]{}]++")
_TOKENS: Final = re.compile(rf"{_STRING}|([\[{{])|[\]}}]", re.DOTALL)
_STEPS: Final = {"[": 1, "{": 1, "]": -1, "}": -1}


def read_text(source: str | bytes, what: str = "schema", limits: Limits = DEFAULT_LIMITS) -> str:
    """The text of a schema or protocol, which must be UTF-8 and within `limits.protocol_bytes`."""
    size = len(source) if isinstance(source, bytes) else len(source.encode("utf-8", "surrogatepass"))
    if size > limits.protocol_bytes:
        raise SchemaError(f"the {what} text is {size} bytes (limit protocol_bytes = {limits.protocol_bytes})")
    try:
        if isinstance(source, str):
            source.encode()
            return source
        return bytes(source).decode()
    except UnicodeError as error:
        raise SchemaError(f"the {what} text is not UTF-8: {error.reason} at {error.start}") from None  # type: ignore[attr-defined]  # UnicodeEncodeError and UnicodeDecodeError have both, their common base has not


def read_json(text: str, what: str = "schema", limits: Limits = DEFAULT_LIMITS) -> Any:
    """What the text says, as Python values. SchemaError names the line and column of a fault."""
    text = text.removeprefix("\ufeff")
    _check_nesting(text, what, limits)
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise SchemaError(
            f"the {what} text is not JSON: {error.msg} at line {error.lineno} column {error.colno}"
        ) from None
    except ValueError as error:  # a number with thousands of digits
        raise SchemaError(f"the {what} text is not JSON: {error}") from None
    if "\\ud" in text.lower():
        _check_surrogates(value, what)
    return value


def place(text: str, offset: int) -> str:
    """Where an offset is, as an editor shows it: `line 3 column 14`."""
    line = text.count("\n", 0, offset) + 1
    return f"line {line} column {offset - text.rfind(chr(10), 0, offset)}"


def _check_nesting(text: str, what: str, limits: Limits) -> None:
    outside = _STRINGS.sub("", text) if "\\" in text else "".join(text.split('"')[::2])
    brackets = _NO_BRACKETS.sub("", outside)
    if max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) <= limits.schema_depth:
        return
    depth = 0
    for token in _TOKENS.finditer(text):
        if token[1]:
            depth += 1
            if depth > limits.schema_depth:
                raise SchemaError(
                    f"the {what} text nests deeper than {limits.schema_depth} levels at {place(text, token.start())} "
                    f"(limit schema_depth = {limits.schema_depth})"
                )
        elif token[0] in "]}":
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    """An object whose keys are given once: parsers differ in which of two they take."""
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                _refuse_twice(key)
            seen.add(key)
    return result


def _refuse_twice(key: str) -> NoReturn:
    raise SchemaError(f"the key {key!r} stands twice in one object")


def _check_surrogates(value: Any, what: str) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise SchemaError(f"the {what} text holds half a character: a lone \\uD800 to \\uDFFF escape") from None
