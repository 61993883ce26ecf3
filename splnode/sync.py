"""A client that blocks, for scripts: the calls of `splnode.connect` without `await`.

    with splnode.sync.connect("tcp://127.0.0.1:9090", "SPLDataService") as data:
        data.read(topic="users")

It makes no event loop and no thread, and imports neither.
"""

import os
from _thread import get_ident
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from splnode.avro.protocol import Message, Protocol, ProtocolLike, find_protocol
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code, DeclaredError, LocalWireError
from splnode.identity import bearer
from splnode.limits import DEFAULT_LIMITS, Limits
from splnode.net.blocking import channel_to
from splnode.net.carrier import Carrier
from splnode.net.securing import Securing
from splnode.net.stream import CONNECT_TIMEOUT
from splnode.rpc.call import DEFAULT_TIMEOUT, NO_METADATA, Call, deadline_for, inherited_metadata
from splnode.rpc.naming import by_position, find_message, message_of
from splnode.wire.message import Contract


class _Process:
    """Counts the forks that led to this process: who remembers another number comes from the parent."""

    forks = 0

    @classmethod
    def forked(cls) -> None:
        cls.forks += 1


os.register_at_fork(after_in_child=_Process.forked)


class Client:
    """Calls the messages of a protocol, one at a time, and waits for each answer. `connect` makes it.

    Every message is a method; one whose name is taken here (`call`, `close`, `contract`, `prepare`, `protocol`,
    `send`) or is a Python keyword is reached through `call`. The calls of several threads go one after another; who
    waits its turn does so until its own deadline. A call inside of a signal handler that interrupted one, and any call
    in a process that was forked off, is refused with LocalWireError: there, connect anew.

    Raises EncodeError or LimitExceeded (a parameter does not fit the schema, or is too large: nothing was sent),
    DeclaredError (what the protocol declares) and CallError (all the rest). Ctrl-C in the middle of a call closes the
    connection, which cancels the call at the other end; the client may be used on.
    """

    def __init__(
        self,
        channel: Carrier,
        contract: Contract,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        metadata: Mapping[str, bytes] = NO_METADATA,
    ) -> None:
        self.contract = contract
        self._metadata = metadata  # of every call
        self._channel = channel
        self._timeout = timeout
        self._lock, self._line = channel.lock, channel.line
        self._forks = _Process.forks

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
    ) -> Any:
        """Calls `message` with `params` by name; `timeout` in seconds (by default the client's)."""
        return self.send(self.prepare(message, params, timeout=timeout, metadata=metadata))

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
        deadline = deadline_for(self._timeout if timeout is None else timeout)
        if self._metadata:
            metadata = {**self._metadata, **(metadata or NO_METADATA)}
        return Call(self.contract, found, params or {}, deadline, inherited_metadata(metadata))

    def send(self, call: Call) -> Any:
        """Carries a Call made by `prepare`, once."""
        if self._forks != _Process.forks:
            raise LocalWireError("this client was connected before the process was forked: connect anew in the child")
        lock = self._lock
        if lock.locked():
            return self._send_in_turn(call)
        with lock:
            self._line.owner = get_ident()
            return self._channel.call(call)

    def close(self) -> None:
        """Closes the connection; a later call connects again. A call of another thread ends first."""
        if self._forks != _Process.forks:
            self._channel.close()  # this process's copy of the socket
        elif self._lock.locked() and self._line.owner == get_ident():
            raise LocalWireError("close() inside of a call of the same thread")
        else:
            with self._lock:
                self._channel.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):  # asked of objects that are not made yet
            raise AttributeError(name)
        method = self.__dict__[name] = _method(self, message_of(self.contract.protocol, name))
        return method  # the next look-up does not come here

    def _send_in_turn(self, call: Call) -> Any:
        if self._line.owner == get_ident():
            raise LocalWireError(f"{call.name}: this thread is in the middle of another call of the same client")
        if not self._lock.acquire(timeout=max(0.0, call.remaining)):
            text = f"{call.name}: not sent before the deadline: another thread's call was under way"
            raise CallError(Code.DEADLINE_EXCEEDED, text, started=False)
        try:
            self._line.owner = get_ident()
            return self._channel.call(call)
        finally:
            self._lock.release()


def _method(client: Client, message: Message) -> Callable[..., Any]:
    names = tuple(field.name for field in message.request.fields)
    contract, timeout, send = client.contract, client._timeout, client.send

    def method(*args: Any, **params: Any) -> Any:
        if args:
            params = by_position(message.name, names, args, params)
        return send(Call(contract, message, params, deadline_for(timeout), inherited_metadata(client._metadata)))

    method.__name__, method.__doc__ = message.name, message.doc
    if client._metadata:
        return method
    return client._channel.method(message, timeout, method)


@contextmanager
def connect(  # noqa: PLR0913 - what a script may want to say, each by its name
    endpoint: str | Endpoint,
    protocol: ProtocolLike,
    *,
    timeout: float = DEFAULT_TIMEOUT,
    results: Mapping[str, type] | None = None,
    errors: Sequence[type[DeclaredError]] = (),
    connect_timeout: float = CONNECT_TIMEOUT,
    limits: Limits = DEFAULT_LIMITS,
    tls: Securing | None = None,
    token: str | None = None,
    login: tuple[str, str] | None = None,
) -> Iterator[Client]:
    """A Client of `protocol` (a Protocol, the path of an `.avpr` file, or the name of a protocol that is shipped) at
    `endpoint`.

    `timeout` in seconds is what each call gets that names none. `results` gives the msgspec.Struct for a message's
    response, `errors` the classes to raise for declared errors. `tls` is what a `tls://` endpoint is shown and must
    show (`splnode.Tls`; without it the authorities of the system are believed). `token` goes with each call, but over
    no plain link between hosts (CallError(UNAUTHENTICATED), and nothing was sent). `login`: see `splnode.connect`.
    Connects on entering, within `connect_timeout` seconds, so that CallError(UNAVAILABLE) comes from here; connects
    again by itself; closes on leaving.
    """
    where = endpoint if isinstance(endpoint, Endpoint) else Endpoint.parse(endpoint)
    named = {error.schema_name: error for error in errors}
    contract = Contract(find_protocol(protocol), results=results or {}, errors=named, limits=limits)
    channel = channel_to(where, contract, connect_timeout, tls, login)
    client = Client(channel, contract, timeout=timeout, metadata=bearer(token) if token is not None else NO_METADATA)
    try:
        channel.connect()
        yield client
    finally:
        client.close()
