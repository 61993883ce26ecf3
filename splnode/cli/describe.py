"""Shows what a service or a message takes and gives.

splnode describe SPLDataService              its messages and types, for reading
splnode describe SPLDataService --json       its protocol, as JSON
splnode describe SPLDataService.write        one message
splnode describe SPLDataService.write --template > write.json
splnode call SPLDataService.write -d @write.json
"""

import argparse

from splnode.avro.protocol import Protocol
from splnode.cli import output, target
from splnode.cli.failure import NoEndpointError, UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `describe`."""
    parser.add_argument("name", metavar="SERVICE[.MESSAGE]", help="full or short name of a service, and a message")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a service's protocol as JSON; a message as a JSON object")
    form.add_argument("--template", action="store_true", help="parameters of the message, to edit and to pass to -d")
    parser.add_argument("--protocol", metavar="FILE", help="describe this .avpr instead of asking a server")
    target.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the description."""
    output.emit_text(_describe(args))
    return 0


def _describe(args: argparse.Namespace) -> str:
    from splnode.avro import json_text
    from splnode.cli import signature
    from splnode.cli.template import EndlessError, message_template

    protocol, name = _resolve(args)
    if not name:
        if args.template:
            raise UsageError(f"--template is for a message: {protocol.name}.{next(iter(protocol.messages), 'MESSAGE')}")
        return json_text.dumps(json_text.loads(protocol.text)) if args.json else signature.describe_protocol(protocol)
    from splnode.cli.dial import message_of

    message = message_of(protocol, name)
    if args.template:
        try:
            return json_text.dumps(message_template(message), indent=2)
        except EndlessError as error:
            raise UsageError(
                f"{protocol.name}.{name}: the type {error} has no value: it holds itself without end"
            ) from None
    if args.json:
        return json_text.dumps(signature.message_json(protocol.name, message))
    return signature.describe_message(protocol.name, message)


def _resolve(args: argparse.Namespace) -> tuple[Protocol, str]:
    """The protocol, and the message if the name has one. The dot of a full name may be read in two ways."""
    from splnode.cli.dial import load_protocol, names, protocol_of

    service, _, message = args.name.rpartition(".")
    if args.protocol:
        protocol = load_protocol(args.protocol)
        if names(args.name, protocol):
            return protocol, ""
        if service and names(service, protocol):
            return protocol, message
        raise UsageError(f"--protocol {args.protocol}: it is the protocol {protocol.name}, not {args.name}")
    where = target.from_args(args)
    try:
        return protocol_of(where, args.name), ""
    except NoEndpointError as error:
        if not service:
            raise
        try:
            return protocol_of(where, service), message
        except NoEndpointError:
            raise error from None
