"""What a session tells its holder. Small slotted classes: one is made for every call."""

from collections.abc import Callable, Mapping
from typing import Any

from splnode.avro.protocol import Message, Protocol
from splnode.errors import CallError, DeclaredError
from splnode.wire.message import Contract, ServerCall
from splnode.wire.primitive import NO_METADATA


class Request:
    """A call to be answered: give it to `respond` or `fail` of its session, exactly once.

    That goes for a one-way call too: nothing is sent for it, but only then is its place free again.
    `serial` is the peer's own number on a Netty connection, and counts messages elsewhere. `params` are the
    parameters by name. `open` is True until it was answered. `weight` is the size of a large message, in bytes; 0 for
    the others.
    """

    __slots__ = ("call", "metadata", "one_way", "open", "params", "prefix", "serial", "weight")

    def __init__(
        self, serial: int, call: ServerCall, params: Any, metadata: Mapping[str, bytes], one_way: bool, prefix: bytes
    ) -> None:
        self.serial = serial
        self.call = call
        self.params: dict[str, Any] = params
        self.metadata = metadata
        self.one_way = one_way
        self.prefix = prefix
        self.open = True
        self.weight = 0

    @property
    def contract(self) -> Contract:
        """The contract that the connection means."""
        return self.call.contract

    @property
    def message(self) -> Message:
        """The message of that contract."""
        return self.call.message

    def __repr__(self) -> str:
        return f"<Request {self.serial} {self.message.name}>"


class Response:
    """The answer to the call `serial`: `value`, or `error` where it is not None."""

    __slots__ = ("error", "metadata", "serial", "value")

    def __init__(
        self,
        serial: int,
        value: Any,
        error: CallError | DeclaredError | None = None,
        metadata: Mapping[str, bytes] = NO_METADATA,
    ) -> None:
        self.serial = serial
        self.value = value
        self.error = error
        self.metadata = metadata

    def take(self) -> Any:
        """The value, or raises the error. Once: the error's traceback holds the frames, and so this, which drops it."""
        error, self.error = self.error, None
        if error is None:
            return self.value
        try:
            raise error
        finally:
            del error

    def __repr__(self) -> str:
        return f"<Response {self.serial} {self.value if self.error is None else self.error!r}>"


class Ready:
    """The handshake is done: the server's protocol is known, and calls go out."""

    __slots__ = ("server",)

    def __init__(self, server: Protocol) -> None:
        self.server = server


class Cancel:
    """The client waits no longer for its call `serial`, which is still open. Answer it all the same."""

    __slots__ = ("serial",)

    def __init__(self, serial: int) -> None:
        self.serial = serial


class Resend:
    """HTTP only: the server did not know our protocol; `data_to_send` has the call `serial` again, with its text."""

    __slots__ = ("serial",)

    def __init__(self, serial: int) -> None:
        self.serial = serial


class Errand:
    """Work that a peer can make long: its holder calls `run` once, in a thread if it likes, then `receive_data(b"")`.

    Until then the session takes nothing more from its peer. `size` is what the work grows with: characters of a
    protocol. An exception of `run` is a bug: close the connection.
    """

    __slots__ = ("run", "size")

    def __init__(self, run: Callable[[], None], size: int) -> None:
        self.run = run
        self.size = size


class Handover:
    """The connection speaks `framing` (http or tls), which is somebody else's; `data` is all that came so far."""

    __slots__ = ("data", "framing")

    def __init__(self, framing: str, data: bytes) -> None:
        self.framing = framing
        self.data = data


Event = Request | Response | Ready | Cancel | Resend | Errand | Handover
