"""One message of a client as a function: `await client.reserve(sku="A1", count=2)`.

The native engine's `Method` puts the parameters into the pipeline of an open connection as they stand in the call,
and gives an awaitable of its own. The plain one here makes a Call and sends it through the channel; so does the
native one where no line is open.
"""

import time
import typing
from collections.abc import Coroutine, Mapping
from typing import Any

from splnode.avro.protocol import Message
from splnode.rpc import call as calls
from splnode.rpc.call import LONGEST, Call, terms_for
from splnode.rpc.interceptor import Proceed
from splnode.rpc.naming import by_position
from splnode.wire.engine import native_engine
from splnode.wire.message import Contract
from splnode.wire.track import Track, make_track


class Method(typing.Protocol):
    """Calls a message with its parameters by position or by name; TypeError, when awaited, where they do not fit."""

    def __call__(self, *args: Any, **params: Any) -> Coroutine[Any, Any, Any]:
        """The call, to be awaited once. Nothing is done before."""
        ...

    def call(
        self, params: Mapping[str, Any], timeout: float | None, metadata: Mapping[str, bytes] | None, /
    ) -> Coroutine[Any, Any, Any]:
        """The same with parameters by name in a mapping; a timeout of None is the client's."""
        ...


def make_method(track: Track | None, contract: Contract, message: Message, proceed: Proceed, timeout: float) -> Method:
    """The method of a message, over the lines of `track` where the engine can use it; else by `proceed`.

    `timeout` in seconds is what a call gets that names none.
    """
    plain = _Plain(contract, message, proceed, timeout)
    native = native_engine()
    if native is None:
        return plain

    async def function(*args: Any, **params: Any) -> Any:
        return await method.call(plain.by_name(args, params), None, None)

    method: Method = native.Method(
        track=make_track() if track is None else track,
        contract=contract,
        name=message.name,
        doc=message.doc,
        parameters=plain.names,
        function=function,
        blank=Call(contract, message, {}, 0.0),
        proceed=proceed,
        running=calls.running,
        limit=calls._limit,
        inherit=terms_for,
        clock=time.monotonic,
        timeout=timeout,
        longest=LONGEST,
    )
    return method


class _Plain:
    """A method that makes a Call and sends it through the channel."""

    def __init__(self, contract: Contract, message: Message, proceed: Proceed, timeout: float) -> None:
        self.__name__ = self.__qualname__ = message.name
        self.__doc__ = message.doc
        self.names = tuple(field.name for field in message.request.fields)
        self._contract = contract
        self._message = message
        self._proceed = proceed
        self._timeout = timeout

    def __repr__(self) -> str:
        return f"<method {self.__name__} of a client>"

    async def __call__(self, *args: Any, **params: Any) -> Any:
        return await self._general(self.by_name(args, params), self._timeout, None)

    async def call(
        self, params: Mapping[str, Any], timeout: float | None, metadata: Mapping[str, bytes] | None, /
    ) -> Any:
        return await self._general(params, self._timeout if timeout is None else timeout, metadata)

    def _general(
        self, params: Mapping[str, Any], timeout: float, metadata: Mapping[str, bytes] | None
    ) -> Coroutine[Any, Any, object]:
        return self._proceed(Call(self._contract, self._message, params, *terms_for(timeout, metadata)))

    def by_name(self, args: tuple[Any, ...], params: dict[str, Any]) -> dict[str, Any]:
        """The parameters. TypeError where they do not fit."""
        return by_position(self.__name__, self.names, args, params) if args else params
