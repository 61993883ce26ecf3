"""The log: one line an event on stderr, JSON for machines, readable on a terminal.

Modules take `structlog.get_logger("splnode.<room>")` and never configure anything: a program that uses the
library keeps its own configuration, the node's shell calls `configure`.
"""

import logging
import sys
from typing import Literal, TextIO

import structlog


def configure(
    level: Literal["debug", "info", "warning", "error"] = "info",
    form: Literal["auto", "json", "text"] = "auto",
    stream: TextIO | None = None,
) -> None:
    """Sets up structlog for this process. May be called again, to change level or form while running."""
    out = stream or sys.stderr
    readable = out.isatty() if form == "auto" else form == "text"
    render: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(colors=out.isatty())]
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
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,  # a changed level must reach the loggers that exist
    )
