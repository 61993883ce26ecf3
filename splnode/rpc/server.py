"""An implementation bound to a Protocol: the Channel at which every call ends.

The only place that turns exceptions of handlers into what may leave: errors that the message declares and
CallErrors go out as they are; anything else is logged with an id and leaves as INTERNAL with that id, no
text and no class name.
"""

import asyncio
import inspect
import keyword
import types
import typing
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, TypeVar

from splnode.avro.protocol import Message, Protocol
from splnode.errors import CallError, DeclaredError, SchemaError
from splnode.limits import DEFAULT_LIMITS, Limits
from splnode.rpc.call import Call, running
from splnode.rpc.failure import internal
from splnode.rpc.inprocess import Bridge, carries_types
from splnode.rpc.interceptor import Interceptor, chain
from splnode.wire.message import Contract

F = TypeVar("F", bound=Callable[..., Any])
_BLOCKING: Final = "__splnode_blocking__"


def blocking(handler: F) -> F:
    """Marks a handler that is not async and may block: it runs in a thread, not in the event loop.

    A thread cannot be cancelled: past its deadline the caller is answered, the thread ends when it ends.
    """
    setattr(handler, _BLOCKING, True)
    return handler


class Server:
    """Serves `protocol` with `implementation`: any object with a method for each message.

    A method takes the message's parameters by name (a parameter named like a Python keyword gets a `_`
    behind it; `**kwargs` takes whatever is left), is async or not, and returns a value of the response:
    plain, or a msgspec.Struct. A parameter annotated with a Struct gets one. SchemaError lists each message
    that has no method that fits.

    `interceptors` see every call, the first outermost. `force_codec` sends calls in process through the
    codec too, to show that both ways answer alike.
    """

    def __init__(
        self,
        protocol: Protocol,
        implementation: object,
        *,
        interceptors: Sequence[Interceptor] = (),
        limits: Limits = DEFAULT_LIMITS,
        force_codec: bool = False,
    ) -> None:
        self.protocol = protocol
        self.implementation = implementation
        self._handlers, into = _bind(protocol, implementation)
        self.contract = Contract(protocol, into=into, limits=limits)
        self._entry = chain(interceptors, self._run)
        self._bridge = Bridge(self.contract, self._call, limits=limits, force_codec=force_codec)

    def call(self, call: Call) -> Coroutine[Any, Any, object]:
        """Runs the handler. A call in process is checked and copied first, and so is its answer."""
        return self._call(call) if call.checked else self._bridge.call(call)

    async def close(self) -> None:
        """Closes the implementation, if it has a `close` that is no message of the protocol."""
        close = getattr(self.implementation, "close", None)
        if close is not None and "close" not in self.protocol.messages:
            closing = close()
            if inspect.isawaitable(closing):
                await closing

    async def _call(self, call: Call) -> object:
        try:
            return await self._entry(call)
        except CallError as error:
            error.started = error.started and not error.remote
            if error.remote:
                raise internal(call, error) from error
            raise
        except DeclaredError:
            raise  # whether the message declares it shows when it is written
        except Exception as error:
            raise internal(call, error) from error

    async def _run(self, call: Call) -> object:
        handler = self._handlers[call.message.name]
        token = running.set(call)
        try:
            result = handler(**call.params)
            if type(result) is types.CoroutineType or hasattr(result, "__await__"):
                return await result
            return result
        finally:
            running.reset(token)


Handlers = dict[str, Callable[..., Any]]


def _bind(protocol: Protocol, implementation: object) -> tuple[Handlers, dict[str, dict[str, type]]]:
    """A callable and the types of its parameters for each message, or all that is wrong in one SchemaError."""
    handlers: Handlers = {}
    into: dict[str, dict[str, type]] = {}
    wrong: list[str] = []
    for name, message in protocol.messages.items():
        method = getattr(implementation, name + "_" * keyword.iskeyword(name), None)
        if not callable(method):
            wrong.append(f"message {name} has no method {name}{tuple(f.name for f in message.request.fields)}")
            continue
        takes = inspect.signature(method).parameters
        renamed = {
            f.name: f.name + "_" for f in message.request.fields if keyword.iskeyword(f.name) and f.name + "_" in takes
        }
        problem = _mismatch(message, takes, renamed)
        if problem:
            wrong.append(f"message {name}: {problem}")
            continue
        into[name] = _types(method, message, renamed)
        handlers[name] = _prepare(method, renamed)
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
    except (NameError, TypeError):
        return {}  # annotations that cannot be evaluated say nothing of Structs
    names = {field.name: renamed.get(field.name, field.name) for field in message.request.fields}
    return {name: hints[own] for name, own in names.items() if own in hints and carries_types(hints[own])}


def _prepare(method: Callable[..., Any], renamed: dict[str, str]) -> Callable[..., Any]:
    """The method as the hot path calls it: by the message's own names, in a thread where it blocks."""
    if getattr(method, _BLOCKING, False):
        in_loop = method

        def method(**params: Any) -> Any:
            return asyncio.to_thread(in_loop, **params)

    if not renamed:
        return method
    plain = method
    return lambda **params: plain(**{renamed.get(name, name): value for name, value in params.items()})
