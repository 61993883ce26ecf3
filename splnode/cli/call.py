"""Calls a message and prints its result as JSON.

  splnode call SPLDataService.read -d '{"topic": "users"}'
  splnode call SPLDataService.write -d @record.json --to tcp://127.0.0.1:9090
  producer | splnode call SPLDataService.write -d @-
  splnode call com.acme.Shop.stock --to kitchen

Several JSON values are several calls over one connection, one after another, a line of result each. A void
result is null. `splnode call SERVICE.MESSAGE --help` shows what the message takes.

A node that does not serve the message passes the call on to one that does; without a node here the others are looked
for. --all prints {"node": ..., "result": ...} or {"node": ..., "error": ...} for each node, and the exit code is the
worst of them.

An error of the protocol goes to stderr with its fields, and the exit code is 66; other failures give 64 + the
code of gRPC. See `splnode --help`.
"""

import argparse
import sys

from splnode.cli import output, target
from splnode.cli.failure import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `call`."""
    parser.add_argument("message", metavar="SERVICE.MESSAGE", nargs="?", help="the message; the service may be short")
    parser.add_argument("-d", "--data", metavar="JSON|@FILE|@-", help="the parameters (default: {})")
    add_headers(parser)
    parser.add_argument("--protocol", metavar="FILE", help="speak this .avpr instead of asking the server for its own")
    parser.add_argument("--named", action="store_true", help="-d is an object by parameter name, never a bare record")
    parser.add_argument("--keep-going", action="store_true", help="go on after a call that failed")
    add_form(parser)
    parser.add_argument("-v", "--verbose", action="count", default=0, help="say what happens; -vv: and its times")
    parser.add_argument("-h", "--help", action="store_true", help="show this text, or what the message takes")
    target.add_options(parser)
    add_choices(parser)


def add_choices(parser: argparse.ArgumentParser) -> None:
    """The options that choose among the nodes that serve the message. (--to NODE is target's)"""
    group = parser.add_argument_group(
        "which of many nodes",
        "--to NODE, its id or the beginning of it, has that one answer. --to ENDPOINT calls there: a node that does"
        " not serve the message itself passes the call on to one that does, and so does the node of this host.",
    )
    group.add_argument("--balance", choices=("least_request", "round_robin", "weighted", "sticky"), help="choose so")
    group.add_argument("--pin", metavar="FINGERPRINT", help="only nodes with exactly this contract: 8 digits or more")
    every = group.add_mutually_exclusive_group()
    every.add_argument("--all", action="store_true", help="call every node that serves it: a line of each, as it comes")
    every.add_argument("--first", action="store_true", help="call every node, and take the first answer")


def add_headers(parser: argparse.ArgumentParser) -> None:
    """The option for metadata."""
    parser.add_argument("-H", "--header", metavar="'K: V'", action="append", default=[], help="metadata; ${ENV} works")


def add_form(parser: argparse.ArgumentParser) -> None:
    """The options that say how JSON and Avro become each other."""
    parser.add_argument(
        "--json", choices=("plain", "avro"), default="plain", help="avro: Avro's own JSON, with tagged unions"
    )
    parser.add_argument(
        "--bytes", choices=("base64", "utf8", "hex"), default="base64", help="how bytes stand in JSON (default: base64)"
    )


def run(args: argparse.Namespace) -> int:
    """Calls, and gives the exit code of the first call that failed."""
    if args.help:
        return _help(args)
    if not args.message:
        raise UsageError("which message? splnode call SERVICE.MESSAGE; `splnode ls` lists the services")
    from splnode.cli.calling import run_calls

    return run_calls(args)


def _help(args: argparse.Namespace) -> int:
    from splnode.cli.main import parser_of

    if args.message:
        from splnode.cli.calling import message_help

        output.emit_text(message_help(args))
        return 0
    output.emit_text(parser_of("call", sys.modules[__name__]).format_help().rstrip())
    return 0
