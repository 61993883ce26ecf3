"""The calls of `splnode call`: whom to ask, what to send, what to print."""

import argparse
import typing
from collections.abc import Mapping
from typing import Any

from splnode.avro.protocol import Message, Protocol
from splnode.cli import inputs, output, target
from splnode.cli.dial import (
    NODE,
    Dialled,
    NotServedError,
    dial_first,
    find,
    load_protocol,
    message_of,
    names,
    protocol_of,
    split_name,
)
from splnode.cli.failure import NoEndpointError, UsageError, describe, exit_code, say
from splnode.cli.metadata import read_headers, shown
from splnode.cli.params import JsonForm, bare_parameter
from splnode.cli.phases import Phases
from splnode.cli.records import Schemas
from splnode.cli.target import Target
from splnode.errors import DeclaredError, SplnodeError
from splnode.wire.message import Contract


class Calling(typing.Protocol):
    """One message, called again and again: a Caller, or a `remote.Remote`, or a `many.Many`."""

    def run(self, value: Any, metadata: Mapping[str, bytes]) -> int:
        """One call: prints what it gives, and gives the exit code. Raises what it ended with."""
        ...

    def close(self) -> None:
        """Lets every connection go."""
        ...


class Caller:
    """One message of one server, called again and again."""

    def __init__(self, where: Target, contract: Contract, message: Message, form: JsonForm, phases: Phases) -> None:
        self._where = where
        self._contract = contract
        self._message = message
        self._form = form
        self._phases = phases
        self._dialled: Dialled | None = None
        self._schemas = Schemas(where)

    @property
    def connected(self) -> bool:
        """Whether the next call needs no dialling."""
        return self._dialled is not None and self._dialled.channel.is_open

    def run(self, value: Any, metadata: Mapping[str, bytes]) -> int:
        """One call, and its result on stdout."""
        output.emit(self.call(value, metadata))
        return 0

    def call(self, value: Any, metadata: Mapping[str, bytes]) -> Any:
        """One call: JSON in, JSON out. Raises what the call ended with."""
        params = self._form.params(self._message, value)
        dialled = self._connection()
        client = dialled.client(self._where.max_time)
        call = client.prepare(self._message.name, params, metadata=metadata)
        for key, text in shown(metadata).items():
            self._phases.note(f"> {key}: {text}")
        try:
            with self._phases.phase("call", self._message.name):
                result = client.send(call)
        except DeclaredError as error:
            raise self._schemas.error(self._form, self._message, error) from None
        finally:
            for key, text in shown(call.answer_metadata).items():
                self._phases.note(f"< {key}: {text}")
        return self._schemas.json(self._form, self._message.response, result)

    def _connection(self) -> Dialled:
        if self._dialled is None or not self._dialled.channel.is_open:
            self.close()
            self._dialled = dial_first(self._where, self._contract, self._phases)
        return self._dialled

    def close(self) -> None:
        """Closes the connection, if there is one."""
        if self._dialled is not None:
            self._dialled.channel.close()
            self._dialled = None


def run_calls(args: argparse.Namespace) -> int:
    """One call for each JSON value of `-d`; the exit code of the first that failed."""
    args.node, args.to = target.split_node(args.to)
    where, phases = target.from_args(args), Phases(args.verbose)
    split_name(args.message)
    metadata = read_headers(args.header, where.headers)
    caller: Calling | None = None
    code = 0
    try:
        for value in inputs.values(args.data):
            if caller is None:
                caller = _open(args, where, phases)
            try:
                ended = caller.run(value, metadata)
            except SplnodeError as error:
                tell(error)
                ended = exit_code(error)
            code = code or ended
            if ended and not args.keep_going:
                break
    finally:
        if caller is not None:
            caller.close()
    return code


def _open(args: argparse.Namespace, where: Target, phases: Phases) -> Calling:
    """What calls the message: on the node that was dialled, if it serves that, or else on one that does."""
    if not (args.all or args.first or args.balance or args.pin or args.node):
        service, name = split_name(args.message)
        try:
            protocol, found = speak(args, where, service, phases)
        except NoEndpointError as error:
            if not (error.elsewhere if isinstance(error, NotServedError) else target.is_default(args)):
                raise
            phases.note(str(error))
        else:
            form = JsonForm(args.json, args.bytes, named=args.named)
            return Caller(found, Contract(protocol), message_of(protocol, name), form, phases)
    return _open_remote(args, where, phases)


def _open_remote(args: argparse.Namespace, where: Target, phases: Phases) -> Calling:
    """Through the target's node; or, if nobody was named and none runs here, by this command itself."""
    try:
        endpoint, node = find(where, NODE)
    except NoEndpointError as error:
        if not target.is_default(args) or isinstance(error, NotServedError):
            raise
        from splnode.cli.meshed import tell_alone

        tell_alone(error)
        alone = True
    else:
        where, alone = where.at(endpoint), False
        if not (args.all or args.first):
            from splnode.cli.remote import Remote

            return Remote(args, where, node, phases)
    from splnode.cli.many import Many

    return Many(args, where, alone=alone, phases=phases)


def speak(args: argparse.Namespace, where: Target, service: str, phases: Phases) -> tuple[Protocol, Target]:
    """The protocol to speak, and the target narrowed to who speaks it."""
    if args.protocol:
        protocol = load_protocol(args.protocol)
        if not names(service, protocol):
            raise UsageError(f"--protocol {args.protocol}: it is the protocol {protocol.name}, not {service}")
        return protocol, where
    endpoint, protocol = find(where, service, phases)
    return protocol, where.at(endpoint)


def tell(error: SplnodeError) -> None:
    """A failed call on stderr: a declared error as one line of JSON, with its name and its fields."""
    if isinstance(error, DeclaredError):
        from splnode.avro import json_text

        say(f"{error.schema_name} {json_text.dumps(dict(error.value))}")
    else:
        say(describe(error))


def message_help(args: argparse.Namespace) -> str:
    """What `splnode call SERVICE.MESSAGE --help` shows. NoEndpointError and CallError as for a call."""
    from splnode.cli.signature import describe_message

    args.node, args.to = target.split_node(args.to)
    where = target.from_args(args)
    service, name = split_name(args.message)
    if args.protocol:
        protocol, _ = speak(args, where, service, Phases(args.verbose))
    else:
        protocol = protocol_of(where, service)
    message = message_of(protocol, name)
    text = describe_message(protocol.name, message)
    bare = bare_parameter(message)
    if bare is not None:
        text += f"\n\nThe fields of {bare} may be given bare: both -d '{{\"{bare}\": {{...}}}}' and -d '{{...}}' work."
    example = f"splnode describe {protocol.name}.{name} --template"
    return f"{text}\n\n`{example}` prints parameters to start from; `splnode call --help` lists the options."
