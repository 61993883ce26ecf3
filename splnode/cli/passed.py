"""One message as a node passes it on (SPLNodeService.callRemote): what is asked of it, and what its answer means."""

import argparse
from collections.abc import Mapping
from typing import Any, NamedTuple

from splnode.avro.protocol import Protocol
from splnode.cli import dial
from splnode.cli.failure import NoEndpointError, UsageError
from splnode.cli.metadata import shown
from splnode.cli.params import JsonForm
from splnode.cli.phases import Phases
from splnode.cli.records import Schemas
from splnode.cli.target import Target
from splnode.errors import CallError, Code, DeclaredError, SplnodeError
from splnode.rpc.route import NOT_ASKED_FOR
from splnode.wire.message import Contract
from splnode.wire.primitive import read_long


class Outcome(NamedTuple):
    """What came of a call: of which node, and its result as JSON or its error."""

    node: str
    result: Any = None
    error: SplnodeError | None = None

    @property
    def answered(self) -> bool:
        """Whether a handler has answered, well or not."""
        return self.error is None or isinstance(self.error, DeclaredError)


class Passed:
    """One message of `protocol` as it is passed on: the parameters of callRemote, and what its answer means.

    CallError if there is no such message, UsageError if it may not be called as the options say.
    """

    def __init__(self, args: argparse.Namespace, where: Target, protocol: Protocol, phases: Phases) -> None:
        _, name = dial.split_name(args.message)
        self.protocol = protocol
        self.message = dial.message_of(protocol, name)
        self.name = f"{protocol.name}.{name}"
        if args.first and not self.message.idempotent:
            told = f'--first calls every node: {name} may run twice only if its protocol says "idempotent": true'
            raise UsageError(told)
        self._args, self._phases = args, phases
        self._max_time = where.max_time
        self._schemas = Schemas(where)
        self._form = JsonForm(args.json, args.bytes, named=args.named)
        self._codec = Contract(protocol).calling(protocol).prepare(name)

    def request(self, value: Any, metadata: Mapping[str, bytes], to: str | None) -> dict[str, Any]:
        """A call of the node that is chosen, or of `to`. EncodeError."""
        for key, text in shown(metadata).items():
            self._phases.note(f"> {key}: {text}")
        return {
            "protocol": self.protocol.text,
            "message": self.message.name,
            "params": self._codec.request.encode(self._form.params(self.message, value)),
            "metadata": dict(metadata),
            "wishes": {"policy": self._args.balance, "key": None, "to": to, "pin": self._args.pin, "hedge": None},
        }

    def outcome(self, answer: Mapping[str, Any], to: str | None) -> Outcome:
        """What a RemoteAnswer means."""
        node = answer["node"] or to or ""
        for key, text in shown(answer["metadata"]).items():
            self._phases.note(f"< {key}: {text}")
        if answer["failure"] is not None:
            return Outcome(node, error=_failure(answer["failure"]))
        self._phases.note(f"answered by {node}")
        if answer["error"] is not None:
            index, start = read_long(answer["error"], 0)
            error, _ = self._codec.errors.read(index, answer["error"], start)
            if isinstance(error, DeclaredError):
                error = self._schemas.error(self._form, self.message, error)
            return Outcome(node, error=error)
        if answer["result"] is None:  # it is one-way
            return Outcome(node)
        result, _ = self._codec.decode(answer["result"], 0)
        return Outcome(node, self._schemas.json(self._form, self.message.response, result))

    def failed(self, error: CallError, to: str | None) -> Outcome:
        """The call of the node between has failed."""
        if error.code is Code.DEADLINE_EXCEEDED:
            error = CallError(error.code, f"{self.name}: no answer within {self._max_time:g} s")
        return Outcome(to or "", error=error)


def not_found(error: DeclaredError) -> NoEndpointError:
    """What findProtocol says where it finds none."""
    return NoEndpointError(str(error.value["message"]))


def _failure(said: Mapping[str, Any]) -> SplnodeError:
    """What a RemoteFailure tells of: a call that failed, an endpoint that is missing, or a contract that fits none."""
    code, delay, attempts = said["code"], said["retryAfterMs"], said["attempts"]
    error = CallError(
        Code[code] if code in Code.__members__ else Code.UNKNOWN,
        said["message"],
        remote=True,
        attempts=attempts,
        retry_after=None if delay is None else delay / 1000,
        started=said["started"],
    )
    if error.started or error.code is not Code.UNAVAILABLE:
        return error
    if any("does not fit" in attempt and NOT_ASKED_FOR not in attempt for attempt in attempts):
        return CallError(Code.FAILED_PRECONDITION, error.message, attempts=attempts, started=False)
    return NoEndpointError("\n  ".join([error.message, *attempts]))
