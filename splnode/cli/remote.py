"""`splnode call` through a node that passes the call on to one that serves it.

(SPLNodeService.callRemote.) The node's connections to others stand already, it knows who fails and who is full, and a
shell that reaches nothing but its Unix socket reaches every service. What needs several calls at a time, or no node at
all, is in `many`.
"""

import argparse
from collections.abc import Mapping
from typing import Any

from splnode.avro.protocol import Protocol
from splnode.cli import dial, output
from splnode.cli.passed import Passed, not_found
from splnode.cli.phases import Phases
from splnode.cli.target import Target
from splnode.errors import CallError, DeclaredError
from splnode.wire.message import Contract


class Remote:
    """One message, called through the node of `where`, which is one endpoint. NoEndpointError if nobody serves it."""

    def __init__(self, args: argparse.Namespace, where: Target, node: Protocol, phases: Phases) -> None:
        self._args, self._phases = args, phases
        self._dialled = dial.dial_first(where, Contract(node), phases)
        self._dialled.metadata, self._beside = where.token.passing(self._dialled.endpoint)
        self._client = self._dialled.client(where.max_time)
        try:
            self._passed = Passed(args, where, self._speak(), phases)
        except BaseException:
            self.close()
            raise

    def run(self, value: Any, metadata: Mapping[str, bytes]) -> int:
        """One call, and its result on stdout."""
        passed, to = self._passed, self._args.node
        request = passed.request(value, {**self._beside, **metadata}, to)
        try:
            with self._phases.phase("call", passed.name):
                outcome = passed.outcome(self._client.call("callRemote", request), to)
        except CallError as error:
            outcome = passed.failed(error, to)
        if outcome.error is not None:
            raise outcome.error
        output.emit(outcome.result)
        return 0

    def close(self) -> None:
        """Closes the connection."""
        self._dialled.channel.close()

    def _speak(self) -> Protocol:
        """The protocol to speak: the one given, or that of those who serve it."""
        if self._args.protocol:
            return dial.load_protocol(self._args.protocol)
        service, _ = dial.split_name(self._args.message)
        with self._phases.phase("discover", service):
            try:
                text = self._client.call("findProtocol", {"service": service})
            except DeclaredError as error:
                raise not_found(error) from None
        return Protocol.parse(str(text), referee=False)
