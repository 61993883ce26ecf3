"""Shows what a node counts and measures of itself, as Prometheus reads it.

An HTTP GET of /metrics on a port of the node gives the same text.
"""

import argparse

from splnode.cli import output, target

MAX_TIME = 10.0


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `metrics`."""
    parser.add_argument("--json", action="store_true", help="a JSON object for each family of metrics")
    target.add_options(parser, MAX_TIME)


def run(args: argparse.Namespace) -> int:
    """Prints them."""
    found = _ask(target.from_args(args), "read" if args.json else "text")
    if isinstance(found, list):
        for family in found:
            output.emit(family)
    else:
        output.emit_text(str(found).rstrip("\n"))
    return 0


def _ask(where: target.Target, message: str) -> object:
    from splnode.cli import dial

    with dial.service(where, dial.METRICS) as client:
        return client.call(message, {})
