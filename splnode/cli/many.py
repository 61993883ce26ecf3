"""`splnode call` over many nodes: whoever serves the message, one of them, or all.

The call goes through a node, which passes it on (SPLNodeService.callRemote): that node's connections stand already, it
knows who fails and who is full, and a shell that reaches nothing but its Unix socket reaches every service. Where no
node runs here, and none was named, this command looks for nodes itself and calls them.
"""

import argparse
import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any, Final, NamedTuple

from splnode.avro.protocol import Protocol, find_protocol
from splnode.balance.balancer import NOT_ASKED_FOR
from splnode.cli import dial, meshed, output, target
from splnode.cli.calling import message_of
from splnode.cli.failure import NoEndpointError, UsageError, exit_code, say
from splnode.cli.metadata import shown
from splnode.cli.params import JsonForm
from splnode.cli.phases import Phases
from splnode.cli.records import Schemas
from splnode.cli.target import Target
from splnode.config import ChannelsConfig
from splnode.errors import CallError, Code, DeclaredError, SplnodeError
from splnode.net.channel import EndpointChannel
from splnode.rpc.client import Client
from splnode.rpc.router import Router
from splnode.rpc.server import Server
from splnode.services.peers import NODE_SERVICE
from splnode.services.relay import failure_of
from splnode.wire.message import Contract
from splnode.wire.primitive import read_long

AT_ONCE: Final = 64
"""Nodes that one command calls at the same time."""


class Outcome(NamedTuple):
    """What came of a call: of which node, and its result as JSON or its error."""

    node: str
    result: Any = None
    error: SplnodeError | None = None

    @property
    def answered(self) -> bool:
        """Whether a handler has answered, well or not."""
        return self.error is None or isinstance(self.error, DeclaredError)


class Remote:
    """One message, called on other nodes again and again. `close` it.

    `service` is a full or short name; `where` None looks for nodes from here. NoEndpointError if nobody serves it.
    """

    def __init__(self, args: argparse.Namespace, where: Target, *, alone: bool, phases: Phases) -> None:
        service, name = dial.split_name(args.message)
        self._args, self._where, self._phases = args, where, phases
        self._schemas = Schemas(where)
        self._form = JsonForm(args.json, args.bytes, named=args.named)
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        try:
            entry = _alone() if alone else _through(where, phases)
            self._client = self._runner.run(self._stack.enter_async_context(entry))
            self._protocol = self._runner.run(self._speak(service))
            self._message = message_of(self._protocol, name)
            if args.first and not self._message.idempotent:
                told = f'--first calls every node: {name} may run twice only if its protocol says "idempotent": true'
                raise UsageError(told)
        except BaseException:
            self.close()
            raise
        self._codec = Contract(self._protocol).calling(self._protocol).prepare(name)

    def run(self, value: Any, metadata: Mapping[str, bytes]) -> int:
        """One call, and its result on stdout. With --all one of each node, and the worst of their exit codes."""
        if self._args.all:
            return self._runner.run(self._print_all(value, metadata))
        outcome = self._runner.run(self._first(value, metadata) if self._args.first else self._one(value, metadata))
        if outcome.error is not None:
            raise outcome.error
        output.emit(outcome.result)
        return 0

    def close(self) -> None:
        """Lets every connection go."""
        try:
            self._runner.run(self._stack.aclose())
        finally:
            self._runner.close()

    async def _speak(self, service: str) -> Protocol:
        """The protocol to speak: the one given, or that of those who serve it."""
        if self._args.protocol:
            return dial.load_protocol(self._args.protocol)
        with self._phases.phase("discover", service):
            try:
                text = await self._client.call("findProtocol", {"service": service})
            except DeclaredError as error:
                raise NoEndpointError(str(error.value["message"])) from None
        return Protocol.parse(str(text), referee=False)

    async def _one(self, value: Any, metadata: Mapping[str, bytes]) -> Outcome:
        with self._phases.phase("call", f"{self._protocol.name}.{self._message.name}"):
            outcome = await self._call(value, metadata, self._args.node)
        self._phases.note(f"answered by {outcome.node}" if outcome.answered else "not answered")
        return outcome

    async def _first(self, value: Any, metadata: Mapping[str, bytes]) -> Outcome:
        failed: list[Outcome] = []
        async with aclosing(self._calls(value, metadata)) as outcomes:
            async for outcome in outcomes:
                if outcome.answered:
                    self._phases.note(f"answered by {outcome.node}")
                    return outcome
                failed.append(outcome)
        text = f"none of the {len(failed)} nodes of {self._protocol.name} has answered"
        told = [f"{each.node}: {each.error}" for each in failed]
        if all(isinstance(each.error, NoEndpointError) for each in failed):
            return Outcome("", error=NoEndpointError("\n  ".join([text, *told])))
        worst = max((each.error for each in failed if isinstance(each.error, CallError)), key=exit_code)
        return Outcome("", error=CallError(worst.code, text, attempts=told, started=worst.started))

    async def _print_all(self, value: Any, metadata: Mapping[str, bytes]) -> int:
        code = 0
        async with aclosing(self._calls(value, metadata)) as outcomes:
            async for node, result, error in outcomes:
                if error is None:
                    output.emit({"node": node, "result": result})
                else:
                    output.emit({"node": node, "error": _as_json(error)})
                    code = max(code, exit_code(error))
        return code

    async def _calls(self, value: Any, metadata: Mapping[str, bytes]) -> AsyncGenerator[Outcome, None]:
        """A call of each node that serves it; the outcomes as they come. What is not wanted any more is cancelled."""
        places, names = asyncio.Semaphore(AT_ONCE), await self._nodes()

        async def one(name: str) -> Outcome:
            async with places:
                return await self._call(value, metadata, name)

        calls = [asyncio.create_task(one(name)) for name in names]
        try:
            for done in asyncio.as_completed(calls):
                yield await done
        finally:
            for call in calls:
                call.cancel()
            await asyncio.wait(calls)

    async def _nodes(self) -> list[str]:
        """Who serves it, each by what it can be called by."""
        service = self._protocol.name
        with self._phases.phase("discover", f"who serves {service}"):
            rows: Any = await self._client.call("listServices", {"service": service})
        names = [row["nodeId"] or row["endpoint"] for row in rows]
        if not names:
            raise NoEndpointError(f"no node serves {service}")
        return list(dict.fromkeys(names))

    async def _call(self, value: Any, metadata: Mapping[str, bytes], to: str | None) -> Outcome:
        """A call of the node that is chosen, or of `to`."""
        for key, text in shown(metadata).items():
            self._phases.note(f"> {key}: {text}")
        params = self._codec.request.encode(self._form.params(self._message, value))
        wishes = {"policy": self._args.balance, "key": None, "to": to, "pin": self._args.pin, "hedge": None}
        request = {
            "protocol": self._protocol.text,
            "message": self._message.name,
            "params": params,
            "metadata": dict(metadata),
            "wishes": wishes,
        }
        try:
            answer: Any = await self._client.call("callRemote", request, timeout=self._where.max_time)
        except CallError as error:
            if error.code is not Code.DEADLINE_EXCEEDED:
                return Outcome(to or "", error=error)
            text = f"{self._protocol.name}.{self._message.name}: no answer within {self._where.max_time:g} s"
            return Outcome(to or "", error=CallError(error.code, text))
        for key, text in shown(answer["metadata"]).items():
            self._phases.note(f"< {key}: {text}")
        return self._outcome(answer, answer["node"] or to or "")

    def _outcome(self, answer: Mapping[str, Any], node: str) -> Outcome:
        if answer["failure"] is not None:
            return Outcome(node, error=_explained(failure_of(answer["failure"])))
        if answer["error"] is not None:
            index, start = read_long(answer["error"], 0)
            error, _ = self._codec.errors.read(index, answer["error"], start)
            if isinstance(error, DeclaredError):
                error = self._schemas.error(self._form, self._message, error)
            return Outcome(node, error=error)
        if answer["result"] is None:  # it is one-way
            return Outcome(node)
        result, _ = self._codec.decode(answer["result"], 0)
        return Outcome(node, self._schemas.json(self._form, self._message.response, result))


def open_remote(args: argparse.Namespace, where: Target, phases: Phases) -> Remote:
    """Through the target's node; or, if nobody was named and none runs here, from this command itself."""
    try:
        endpoint, _ = dial.find(where, NODE_SERVICE)
    except NoEndpointError as error:
        if not target.is_default(args) or isinstance(error, dial.NotServedError):
            raise
        say("no node runs here: looking for others from this command")
        return Remote(args, where, alone=True, phases=phases)
    return Remote(args, where.at(endpoint), alone=False, phases=phases)


@asynccontextmanager
async def _through(where: Target, phases: Phases) -> AsyncIterator[Client]:
    contract = Contract(find_protocol(NODE_SERVICE))
    endpoint = where.endpoints[0]
    settings = ChannelsConfig(connect_timeout=where.connect_timeout)
    channel = EndpointChannel(endpoint, contract, settings=settings)
    try:
        with phases.phase("dial", str(endpoint)):
            await channel.connect()
        yield Client(channel, contract, timeout=where.max_time)
    finally:
        await channel.close()


@asynccontextmanager
async def _alone() -> AsyncIterator[Client]:
    async with meshed.looking(0.0) as member:
        protocol = find_protocol(NODE_SERVICE)
        yield Client(Router({NODE_SERVICE: Server(protocol, member.service)}), protocol)


def _explained(error: CallError) -> SplnodeError:
    """What nobody has started is an endpoint that is missing, or a contract that fits none of them."""
    if error.started or error.code is not Code.UNAVAILABLE:
        return error
    if any("does not fit" in attempt and NOT_ASKED_FOR not in attempt for attempt in error.attempts):
        return CallError(Code.FAILED_PRECONDITION, error.message, attempts=error.attempts, started=False)
    return NoEndpointError("\n  ".join([error.message, *error.attempts]))


def _as_json(error: SplnodeError) -> dict[str, Any]:
    if isinstance(error, DeclaredError):
        return {"code": Code.UNKNOWN.name, "name": error.schema_name, "fields": dict(error.value)}
    if isinstance(error, CallError):
        return {"code": error.code.name, "message": _lines(error.message, error.attempts)}
    return {"code": Code.UNAVAILABLE.name, "message": str(error)}


def _lines(text: str, attempts: Sequence[str]) -> str:
    return "\n  ".join([text, *attempts])
