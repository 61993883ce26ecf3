"""An implementation bound to a Protocol: the Channel at which every call ends.

The only place that turns exceptions of handlers into what may leave: errors that the message declares and
CallErrors go out as they are; anything else is logged with an id and leaves as INTERNAL with that id, no
text and no class name. What another node said of a call that the handler made is "anything else" too, but for its
deadline, which is this call's as well.

Whether a call was started is decided here and nowhere else: an error that comes out of a handler says yes, even if
the handler got it from a call of its own that was not.
"""

import asyncio
import inspect
import keyword
import types
import typing
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, TypeVar

import structlog

from splnode.avro.protocol import Message, Protocol
from splnode.errors import CallError, Code, DeclaredError, SchemaError
from splnode.limits import DEFAULT_LIMITS, Limits
from splnode.rpc.call import Call, running
from splnode.rpc.failure import again, internal
from splnode.rpc.inprocess import Bridge, carries_types
from splnode.rpc.interceptor import Interceptor, chain
from splnode.rpc.threads import THREADS, Threads
from splnode.wire.message import Contract

F = TypeVar("F", bound=Callable[..., Any])
_BLOCKING: Final = "__splnode_blocking__"
CLOSE_SECONDS: Final = 5.0
"""Seconds that an implementation has for its `close`."""

log = structlog.get_logger("splnode.rpc")


def blocking(handler: F) -> F:
    """Marks a handler that is not async and may block: it runs in a thread, not in the event loop.

    A thread cannot be cancelled: past its deadline the caller is answered and the place of the call is free, the
    thread ends when it ends (`rpc.threads` says how many there are). TypeError for an async handler.
    """
    if inspect.iscoroutinefunction(handler):
        raise TypeError(f"{handler.__qualname__} is async: it runs in the event loop, where it must not block")
    setattr(handler, _BLOCKING, True)
    return handler


class Server:
    """Serves `protocol` with `implementation`: any object with a method for each message.

    A method takes the message's parameters by name (a parameter named like a Python keyword gets a `_`
    behind it; `**kwargs` takes whatever is left), is async or not, and returns a value of the response:
    plain, or a msgspec.Struct. A parameter annotated with a Struct gets one. SchemaError lists each message
    that has no method that fits.

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
        self._handlers, into = _bind(protocol, implementation, self._threads)
        self.contract = Contract(protocol, into=into, limits=limits)
        self._entry = chain(interceptors, self._run)
        self._bridge = Bridge(self.contract, self._call, limits=limits, force_codec=force_codec)

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

    async def _call(self, call: Call) -> object:
        try:
            return await self._entry(call)
        except CallError as error:
            if error.remote:
                raise _said_elsewhere(call, error) from error
            if call.begun and not error.started:
                raise again(error, started=True) from error
            raise
        except DeclaredError:
            raise  # whether the message declares it shows when it is written
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise internal(call, error) from error  # nobody has cancelled this call: it came out of the handler
        except (Exception, SystemExit) as error:  # a handler that exits ends its own call, not the node
            raise internal(call, error) from error

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


def _said_elsewhere(call: Call, error: CallError) -> CallError:
    """What may be told of an error that another node gave to the handler: nothing, but that time is over."""
    return call.expired() if error.code is Code.DEADLINE_EXCEEDED else internal(call, error)


Handlers = dict[str, Callable[..., Any]]


def _bind(protocol: Protocol, implementation: object, threads: Threads) -> tuple[Handlers, dict[str, dict[str, type]]]:
    """A callable and the types of its parameters for each message, or all that is wrong in one SchemaError."""
    handlers: Handlers = {}
    into: dict[str, dict[str, type]] = {}
    wrong: list[str] = []
    for name, message in protocol.messages.items():
        method = getattr(implementation, name + "_" * keyword.iskeyword(name), None)
        if not callable(method):
            wrong.append(f"message {name} has no method {name}{tuple(f.name for f in message.request.fields)}")
            continue
        try:
            takes = inspect.signature(method).parameters
        except (TypeError, ValueError):
            wrong.append(f"message {name}: its method does not tell its parameters (it is written in C?)")
            continue
        renamed = {
            f.name: f.name + "_" for f in message.request.fields if keyword.iskeyword(f.name) and f.name + "_" in takes
        }
        problem = _mismatch(message, takes, renamed)
        if problem:
            wrong.append(f"message {name}: {problem}")
            continue
        into[name] = _types(method, message, renamed)
        handlers[name] = _prepare(method, renamed, threads)
    if wrong:
        raise SchemaError(wrong, f"{type(implementation).__name__} does not serve {protocol.name}")
    return handlers, into


def _mismatch(message: Message, has: Mapping[str, inspect.Parameter], renamed: dict[str, str]) -> str:
    wanted = {renamed.get(field.name, field.name) for field in message.request.fields}
    if any(p.kind is p.VAR_KEYWORD for p in has.values()):
        missing: set[str] = set()
    else:
        missing = {w for w in wanted if w not in has or has[w].kind is inspect.Parameter.POSITIONAL_ONLY}
    optional = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    extra = [n for n, p in has.items() if n not in wanted and p.default is p.empty and p.kind not in optional]
    said = [f"its method takes no {name!r}" for name in sorted(missing)]
    said += [f"its method wants {name!r}, which the message does not have" for name in extra]
    return ", ".join(said)


def _types(method: Callable[..., Any], message: Message, renamed: dict[str, str]) -> dict[str, type]:
    try:
        hints = typing.get_type_hints(method)
    except (AttributeError, NameError, SyntaxError, TypeError):
        return {}  # annotations that cannot be evaluated say nothing of Structs
    names = {field.name: renamed.get(field.name, field.name) for field in message.request.fields}
    return {name: hints[own] for name, own in names.items() if own in hints and carries_types(hints[own])}


def _prepare(method: Callable[..., Any], renamed: dict[str, str], threads: Threads) -> Callable[..., Any]:
    """The method as the hot path calls it: by the message's own names, in a thread where it blocks."""
    if renamed:
        plain = method

        def handler(**params: Any) -> Any:
            return plain(**{renamed.get(name, name): value for name, value in params.items()})
    else:
        handler = method
    if getattr(method, _BLOCKING, False):
        return lambda **params: threads.run(handler, params)
    return handler
