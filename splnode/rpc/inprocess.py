"""A call that stays in its process: no bytes, but the checks, the copies and the errors of the wire.

The caller's values are copied and checked against its own schema and resolved to the server's, as if they
had been sent; the answer comes back the same way. So a handler cannot change what its caller holds, and a
test over this passes over TCP.

The handler runs in its caller's task: cancelling one cancels the other, and nothing is scheduled. The price is that a
handler which swallows its cancelling holds its caller until it returns; the answer is then still DEADLINE_EXCEEDED.
"""

import enum
import typing
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from splnode.avro.codec import conformer, decoder, encoder
from splnode.avro.protocol import Message
from splnode.avro.schema import Schema
from splnode.errors import CallError, Code, DataError, DeclaredError, SchemaError
from splnode.limits import Limits
from splnode.rpc.call import Call
from splnode.rpc.failure import internal
from splnode.rpc.timeouts import Timeouts
from splnode.wire.message import Contract, ErrorReader
from splnode.wire.primitive import read_long

Copy = Callable[[object], object]


class Bridge:
    """Brings calls of other contracts of this process to the server of `contract`."""

    def __init__(
        self, contract: Contract, proceed: Callable[[Call], Awaitable[object]], *, limits: Limits, force_codec: bool
    ) -> None:
        self._contract = contract
        self._proceed = proceed
        self._limits = limits
        self._force_codec = force_codec
        self._routes: dict[tuple[Contract, str], _Route] = {}
        self._timeouts = Timeouts()

    async def call(self, call: Call) -> object:
        """Carries one unchecked call. EncodeError means that its parameters do not fit: nothing has run."""
        key = (call.contract, call.message.name)
        route = self._routes.get(key)
        if route is None:
            if len(self._routes) >= self._limits.client_protocols:
                self._routes.clear()  # contracts are few in a process: more than that is churn
            route = _Route(call, self._contract, self._limits, self._force_codec, self._timeouts)
            self._routes[key] = route
        return await route.call(call, self._proceed)


class _Route:
    """One message of one caller's contract to the same message of the server's."""

    def __init__(self, call: Call, server: Contract, limits: Limits, force_codec: bool, timeouts: Timeouts) -> None:
        self._limits = limits
        self._timeouts = timeouts
        self._copy = _through_codec if force_codec else conformer
        self._server = server
        self._message = self._find(call)
        into = server.into.get(call.message.name)
        self._params = self._resolve(call, call.message.request, self._message.request, into)
        result = call.contract.results.get(call.message.name)
        self._result = self._resolve(call, self._message.response, call.message.response, result)
        self._errors = ErrorReader(call.contract, call.message, self._message)

    async def call(self, call: Call, proceed: Callable[[Call], Awaitable[object]]) -> object:
        params = typing.cast("dict[str, Any]", self._params(call.params))
        if call.remaining <= 0:
            raise call.expired(started=False)
        served = Call(self._server, self._message, params, call.deadline, call.metadata, call.peer, checked=True)
        try:
            result = await self._timeouts.run(proceed(served), call.deadline)
        except TimeoutError:  # no handler's own: those are INTERNAL by now
            raise call.expired() from None
        except DeclaredError as error:
            raise self._declared(call, error) from None
        finally:
            call.answer_metadata = served.answer_metadata
        try:
            return None if self._message.one_way else self._result(result)
        except DataError as error:
            raise internal(served, error) from error

    def _find(self, call: Call) -> Message:
        message = self._server.protocol.messages.get(call.message.name)
        if message is None:
            has = ", ".join(self._server.protocol.messages)
            text = f"{self._server.protocol.name} has no message {call.message.name!r}; it has {has}"
            raise CallError(Code.UNIMPLEMENTED, text, started=False)
        return message

    def _resolve(self, call: Call, writer: Schema, reader: Schema, into: Any) -> Copy:
        try:
            return self._copy(writer, reader, into=into, limits=self._limits)
        except SchemaError as error:
            raise CallError(Code.FAILED_PRECONDITION, f"{call.name}: {error}", started=False) from error

    def _declared(self, call: Call, error: DeclaredError) -> Exception:
        """The error as its caller knows it. Errors are rare: they take the codec's way, whose rules then hold."""
        try:
            data = self._server.error_writer(self._message).encode(error)
            index, start = read_long(data, 0)
            return self._errors.read(index, data, start)[0]
        except DataError as unfit:
            return internal(call, unfit)


def carries_types(annotation: object) -> bool:
    """True for an annotation that asks for more than plain values: a Struct or an Enum, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, (msgspec.Struct, enum.Enum)):
        return True
    return any(carries_types(argument) for argument in typing.get_args(annotation))


def _through_codec(writer: Schema, reader: Schema, *, into: Any, limits: Limits) -> Copy:
    encode = encoder(writer, limits=limits).encode
    decode = decoder(writer, reader, into=into, limits=limits).decode
    return lambda value: decode(encode(value))[0]
