"""The first bytes of an accepted connection: which framing it speaks, and SASL where it comes before that."""

from collections.abc import Callable
from typing import Final

from splnode.errors import CallError, LocalWireError, RemoteWireError
from splnode.limits import Limits
from splnode.wire import sasl
from splnode.wire.detect import detect
from splnode.wire.framing import Reader
from splnode.wire.handshake import SHORTEST_REQUEST, read_request
from splnode.wire.netty import NettyReader
from splnode.wire.spec import SpecReader

FRAMINGS: Final = ("netty", "spec", "sasl", "http")
ELSEWHERE: Final = ("http", "tls")
"""What a connection may turn out to speak that is not for a session."""


class Opening:
    """Fed until `reader` is there, or `framing` is one of ELSEWHERE and `rest` all that came.

    `framing` None means to find it out. What SASL has to say is appended to `out`, even where it refuses. `login` is
    told the name and the password of PLAIN, and raises CallError where they are not good; None: PLAIN is not served.
    """

    __slots__ = ("_limits", "_out", "framing", "login", "reader", "rest")

    def __init__(self, framing: str | None, limits: Limits, out: list[bytes]) -> None:
        self.framing = framing
        self.login: Callable[[str, str], None] | None = None
        self.reader: Reader | None = None
        self.rest = b""
        self._limits = limits
        self._out = out
        if framing is not None:
            if framing not in FRAMINGS:
                raise LocalWireError(f"unknown framing {framing!r}; there are {', '.join(FRAMINGS)}")
            self._choose(framing)

    def feed(self, data: bytes) -> None:
        """Adds what arrived; `rest` is what it leaves for the reader. RemoteWireError: it is nothing we know."""
        self.rest += data
        if self.framing is None:
            self.framing = detect(self.rest, self._limits)
            if self.framing in (None, *ELSEWHERE):
                return
            self._choose(self.framing)
        if self.framing == "sasl":
            self._negotiate()

    def _choose(self, framing: str | None) -> None:
        if framing == "netty":
            self.reader = NettyReader(self._limits)
        elif framing == "spec":
            self.reader = SpecReader(self._limits, self._is_whole_ping)
        elif framing == "http":
            self.reader = SpecReader(self._limits)

    def _negotiate(self) -> None:
        start = sasl.read_start(self.rest)
        if start is None:
            return
        mechanism, response, end = start
        if mechanism == sasl.PLAIN and self.login is not None:
            self._log_in(self.login, response)
        elif mechanism != sasl.ANONYMOUS:
            served = "ANONYMOUS" if self.login is None else "ANONYMOUS and PLAIN"
            self._out.append(sasl.fail(f"the mechanisms here: {served}"))
            raise RemoteWireError(f"SASL mechanism {mechanism[:20]!r}; only {served} is served")
        self._out.append(sasl.COMPLETED)
        self.rest = self.rest[end:]
        self.reader = SpecReader(self._limits, self._is_whole_ping)

    def _log_in(self, login: Callable[[str, str], None], response: bytes) -> None:
        try:
            login(*sasl.read_plain(response))
        except (CallError, RemoteWireError) as error:
            reason = error.message if isinstance(error, CallError) else str(error)
            self._out.append(sasl.fail(reason))
            raise RemoteWireError(f"SASL PLAIN was refused: {reason}") from None

    def _is_whole_ping(self, data: bytes) -> bool:
        """Whether the buffers so far are a handshake with a ping: yaqc sends no terminator behind its own."""
        if len(data) < SHORTEST_REQUEST + 2 or not data.endswith(b"\0\0"):
            return False
        try:
            return read_request(data, self._limits)[1] == len(data) - 2
        except RemoteWireError:
            return False
