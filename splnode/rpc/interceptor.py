"""What stands between a call and its handler: admission, metrics, authorisation, one's own.

An interceptor is an async callable `(call, proceed) -> response`. It may look, change the call, answer by
itself, raise, or `return await proceed(call)`. The first of a list is the outermost.
"""

import typing
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from splnode.rpc.call import Call

Proceed = Callable[[Call], Coroutine[Any, Any, object]]


class Interceptor(typing.Protocol):
    """Sees every call of the server or client it was given to, in process and from the wire alike."""

    def __call__(self, call: Call, proceed: Proceed) -> Coroutine[Any, Any, object]:
        """Handles `call`, as a rule by `return await proceed(call)`."""
        ...


class Beside:
    """An interceptor of a client: its calls have this metadata, where they have none of those keys themselves."""

    def __init__(self, metadata: Mapping[str, bytes]) -> None:
        self._metadata = metadata

    def __call__(self, call: Call, proceed: Proceed) -> Coroutine[Any, Any, object]:
        """Puts it beside the call."""
        call.metadata = {**self._metadata, **call.metadata}
        return proceed(call)


def chain(interceptors: Sequence[Interceptor], innermost: Proceed) -> Proceed:
    """One callable that goes through all `interceptors` in order and ends in `innermost`."""
    proceed = innermost
    for interceptor in reversed(interceptors):
        proceed = _link(interceptor, proceed)
    return proceed


def _link(interceptor: Interceptor, proceed: Proceed) -> Proceed:
    def step(call: Call) -> Coroutine[Any, Any, object]:
        return interceptor(call, proceed)

    return step
