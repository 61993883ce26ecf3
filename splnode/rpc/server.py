"""An implementation bound to a Protocol: the Channel at which every call ends."""

import asyncio
import inspect
import types
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

import structlog

from splnode.avro.protocol import Protocol
from splnode.errors import CallError
from splnode.limits import DEFAULT_LIMITS, Limits
from splnode.rpc.admission import Admission
from splnode.rpc.binding import Bound, bind, blocking
from splnode.rpc.call import Call, Peer, running
from splnode.rpc.failure import again
from splnode.rpc.handler import Inline, counted
from splnode.rpc.inprocess import Bridge, Ready
from splnode.rpc.interceptor import Interceptor, chain
from splnode.rpc.tally import Tally
from splnode.rpc.threads import THREADS, Threads
from splnode.wire.message import Contract, ServerCall
from splnode.wire.places import Places

__all__ = ["CLOSE_SECONDS", "Server", "blocking"]

CLOSE_SECONDS: Final = 5.0
"""Seconds that an implementation has for its `close`."""

log = structlog.get_logger("splnode.rpc")


class Server:
    """Serves `protocol` with `implementation`: any object with a method for each message.

    A method takes the message's parameters by name (a parameter named like a Python keyword gets a `_`
    behind it; `**kwargs` takes whatever is left), is async or not, and returns a value of the response:
    plain, or a msgspec.Struct. A parameter annotated with a Struct gets one. SchemaError lists each message
    that has no method that fits.

    A method that is not async holds the event loop while it runs. Where nothing but the node's own admission stands
    before it, it runs in the step that has read its request, in no task: there `asyncio.current_task()` is None, but
    tasks can be made. An async one begins in that step too, in a task that may have carried out others before. Each
    call has a context of its own. `tallies` counts the calls of each message, whichever way they came.

    `interceptors` see every call, the first outermost. `force_codec` sends calls in process through the
    codec too, to show that both ways answer alike. `threads` bounds the blocking handlers that run at a time.
    """

    def __init__(
        self,
        protocol: Protocol,
        implementation: object,
        *,
        interceptors: Sequence[Interceptor] = (),
        limits: Limits = DEFAULT_LIMITS,
        force_codec: bool = False,
        threads: int = THREADS,
    ) -> None:
        self.protocol = protocol
        self.implementation = implementation
        self._threads = Threads(protocol.name, threads)
        bound = bind(protocol, implementation)
        self._handlers = {name: self._handler(each) for name, each in bound.items()}
        self.contract = Contract(protocol, into={name: each.types for name, each in bound.items()}, limits=limits)
        self.tallies: Mapping[str, Tally] = {name: Tally() for name in protocol.messages}
        self._entry = chain(interceptors, self._run)
        only, gate = _only_gate(tuple(interceptors))
        self._inline = self._inlined(bound, gate) if only else {}
        ready = {
            name: Ready(self._handlers[name], gate, self.tallies[name])
            for name, each in bound.items()
            if only and not each.blocks
        }
        self._bridge = Bridge(self.contract, self._call, ready, limits=limits, force_codec=force_codec)

    def call(self, call: Call) -> Coroutine[Any, Any, object]:
        """Runs the handler. A call in process is checked and copied first, and so is its answer."""
        return self._call(call) if call.checked else self._bridge.call(call)

    async def close(self) -> None:
        """Closes the implementation, if it has a `close` that is no message of the protocol.

        One that fails, or takes more than CLOSE_SECONDS, is told to the log and keeps nothing else from closing.
        """
        self._threads.close()
        close = getattr(self.implementation, "close", None)
        if close is None or "close" in self.protocol.messages:
            return
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                closing = close()
                if inspect.isawaitable(closing):
                    await closing
        except Exception as error:
            log.error("service not closed", service=self.protocol.name, exc_info=error)

    def handler(self, codec: ServerCall, peer: Peer | None = None) -> Inline | None:
        """How the message may be run where its request was received; None where more stands before it: `call` it."""
        return self._inline.get(codec.message.name)

    def _handler(self, bound: Bound) -> Callable[..., Any]:
        function, threads = bound.plain(), self._threads
        return (lambda **params: threads.run(function, params)) if bound.blocks else function

    def _inlined(self, bound: Mapping[str, Bound], gate: Places | None) -> dict[str, Inline]:
        """Handlers that do not block, where nothing but the admission stands before them."""
        return {
            name: Inline(
                each.method, each.fields, each.names, gate, self.tallies[name], inspect.iscoroutinefunction(each.method)
            )
            for name, each in bound.items()
            if not each.blocks
        }

    async def _call(self, call: Call) -> object:
        return await counted(call, self.tallies[call.message.name], self._entry)

    async def _run(self, call: Call) -> object:
        handler = self._handlers[call.message.name]
        token = running.set(call)
        call.begun, call.ended = True, False
        try:
            result = handler(**call.params)
            if type(result) is types.CoroutineType or hasattr(result, "__await__"):
                return await result
            return result
        except CallError as error:
            if error.started:
                raise
            raise again(error, started=True) from error
        finally:
            call.ended = True
            running.reset(token)


def _only_gate(interceptors: tuple[Interceptor, ...]) -> tuple[bool, Places | None]:
    """Whether nothing but an admission stands before the handlers, and its places, if there is any."""
    if not interceptors:
        return True, None
    first = interceptors[0]
    if len(interceptors) > 1 or type(first) is not Admission:
        return False, None
    return True, first.places
