"""Lists the services of a node, or the messages of one service.

Text on a terminal; elsewhere, and with --json, one JSON object a line.
"""

import argparse
from typing import Any

from splnode.cli import output, target


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `ls`."""
    parser.add_argument("service", metavar="SERVICE", nargs="?", help="list the messages of this service")
    parser.add_argument("--json", action="store_true", help="JSON on a terminal too")
    target.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the list."""
    where = target.from_args(args)
    rows = _messages(where, args.service) if args.service else _services(where)
    if not output.wants_text(args.json):
        for row in rows:
            output.emit(row)
    elif rows:
        output.emit_text(output.table([_line(row) for row in rows]))
    return 0


def _services(where: target.Target) -> list[dict[str, Any]]:
    from splnode.cli.dial import listing

    found = listing(where)
    return [
        {"service": each["name"], "messages": len(each["messages"]), "doc": each["doc"]}
        for each in sorted(found, key=lambda each: str(each["name"]))
    ]


def _messages(where: target.Target, service: str) -> list[dict[str, Any]]:
    from splnode.cli.dial import protocol_of
    from splnode.cli.signature import message_text

    protocol = protocol_of(where, service)
    return [
        {"message": f"{protocol.name}.{message.name}", "signature": message_text(message), "doc": message.doc}
        for message in protocol.messages.values()
    ]


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    import textwrap

    doc = textwrap.shorten(row["doc"], 80, placeholder=" ...")
    if "service" in row:
        count = row["messages"]
        return output.paint(row["service"], output.BOLD), f"{count} message{'' if count == 1 else 's'}", doc
    return (row["signature"],)
