"""What goes to stdout: results, one JSON value a line, or text for a reader at a terminal."""

import os
import re
import sys
from typing import Any, Final

from splnode.avro import json_text
from splnode.cli.failure import UsageError

BOLD: Final = "1"
RED: Final = "31"
GREEN: Final = "32"
_STYLE: Final = re.compile("\x1b\\[[0-9;]*m")


def emit(value: Any) -> None:
    """One result: a JSON value on a line of its own, there at once for whoever reads a pipe."""
    emit_text(json_text.dumps(value))


def emit_text(text: str) -> None:
    """One line or several, UTF-8 whatever the locale says."""
    out = sys.stdout
    if out is None:
        raise UsageError("stdout is closed: there is nowhere to put the result")
    raw = getattr(out, "buffer", None)
    if raw is None:  # a test's stdout
        out.write(text + "\n")
        return
    out.flush()
    raw.write(text.encode("utf-8", "backslashreplace") + b"\n")
    raw.flush()


def forget_stdout() -> None:
    """Nobody reads stdout any more: Python, which flushes it as it ends, must not complain once more."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def on_terminal(stream: Any = None) -> bool:
    """Whether a person reads stdout (or `stream`) as it is written."""
    stream = sys.stdout if stream is None else stream
    return stream is not None and stream.isatty()


def wants_text(as_json: bool) -> bool:
    """Lists are text on a terminal and JSON everywhere else, or where --json asks for it."""
    return not as_json and on_terminal()


def paint(text: str, style: str, stream: Any = None) -> str:
    """The text in a style, where the stream is a terminal that shows styles (https://no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not on_terminal(stream):
        return text
    return f"\x1b[{style}m{text}\x1b[0m"


def table(rows: list[tuple[str, ...]]) -> str:
    """Columns with two spaces between them; styles take no room."""
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _width(cell: str) -> int:
    return len(_STYLE.sub("", cell))
