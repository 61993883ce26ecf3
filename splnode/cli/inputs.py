"""`-d JSON`, `-d @FILE`, `-d @-`: the JSON values that become calls, one after another.

The values of a stream are given as soon as each is complete, so that somebody who types, or a program
that waits for an answer before it writes the next one, is served at once.
"""

import codecs
import os
import re
import sys
from collections.abc import Iterator
from typing import Any, Final

from splnode.avro import json_text
from splnode.cli.failure import UsageError
from splnode.errors import DecodeError

CHUNK: Final = 64 * 1024
LARGEST: Final = 64 * 1024 * 1024
"""Characters of one JSON value; far above any message, and a stream that never ends one is stopped."""

_SPACE: Final = re.compile(r"[ \t\r\n\ufeff]*")
_OUTSIDE: Final = re.compile(r'["\[\]{}]')
_INSIDE: Final = re.compile(r'["\\]')
_SCALAR_END: Final = re.compile(r'[\s"\[\]{},:]')


class Splitter:
    """Cuts a stream of text into the texts of its JSON values. Looks at each character once."""

    def __init__(self) -> None:
        self._text = ""
        self._at = 0
        self._depth = 0
        self._quoted = False

    def feed(self, text: str) -> Iterator[str]:
        """The values that are complete now."""
        self._text += text
        while (value := self._next()) is not None:
            yield value
        if len(self._text) > LARGEST:
            raise UsageError(f"a JSON value of more than {LARGEST} characters")

    def finish(self) -> str:
        """What is left at the end of the stream: a number, an incomplete value, or nothing."""
        rest, self._text = self._text.strip(), ""
        return rest

    def _next(self) -> str | None:
        if self._at == 0:
            self._text = self._text[_SPACE.match(self._text).end() :]  # type: ignore[union-attr]  # it always matches
        if not self._text:
            return None
        end = self._end()
        if end is None:
            return None
        value, self._text, self._at = self._text[:end], self._text[end:], 0
        return value

    def _end(self) -> int | None:
        """Where the first value ends; None while that is not known."""
        if self._text[0] not in '"[{':
            match = _SCALAR_END.search(self._text, max(self._at, 1))
            self._at = len(self._text)
            return match.start() if match else None
        while match := (_INSIDE if self._quoted else _OUTSIDE).search(self._text, self._at):
            character = match[0]
            if character == "\\" and match.end() == len(self._text):
                self._at = match.start()
                return None
            self._at = match.end() + (character == "\\")
            if character == '"':
                self._quoted = not self._quoted
            elif character in "[{":
                self._depth += 1
            elif character in "]}":
                self._depth -= 1
            if not self._depth and not self._quoted:
                return self._at
        self._at = len(self._text)
        return None


def values(data: str | None) -> Iterator[Any]:
    """The JSON values of `-d`; without it one empty object. UsageError says what is no JSON, and where."""
    if data is None:
        yield {}
    elif data == "@-":
        yield from _stream()
    else:
        text = _file(data[1:]) if data.startswith("@") else data
        found = 0
        for value in _parsed(text, data[1:] if data.startswith("@") else "-d"):
            found += 1
            yield value
        if not found:
            raise UsageError(f"-d {data!r}: there is no JSON value in it; for a call without parameters write {{}}")


def one(data: str | None) -> Any:
    """The only JSON value of `-d`. UsageError if there are more."""
    if data == "@-":
        text = _decoded(sys.stdin.buffer.read(), "stdin") if sys.stdin is not None else ""
    elif data is not None and data.startswith("@"):
        text = _file(data[1:])
    else:
        text = "{}" if data is None else data
    found = list(_parsed(text, "-d"))
    if len(found) != 1:
        raise UsageError(f"-d: one JSON value is needed, there are {len(found)}")
    return found[0]


def _parsed(text: str, source: str) -> Iterator[Any]:
    try:
        yield from json_text.loads_all(text)
    except DecodeError as error:
        raise UsageError(f"{source}: {error}") from None


def _file(name: str) -> str:
    try:
        with open(name, "rb") as opened:  # noqa: PTH123 - pathlib costs the shell 3 ms
            return _decoded(opened.read(), name)
    except OSError as error:
        raise UsageError(f"-d @{name}: it cannot be read: {error.strerror}") from None


def _decoded(content: bytes, source: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{source}: byte {error.start} is not UTF-8") from None


def _stream() -> Iterator[Any]:
    if sys.stdin is None:
        raise UsageError("-d @-: stdin is closed")
    splitter, decoder, number = Splitter(), codecs.getincrementaldecoder("utf-8")(), 0
    for chunk in _chunks(sys.stdin.fileno()):
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            raise UsageError(f"stdin: after value {number}: not UTF-8 ({error.reason})") from None
        for each in splitter.feed(text):
            number += 1
            yield _value(each, number)
    rest = splitter.finish()
    if rest:
        yield _value(rest, number + 1)


def _value(text: str, number: int) -> Any:
    try:
        return json_text.loads(text)
    except DecodeError as error:
        raise UsageError(f"stdin: value {number}: {error}") from None


def _chunks(descriptor: int) -> Iterator[bytes]:
    """What comes from a descriptor, an empty chunk last."""
    chunk = b"?"
    while chunk:
        try:
            chunk = os.read(descriptor, CHUNK)
        except OSError as error:
            raise UsageError(f"stdin cannot be read: {error.strerror}") from None
        yield chunk
