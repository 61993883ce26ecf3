"""Lists which node serves which service, in which version, and whether that can be called.

A version is compared with the one that the asked node serves itself, or else with one of those found. Text on a
terminal; elsewhere, and with --json, one JSON object a line. With --watch the whole list comes again after each change:
as text, or as one JSON array a line.
"""

import argparse
import asyncio
from typing import Any, Final

from splnode.cli import meshed, output

HEAD: Final = ("SERVICE", "NODE", "ENDPOINT", "VERSION", "FIT", "STATE", "WEIGHT", "LOAD", "SOURCE", "")


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `services`."""
    parser.add_argument("service", metavar="SERVICE", nargs="?", help="only this one, by its full or short name")
    parser.add_argument("--watch", action="store_true", help="list them again after each change, until Ctrl-C")
    meshed.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the list."""
    asyncio.run(_run(args))
    return 0


async def _run(args: argparse.Namespace) -> None:
    async with meshed.asking(args) as asked:
        if not args.watch:
            meshed.show(args, await asked.call("listServices", service=args.service), line, HEAD)
            return
        async for _ in meshed.changes(asked):
            rows = await asked.call("listServices", service=args.service)
            if output.wants_text(args.json):
                meshed.show(args, rows, line, HEAD)
                output.emit_text("")
            else:
                output.emit(rows)


def line(row: dict[str, Any]) -> tuple[str, ...]:
    """A row of the table."""
    fits = row["fit"] in ("SAME", "RESOLVED")
    return (
        row["service"],
        row["nodeId"] or "?",
        row["endpoint"],
        row["version"] or "-",
        output.paint(row["fit"].lower(), output.GREEN if fits else output.RED),
        meshed.state(row),
        f"{row['weight']:g}",
        meshed.load(row),
        ", ".join(row["sources"]) or "this node",
        "; ".join(filter(None, [row["problem"], *row["reasons"]])),
    )
