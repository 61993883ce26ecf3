"""Lists the nodes that a node knows of: where they are, how they are, who found them.

Text on a terminal; elsewhere, and with --json, one JSON object a line. With --watch the whole list comes again after
each change: as text, or as one JSON array a line.
"""

import argparse
import asyncio
from typing import Any, Final

from splnode.cli import meshed, output

HEAD: Final = ("NODE", "ENDPOINT", "STATE", "SERVICES", "LOAD", "SOURCE", "")


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `nodes`."""
    parser.add_argument("--watch", action="store_true", help="list them again after each change, until Ctrl-C")
    meshed.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the list."""
    asyncio.run(_run(args))
    return 0


async def _run(args: argparse.Namespace) -> None:
    async with meshed.asking(args) as asked:
        if not args.watch:
            meshed.show(args, meshed.others(asked, await asked.call("listNodes")), line, HEAD)
            return
        async for nodes in meshed.changes(asked):
            if output.wants_text(args.json):
                meshed.show(args, nodes, line, HEAD)
                output.emit_text("")
            else:
                output.emit(nodes)


def line(node: dict[str, Any]) -> tuple[str, ...]:
    """A row of the table."""
    services = "?" if node["services"] is None else str(len(node["services"]))
    sources = dict.fromkeys(each["source"] for each in node["endpoints"] if each["source"])
    return (
        node["nodeId"] or "?",
        node["endpoint"],
        meshed.state(node),
        services,
        meshed.load(node),
        "this node" if node["self"] else ", ".join(sources),
        node["problem"],
    )
