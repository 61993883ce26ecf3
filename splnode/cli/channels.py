"""Lists what a node has to do with others: for each service that it calls there, each node and each way to it.

What nobody has called of late is not there: a node connects to others for a service when it is called first. Text on a
terminal; elsewhere, and with --json, one JSON object a line. With --watch the whole list comes again after each change,
once a second at most: as text, or as one JSON array a line.
"""

import argparse
import time
from typing import Any, Final

from splnode.cli import dial, output, target

HEAD: Final = (
    "SERVICE", "NODE", "ENDPOINT", "STATE", "IN FLIGHT", "PICKS", "WEIGHT", "LOAD", "LEFT OUT", "LAST ERROR",
)  # fmt: skip
PAUSE: Final = 1.0
"""Seconds between two looks of --watch."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `channels`."""
    parser.add_argument("service", metavar="SERVICE", nargs="?", help="only this one, by its full or short name")
    parser.add_argument("--watch", action="store_true", help="list them again after each change, until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="JSON on a terminal too")
    target.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the list."""
    with dial.service(target.from_args(args), dial.NODE) as client:
        last: list[dict[str, Any]] | None = None
        while True:
            rows = _wanted(client.call("listChannels", {}), args.service)
            if rows != last:
                _show(rows, args)
            if not args.watch:
                return 0
            last = rows
            time.sleep(PAUSE)


def line(row: dict[str, Any]) -> tuple[str, ...]:
    """A row of the table."""
    out = [each.replace("\n", " ") for each in row["leftOut"]]
    left = max(0.0, row["ejectedUntil"] / 1000 - time.time())
    if left and not any("left out for" in each for each in out):
        out.append(f"for {left:.1f} s more")
    weight = f"{row['weight']:g}" + ("" if row["reported"] is None else f" x {row['reported']:.3g}/s")
    return (
        row["service"],
        row["nodeId"] or "?",
        row["endpoint"],
        output.paint(row["state"].lower(), output.RED if row["state"] == "TRANSIENT_FAILURE" else output.GREEN),
        str(row["inFlight"]),
        str(row["picks"]),
        weight,
        "-" if row["load"] is None else f"{row['load']:.0%}",
        "; ".join(out) or "-",
        row["lastError"].replace("\n", " "),
    )


def _wanted(rows: Any, service: str | None) -> list[dict[str, Any]]:
    found = list(rows) if isinstance(rows, list) else []
    return [row for row in found if service in (None, row["service"], row["service"].rpartition(".")[2])]


def _show(rows: list[dict[str, Any]], args: argparse.Namespace) -> None:
    if output.wants_text(args.json):
        output.emit_text(output.table([tuple(output.paint(each, output.BOLD) for each in HEAD), *map(line, rows)]))
        if args.watch:
            output.emit_text("")
    elif args.watch:
        output.emit(rows)
    else:
        for row in rows:
            output.emit(row)
