"""What the channels that block have in common: one endpoint, one socket, and who is in the middle of a call."""

from _thread import allocate_lock
from collections.abc import Callable
from typing import Any

from splnode.avro.protocol import Message, Protocol
from splnode.endpoint import Endpoint
from splnode.net.securing import Securing
from splnode.net.stream import CONNECT_TIMEOUT, Stream
from splnode.rpc.call import Call
from splnode.wire.message import Contract


class NoLine:
    """Where no call goes past Python: the state of a `_native.Line`, which makes no calls."""

    __slots__ = ("heard", "owner")

    def __init__(self) -> None:
        self.heard = 0.0
        self.owner = 0

    def open(self, fd: int, largest: int, serial: Callable[[], int]) -> None:
        """There is a connection."""

    def shut(self) -> None:
        """There is none any more."""


class Carrier:
    """A channel that blocks, whatever it speaks; whoever made it closes it.

    Not connected yet when it is made. Not thread-safe: who calls holds its `lock`, and says so in `line.owner`.
    `connect_timeout` is in seconds; `tls`: see `stream.dial`.
    """

    __slots__ = ("_connect_timeout", "_in_use", "_stream", "_tls", "contract", "endpoint", "line", "lock")

    def __init__(
        self,
        endpoint: Endpoint,
        contract: Contract,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        tls: Securing | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.contract = contract
        self._connect_timeout = connect_timeout
        self._tls = tls
        self._stream: Stream | None = None
        self._in_use = False  # a call is on its way, or was left there
        self.lock = allocate_lock()
        self.line: Any = NoLine()

    @property
    def is_open(self) -> bool:
        """True while there is a connection, as far as was noticed."""
        return self._stream is not None

    @property
    def server(self) -> Protocol | None:
        """The protocol that the server showed, as far as it had to."""
        raise NotImplementedError

    def connect(self) -> None:
        """Connects now, within the connect timeout. CallError(UNAVAILABLE, started=False) says why not."""
        raise NotImplementedError

    def dial(self, until: float) -> None:
        """Opens the socket, before that moment. CallError(UNAVAILABLE, started=False) says why not."""
        raise NotImplementedError

    def call(self, call: Call) -> object:
        """Carries one call, and gives or raises what `rpc.channel.Channel.call` does. Dials where it has to."""
        raise NotImplementedError

    def method(self, message: Message, timeout: float, slow: Callable[..., Any]) -> Callable[..., Any]:
        """Something quicker that does what `slow` does, or `slow`."""
        return slow

    def close(self) -> None:
        """Closes the connection. The next call dials again."""
        stream, self._stream, self._in_use = self._stream, None, False
        self.line.shut()
        if stream is not None:
            stream.close()

    def _abort(self) -> None:
        """Closes it without a word: where the two ends stand is unknown."""
        if self._stream is not None:
            self._stream.abort()
        self.close()
