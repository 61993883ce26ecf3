"""The log: one line an event on stderr, JSON for machines, readable on a terminal.

Modules take `structlog.get_logger("splnode.<room>")` and never configure anything: a program that uses the
library keeps its own configuration, the node's shell calls `configure`.
"""

import atexit
import json
import logging
import os
import sys
from functools import cache
from pathlib import Path
from typing import Literal, TextIO

import structlog

from splnode.observe.outlet import Outlet


def configure(
    level: Literal["debug", "info", "warning", "error"] = "info",
    form: Literal["auto", "json", "text"] = "auto",
    stream: TextIO | None = None,
) -> None:
    """Sets up structlog for this process. May be called again, to change level or form while running.

    Without a `stream` it goes to stderr, as far and as fast as that is read; nobody waits for it.
    """
    out = stream or sys.stderr or _nowhere()
    terminal = out.isatty()
    readable = terminal if form == "auto" else form == "text"
    render: list[structlog.typing.Processor] = (
        # The traceback alone: where rich is installed the default shows the values of all variables, secret or not.
        [structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=structlog.dev.plain_traceback)]
        if readable
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(out if stream else _outlet(out, readable)),  # type: ignore[arg-type]  # it has what a log needs of a TextIO
        cache_logger_on_first_use=False,  # a changed level must reach the loggers that exist
    )


@cache
def _nowhere() -> TextIO:
    """Instead of a stderr that was closed; stays open, as stderr does."""
    return Path(os.devnull).open("w")


_outlets: dict[tuple[int, bool], Outlet] = {}


def _outlet(out: TextIO, readable: bool) -> TextIO | Outlet:
    """The one outlet of a stream; the stream itself where it is no file (a test's)."""
    try:
        key = (out.fileno(), readable)
    except (OSError, ValueError):
        return out
    if key not in _outlets:
        out.flush()
        _outlets[key] = made = Outlet(key[0], _lost_in_words if readable else _lost_in_json)
        atexit.register(made.drain)
    return _outlets[key]


def _lost_in_words(lines: int) -> str:
    return f"{lines} lines of the log were dropped: nobody read them\n"


def _lost_in_json(lines: int) -> str:
    return json.dumps({"lines": lines, "event": "lines of the log were dropped: nobody read them"}) + "\n"
