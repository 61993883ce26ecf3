"""`-H 'key: value'`: what rides beside a call."""

import os
import re
from collections.abc import Iterable, Mapping
from typing import Final

from splnode.cli.bearing import warn
from splnode.cli.failure import UsageError
from splnode.identity import AUTHORIZATION_KEY

_VARIABLE: Final = re.compile(r"\$\{(\w+)\}")


def read_headers(lines: Iterable[str], preset: Mapping[str, str] | None = None) -> dict[str, bytes]:
    """The metadata of `k: v` lines, on top of those of a profile. A key given twice: the last one holds.

    `${NAME}` stands for a variable of the environment. UsageError if it is not set, or if a line has no key.
    """
    metadata = {key: expand(value).encode() for key, value in (preset or {}).items()}
    for line in lines:
        warn(line)
        key, colon, value = line.partition(":")
        key = key.strip()
        if not colon or not key:
            raise UsageError(f"-H {line!r}: a header is 'key: value'")
        key = key.lower() if key.lower() == AUTHORIZATION_KEY else key
        metadata[key] = expand(value.strip()).encode("utf-8", "surrogateescape")
    return metadata


def expand(text: str) -> str:
    """The text with each `${NAME}` replaced."""

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if found is None:
            raise UsageError(f"{text!r}: the environment has no {match[1]}")
        return found

    return _VARIABLE.sub(value, text)


def shown(metadata: Mapping[str, bytes]) -> dict[str, str]:
    """Metadata for a reader: text, with what is no UTF-8 escaped, and no token."""
    return {
        key: "..." if key.lower() == AUTHORIZATION_KEY else value.decode("utf-8", "backslashreplace")
        for key, value in metadata.items()
    }
