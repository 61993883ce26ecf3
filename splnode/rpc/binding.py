"""Which methods of an implementation serve the messages of a protocol, and how their parameters are named and typed."""

import inspect
import keyword
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from splnode.avro.protocol import Message, Protocol
from splnode.errors import SchemaError
from splnode.rpc.inprocess import carries_types

F = TypeVar("F", bound=Callable[..., Any])
_BLOCKING: Final = "__splnode_blocking__"


def blocking(handler: F) -> F:
    """Marks a handler that is not async and may block: it runs in a thread, not in the event loop.

    A thread cannot be cancelled: past its deadline the caller is answered and the place of the call is free, the
    thread ends when it ends (`rpc.threads` says how many there are). TypeError for an async handler.
    """
    if inspect.iscoroutinefunction(handler):
        raise TypeError(f"{handler.__qualname__} is async: it runs in the event loop, where it must not block")
    setattr(handler, _BLOCKING, True)
    return handler


class Bound:
    """The `method` of one message. It takes the parameters `fields` of the message by the names `names`.

    `types` are those that it wants for them, where they are more than plain values; `blocks` if it is marked so.
    """

    __slots__ = ("blocks", "fields", "method", "names", "types")

    def __init__(self, method: Callable[..., Any], message: Message, renamed: Mapping[str, str]) -> None:
        self.method = method
        self.fields = tuple(field.name for field in message.request.fields)
        self.names = tuple(renamed.get(name, name) for name in self.fields)
        self.types = _types(method, message, renamed)
        self.blocks = bool(getattr(method, _BLOCKING, False))

    def plain(self) -> Callable[..., Any]:
        """What calls the method by the message's own names."""
        if self.fields == self.names:
            return self.method
        method, names = self.method, dict(zip(self.fields, self.names, strict=True))
        return lambda **params: method(**{names[name]: value for name, value in params.items()})


def bind(protocol: Protocol, implementation: object) -> dict[str, Bound]:
    """The method of each message, or all that is wrong in one SchemaError."""
    bound: dict[str, Bound] = {}
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
        else:
            bound[name] = Bound(method, message, renamed)
    if wrong:
        raise SchemaError(wrong, f"{type(implementation).__name__} does not serve {protocol.name}")
    return bound


def _mismatch(message: Message, has: Mapping[str, inspect.Parameter], renamed: Mapping[str, str]) -> str:
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


def _types(method: Callable[..., Any], message: Message, renamed: Mapping[str, str]) -> dict[str, type]:
    try:
        hints = typing.get_type_hints(method)
    except (AttributeError, NameError, SyntaxError, TypeError):
        return {}  # annotations that cannot be evaluated say nothing of Structs
    names = {field.name: renamed.get(field.name, field.name) for field in message.request.fields}
    return {name: hints[own] for name, own in names.items() if own in hints and carries_types(hints[own])}
