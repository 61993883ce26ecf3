"""`splnode call` of several nodes at a time (--all, --first), or from a host where no node runs.

Each call is passed on by the node of this host, as in `remote`. Where there is none, and none was named, this command
looks for nodes itself and calls them.
"""

import argparse
import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any, Final

from splnode.avro.protocol import Protocol, find_protocol
from splnode.cli import dial, meshed, output
from splnode.cli.failure import NoEndpointError, exit_code
from splnode.cli.passed import Outcome, Passed, not_found
from splnode.cli.phases import Phases
from splnode.cli.target import Target
from splnode.config import ChannelsConfig
from splnode.errors import CallError, Code, DeclaredError, SplnodeError
from splnode.net.channel import EndpointChannel
from splnode.rpc.client import Client
from splnode.rpc.interceptor import Beside
from splnode.rpc.router import Router
from splnode.rpc.server import Server
from splnode.wire.message import Contract

AT_ONCE: Final = 64
"""Nodes that one command calls at the same time."""


class Many:
    """One message, called again and again. `close` it. NoEndpointError if nobody serves it.

    `where` is the endpoint of a node; `alone`: there is none, and nodes are looked for from here.
    """

    def __init__(self, args: argparse.Namespace, where: Target, *, alone: bool, phases: Phases) -> None:
        self._args, self._phases = args, phases
        self._max_time = where.max_time
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        try:
            own, self._beside = ({}, where.token.alone) if alone else where.token.passing(where.endpoints[0])
            looking = (
                None if args.all else 0.0
            )  # whoever calls all has to have heard all; one is waited for as it is called
            entry = _alone(where, looking) if alone else _through(where, phases, own)
            self._client = self._runner.run(self._stack.enter_async_context(entry))
            self._passed = Passed(args, where, self._runner.run(self._speak()), phases)
        except BaseException:
            self.close()
            raise

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

    async def _speak(self) -> Protocol:
        """The protocol to speak: the one given, or that of those who serve it."""
        if self._args.protocol:
            return dial.load_protocol(self._args.protocol)
        service, _ = dial.split_name(self._args.message)
        with self._phases.phase("discover", service):
            try:
                text = await self._client.call("findProtocol", {"service": service})
            except DeclaredError as error:
                raise not_found(error) from None
        return Protocol.parse(str(text), referee=False)

    async def _one(self, value: Any, metadata: Mapping[str, bytes]) -> Outcome:
        with self._phases.phase("call", self._passed.name):
            return await self._call(value, metadata, self._args.node)

    async def _first(self, value: Any, metadata: Mapping[str, bytes]) -> Outcome:
        failed: list[Outcome] = []
        async with aclosing(self._calls(value, metadata)) as outcomes:
            async for outcome in outcomes:
                if outcome.answered:
                    return outcome
                failed.append(outcome)
        text = f"none of the {len(failed)} nodes of {self._passed.protocol.name} has answered"
        told = [f"{each.node}: {each.error}" for each in failed]
        calls = [each.error for each in failed if isinstance(each.error, CallError)]
        if not calls:
            return Outcome("", error=NoEndpointError("\n  ".join([text, *told])))
        worst = max(calls, key=exit_code)
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
        """Who serves it, each by what it can be called by; with --to NODE that one alone."""
        service = self._passed.protocol.name
        if self._args.node:
            return [self._args.node]
        with self._phases.phase("discover", f"who serves {service}"):
            rows: Any = await self._client.call("listServices", {"service": service})
        names = [row["nodeId"] or row["endpoint"] for row in rows]
        if not names:
            raise NoEndpointError(f"no node serves {service}")
        return list(dict.fromkeys(names))

    async def _call(self, value: Any, metadata: Mapping[str, bytes], to: str | None) -> Outcome:
        request = self._passed.request(value, {**self._beside, **metadata}, to)
        try:
            answer: Any = await self._client.call("callRemote", request, timeout=self._max_time)
        except CallError as error:
            return self._passed.failed(error, to)
        return self._passed.outcome(answer, to)


@asynccontextmanager
async def _through(where: Target, phases: Phases, metadata: Mapping[str, bytes]) -> AsyncIterator[Client]:
    contract = Contract(find_protocol(dial.NODE))
    endpoint = where.endpoints[0]
    settings = ChannelsConfig(connect_timeout=where.connect_timeout)
    channel = EndpointChannel(endpoint, contract, settings=settings, tls=where.tls)
    try:
        with phases.phase("dial", str(endpoint)):
            await channel.connect()
        yield Client(channel, contract, timeout=where.max_time, interceptors=(Beside(metadata),) if metadata else ())
    finally:
        await channel.close()


@asynccontextmanager
async def _alone(where: Target, seconds: float | None) -> AsyncIterator[Client]:
    async with meshed.looking(seconds, where.tls) as member:
        protocol = find_protocol(dial.NODE)
        yield Client(Router({dial.NODE: Server(protocol, member.service)}), protocol)


def _as_json(error: SplnodeError) -> dict[str, Any]:
    if isinstance(error, DeclaredError):
        return {"code": Code.UNKNOWN.name, "name": error.schema_name, "fields": dict(error.value)}
    if isinstance(error, CallError):
        return {"code": error.code.name, "message": "\n  ".join([error.message, *error.attempts])}
    return {"code": Code.UNAVAILABLE.name, "message": str(error)}
