"""A typed caller: a Channel, a Protocol, and one awaitable method for each message.

inventory = Client(channel, protocol)
await inventory.reserve(sku="A1", count=2)
await inventory.call("reserve", {"sku": "A1", "count": 2}, timeout=0.5)
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

from splnode.avro.protocol import Message, Protocol
from splnode.rpc.call import DEFAULT_TIMEOUT, Call, deadline_for, inherited_metadata
from splnode.rpc.channel import Channel
from splnode.rpc.interceptor import Interceptor, chain
from splnode.rpc.naming import by_position, find_message, message_of
from splnode.wire.message import Contract


class Client:
    """Calls the messages of a contract over a channel, which it does not own: whoever opened it closes it.

    Every message is an attribute; one whose name is taken here (`call`, `protocol`, `contract`) or is a
    Python keyword is reached through `call`. Cancelling a call is safe and cancels it at the other end.

    Raises EncodeError or LimitExceeded (a parameter does not fit the schema, or is too large: nothing was sent),
    DeclaredError (what the protocol declares) and CallError (all the rest).
    """

    def __init__(
        self,
        channel: Channel,
        contract: Contract | Protocol,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        self.contract = contract if isinstance(contract, Contract) else Contract(contract)
        self._timeout = timeout
        self._proceed = chain(interceptors, channel.call)

    @property
    def protocol(self) -> Protocol:
        """The protocol that is spoken."""
        return self.contract.protocol

    async def call(
        self,
        message: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, bytes] | None = None,
    ) -> object:
        """Calls `message` with `params` by name; `timeout` in seconds (by default the client's)."""
        return await self._proceed(self.prepare(message, params, timeout=timeout, metadata=metadata))

    def prepare(
        self,
        message: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, bytes] | None = None,
    ) -> Call:
        """The Call that `call` would make, for those who want its `answer_metadata` too: give it to `send`."""
        found = find_message(self.contract.protocol, message)
        return self._prepared(found, params or {}, self._timeout if timeout is None else timeout, metadata)

    def _prepared(
        self, message: Message, params: Mapping[str, Any], timeout: float, metadata: Mapping[str, bytes] | None
    ) -> Call:
        return Call(self.contract, message, params, deadline_for(timeout), inherited_metadata(metadata))

    def send(self, call: Call) -> Coroutine[Any, Any, object]:
        """Carries a Call made by `prepare`, once."""
        return self._proceed(call)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        if name.startswith("__"):  # asked of objects that are not made yet
            raise AttributeError(name)
        bound = _method(self, message_of(self.contract.protocol, name))
        self.__dict__[name] = bound  # the next look-up does not come here
        return bound


def _method(client: Client, message: Message) -> Callable[..., Awaitable[Any]]:
    names = tuple(field.name for field in message.request.fields)
    prepared, proceed, timeout = client._prepared, client._proceed, client._timeout

    async def method(*args: Any, **params: Any) -> Any:
        if args:
            params = by_position(message.name, names, args, params)
        return await proceed(prepared(message, params, timeout, None))

    method.__name__, method.__doc__ = message.name, message.doc
    return method
