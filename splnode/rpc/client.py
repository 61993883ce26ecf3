"""A typed caller: a Channel, a Protocol, and one awaitable method for each message.

inventory = Client(channel, protocol)
await inventory.reserve(sku="A1", count=2)
await inventory.call("reserve", {"sku": "A1", "count": 2}, timeout=0.5)
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from splnode.avro.protocol import Message, Protocol
from splnode.errors import CallError
from splnode.identity import AUTHORIZATION_KEY
from splnode.rpc.call import DEFAULT_TIMEOUT, Call, deadline_for, inherited_metadata
from splnode.rpc.channel import Channel, track_of
from splnode.rpc.interceptor import Interceptor, chain
from splnode.rpc.method import Method, make_method
from splnode.rpc.naming import find_message, message_of
from splnode.rpc.route import ANY, Route
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
        self._track = None if interceptors else track_of(channel, self.contract)
        self._methods: dict[str, Method] = {}

    @property
    def protocol(self) -> Protocol:
        """The protocol that is spoken."""
        return self.contract.protocol

    def call(
        self,
        message: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, bytes] | None = None,
        route: Route = ANY,
    ) -> Coroutine[Any, Any, object]:
        """Calls `message` with `params` by name; `timeout` in seconds (by default the client's).

        `route` says where the call wants to go among the nodes that serve this; a channel to one place has no choice.
        """
        if route is not ANY or (metadata and AUTHORIZATION_KEY in metadata):  # the channel looks where that would go
            return self._routed(message, params, timeout, metadata, route)
        method = self._methods.get(message)
        if method is None:
            try:
                method = self._method(find_message(self.contract.protocol, message))
            except CallError as error:
                return _refused(error)
        return method.call(params or {}, timeout, metadata)

    def prepare(
        self,
        message: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, bytes] | None = None,
        route: Route = ANY,
    ) -> Call:
        """The Call that `call` would make, for those who want its `answer_metadata` too: give it to `send`."""
        found = find_message(self.contract.protocol, message)
        until = deadline_for(self._timeout if timeout is None else timeout)
        return Call(self.contract, found, params or {}, until, inherited_metadata(metadata), route=route)

    def send(self, call: Call) -> Coroutine[Any, Any, object]:
        """Carries a Call made by `prepare`, once."""
        return self._proceed(call)

    async def _routed(
        self,
        message: str,
        params: Mapping[str, Any] | None,
        timeout: float | None,
        metadata: Mapping[str, bytes] | None,
        route: Route,
    ) -> object:
        return await self.send(self.prepare(message, params, timeout=timeout, metadata=metadata, route=route))

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        if name.startswith("__"):  # asked of objects that are not made yet
            raise AttributeError(name)
        method = self._method(message_of(self.contract.protocol, name))
        self.__dict__[name] = method  # the next look-up does not come here
        return method

    def _method(self, message: Message) -> Method:
        method = self._methods.get(message.name)
        if method is None:
            method = make_method(self._track, self.contract, message, self._proceed, self._timeout)
            self._methods[message.name] = method
        return method


async def _refused(error: CallError) -> object:
    raise error
