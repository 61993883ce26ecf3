"""A call that stays in its process: no bytes, but the checks, the copies and the errors of the wire.

The caller's values are copied and checked against its own schema and resolved to the server's, as if they
had been sent; the answer comes back the same way. So a handler cannot change what its caller holds, and a
test over this passes over TCP.

The handler runs in its caller's task: cancelling one cancels the other, and nothing is scheduled. The price is that a
handler which swallows its cancelling holds its caller until it returns; the answer is then still DEADLINE_EXCEEDED.

Where nothing but the node's admission stands before a handler, it is called right here, and what it awaits only if it
really waits (`wire.local`): each coroutine between two awaits costs as much as a check of the values.
"""

import enum
import typing
from collections.abc import Callable, Coroutine, Mapping
from time import monotonic
from typing import Any

import msgspec

from splnode.avro.codec import conformer, decoder, encoder
from splnode.avro.protocol import Message
from splnode.avro.schema import Schema
from splnode.errors import CallError, Code, DataError, DeclaredError, SchemaError
from splnode.limits import Limits
from splnode.rpc.call import Call, running
from splnode.rpc.failure import internal
from splnode.rpc.handler import is_cancelled, tell
from splnode.rpc.tally import Tally
from splnode.rpc.timeouts import Timeouts, rest
from splnode.wire.local import FAILED, FULL, LATE, NOT_BEGUN, UNFIT, Local, Odd, local
from splnode.wire.message import Contract
from splnode.wire.places import Places
from splnode.wire.primitive import read_long

Copy = Callable[[object], object]


class Ready:
    """A handler that nothing but the admission stands before: its places are the `gate`.

    `function` takes a message's parameters.
    """

    __slots__ = ("function", "gate", "tally")

    def __init__(self, function: Callable[..., Any], gate: Places | None, tally: Tally) -> None:
        self.function = function
        self.gate = gate
        self.tally = tally


class Bridge:
    """Brings calls of other contracts of this process to the server of `contract`.

    `proceed` runs any call; `ready` has the handlers, by message, of those that need not go through it.
    """

    def __init__(
        self,
        contract: Contract,
        proceed: Callable[[Call], Coroutine[Any, Any, object]],
        ready: Mapping[str, Ready],
        *,
        limits: Limits,
        force_codec: bool,
    ) -> None:
        self._contract = contract
        self._proceed = proceed
        self._ready = ready
        self._limits = limits
        self._force_codec = force_codec
        self._routes: dict[Contract, dict[str, Callable[[Call], Coroutine[Any, Any, object]]]] = {}
        self._timeouts = Timeouts()

    def call(self, call: Call) -> Coroutine[Any, Any, object]:
        """Carries one unchecked call. EncodeError means that its parameters do not fit: nothing has run."""
        try:
            carry = self._routes[call.contract][call.message.name]
        except KeyError:
            carry = self._route(call)
        return carry(call)

    def _route(self, call: Call) -> Callable[[Call], Coroutine[Any, Any, object]]:
        routes = self._routes.get(call.contract)
        if routes is None:
            if len(self._routes) >= self._limits.client_protocols:
                self._routes.clear()  # contracts are few in a process: more than that is churn
            routes = self._routes[call.contract] = {}
        name = call.message.name
        copy = _through_codec if self._force_codec else conformer
        route = _Route(call, self._contract, self._proceed, self._ready.get(name), copy, self._limits, self._timeouts)
        routes[name] = route.call
        return route.call


class _Route:
    """One message of one caller's contract to the same message of the server's."""

    def __init__(
        self,
        call: Call,
        server: Contract,
        proceed: Callable[[Call], Coroutine[Any, Any, object]],
        ready: Ready | None,
        copy: Callable[..., Copy],
        limits: Limits,
        timeouts: Timeouts,
    ) -> None:
        self._proceed = proceed
        self._tally = None if ready is None else ready.tally
        self._copy = copy
        self._limits = limits
        self._timeouts = timeouts
        self._server = server
        self._message = self._find(call)
        into = server.into.get(call.message.name)
        self._params = self._resolve(call, call.message.request, self._message.request, into)
        result = call.contract.results.get(call.message.name)
        self._result = self._resolve(call, self._message.response, call.message.response, result)
        self._errors = call.contract.error_reader(call.message, self._message)
        self._run = None if ready is None else self._near(ready).run
        self.call: Callable[[Call], Coroutine[Any, Any, object]] = self._whole if self._run is None else self._quick

    async def _quick(self, call: Call) -> object:
        """What needs no waiting; the rest goes on as it is."""
        given = self._run(call)  # type: ignore[misc]  # it is this method only where there is one
        return given if type(given) is not Odd else await self._go_on(call, given)

    async def _whole(self, call: Call) -> object:
        """A call that goes through interceptors."""
        params = typing.cast("dict[str, Any]", self._params(call.params))
        if call.remaining <= 0:
            raise call.expired(started=False)
        served = Call(self._server, self._message, params, call.deadline, call.metadata, call.peer, True)
        return await self._answer(call, served, self._proceed(served))

    async def _go_on(self, call: Call, odd: Odd) -> object:
        if odd.what == LATE:
            raise call.expired(started=False)
        served = typing.cast("Call", odd.call)
        if odd.what == UNFIT:
            if isinstance(odd.value, DataError):
                raise internal(served, odd.value) from odd.value
            raise odd.value
        work = self._proceed(served) if odd.what == FULL else _finish(odd, typing.cast("Tally", self._tally))
        return await self._answer(call, served, work)

    async def _answer(self, call: Call, served: Call, work: Coroutine[Any, Any, object]) -> object:
        try:
            result = await self._timeouts.run(work, call.deadline)
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

    def _near(self, ready: Ready) -> Local:
        return local(
            Call(self._server, self._message, {}, 0.0, checked=True),
            running=running,
            clock=monotonic,
            params=self._params,
            result=None if self._message.one_way else self._result,
            function=ready.function,
            gate=ready.gate,
            counts=ready.tally.counts,
        )

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


async def _finish(odd: Odd, tally: Tally) -> object:
    """What a handler gives that waits, or what may be told of its error; both are counted."""
    served = typing.cast("Call", odd.call)
    try:
        result = await _begun(odd)
    except BaseException as error:
        told = tell(served, error, asked=is_cancelled())
        (tally.ended if odd.what == FAILED else tally.end)(monotonic() - odd.began, told)
        if told is error:
            raise
        raise told from error
    finally:
        served.ended = True
        if odd.gate is not None:
            odd.gate.leave()
    tally.end(monotonic() - odd.began)
    return result


async def _begun(odd: Odd) -> object:
    if odd.what == FAILED:
        raise odd.value
    token = running.set(typing.cast("Call", odd.call))
    try:
        return await (odd.value if odd.first is NOT_BEGUN else rest(odd.value, odd.first))
    finally:
        running.reset(token)


def carries_types(annotation: object) -> bool:
    """True for an annotation that asks for more than plain values: a Struct or an Enum, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, (msgspec.Struct, enum.Enum)):
        return True
    return any(carries_types(argument) for argument in typing.get_args(annotation))


def _through_codec(writer: Schema, reader: Schema, *, into: Any, limits: Limits) -> Copy:
    encode = encoder(writer, limits=limits).encode
    decode = decoder(writer, reader, into=into, limits=limits).decode
    return lambda value: decode(encode(value))[0]
