"""From the bytes of a client to its messages, a turn at a time: what it speaks, what is whole, what has to wait.

A message is taken if there is room for what it may begin. What was taken and must wait all the same is stalled:
behind a call that came with the first handshake (rule 9), an errand, calls that weigh all they may. A turn ends after
so many messages, or so much time of handlers that are run in it.
"""

from collections.abc import Callable

from splnode.errors import LocalWireError, RemoteWireError
from splnode.limits import Limits
from splnode.wire.events import Event, Handover
from splnode.wire.framing import Body, Reader
from splnode.wire.intake import SLICE, TURN, Intake
from splnode.wire.netty import NettyReader
from splnode.wire.open_calls import OpenCalls
from splnode.wire.opening import ELSEWHERE, Opening
from splnode.wire.replies import Replies


class Inbound:
    """What a client sends. Its subclass says what the messages mean (`_message`), and what may go past others.

    `turn` messages, and `slice` seconds of those that are run in it, are a turn; the holder may change both.
    """

    __slots__ = (
        "_answering", "_away", "_ended", "_finished", "_halted", "_intake", "_known", "_most", "_open", "_opening",
        "_reader", "_replies", "_stalled", "_stateless", "failed", "framing", "pending", "slice", "turn", "unread",
    )  # fmt: skip

    def __init__(self, framing: str | None, limits: Limits, *, cooperative: bool) -> None:
        self.framing: str | None = framing
        self.pending = False
        self.unread = 0  # bytes that have come and are no whole message yet, or wait for their turn
        self.failed: RemoteWireError | None = None
        self._replies = Replies(limits)
        self._open = OpenCalls(limits)
        self._intake: Intake | None = None
        self._most = limits.calls_per_connection
        self.turn = TURN if cooperative else 2**31
        self.slice = SLICE
        self._stateless = framing == "http"
        self._known = False  # a handshake has brought a pair of protocols
        self._answering = False  # the call that came with the first one runs, and all others wait (rule 9)
        self._finished = False  # stateless, and the message has come
        self._halted = False  # the messages behind this one must wait
        self._stalled: list[tuple[int, Body]] = []
        self._away = 0  # errands that are out
        self._ended = False
        self._reader: Reader | None = None
        self._opening: Opening | None = Opening(framing, limits, self._replies.out)
        if self._opening.reader is not None:
            self._opened(self._opening)

    def log_in_by(self, login: Callable[[str, str], None]) -> None:
        """Serves SASL PLAIN: `login` is told name and password, and raises CallError where they are not good."""
        if self._opening is not None:
            self._opening.login = login

    @property
    def full(self) -> bool:
        """True while reading on would only fill memory: answer calls first, then `receive_data(b"")`."""
        return bool(self._stalled) or (self._answering and self._reader is not None and self._reader.held > 0)

    @property
    def clear(self) -> bool:
        """True while nothing waits inside and nothing stands before what comes: the intake may have it at once."""
        waits = self.unread or self.pending or self._stalled or self._answering or self._away or self._ended
        return self._intake is not None and not waits and not self._open.full

    def receive_data(self, data: bytes) -> list[Event]:
        """What the bytes mean. RemoteWireError: close the connection.

        Events before a fault are given first; `failed` is then set, and the next call raises it.
        """
        if self.failed is not None:
            raise self.failed
        events: list[Event] = []
        try:
            if self._reader is None:
                data = self._open_with(data, events)
            reader = self._reader
            if reader is not None:
                if data:
                    reader.feed(data)
                self._read(reader, events)
                if reader.large:
                    reader.make_room(self._locate)
                self.unread = reader.held + reader.total
            if self._intake is not None:
                self._intake.room = self._most - self._open.count
        except RemoteWireError as error:
            self.failed = error
            if not events:
                raise
        return events

    @property
    def space(self) -> memoryview | None:
        """Where the next bytes are best received, as soon as there is something large to come; good until then."""
        return self._reader.space if self._reader is not None else None

    def received(self, count: int) -> None:
        """So many bytes were received into `space`; `receive_data(b"")` then says what they mean."""
        assert self._reader is not None  # whose space it was
        self._reader.received(count)

    def receive_eof(self) -> list[Event]:
        """The client sends no more; what is open can still be answered. RemoteWireError within a message."""
        self._ended = True
        if self._reader is None:
            if self._opening is not None and self._opening.rest and self.failed is None:
                self.failed = RemoteWireError("the connection ended before its first message")
            if self.failed is not None:
                raise self.failed
            return []
        return self.receive_data(b"")

    def drop(self) -> None:
        """Lets go of the memory of what has come, since nothing more will be asked: the connection is cut."""
        self._stalled = []
        if self._reader is not None:
            self._reader.drop()

    def _open_with(self, data: bytes, events: list[Event]) -> bytes:
        """Finds out what the connection speaks; what it leaves for the reader."""
        opening = self._opening
        if opening is None:
            raise LocalWireError(f"this connection was handed over as {self.framing}")
        opening.feed(data)
        self.framing = opening.framing
        if opening.reader is not None:
            return self._opened(opening)
        if opening.framing in ELSEWHERE:
            self._opening = None
            events.append(Handover(opening.framing, opening.rest))
        return b""

    def _opened(self, opening: Opening) -> bytes:
        self._opening = None
        self._reader = opening.reader
        self._replies.netty = opening.framing == "netty"
        return opening.rest

    def _read(self, reader: Reader, events: list[Event]) -> None:
        self.pending = False
        left = self.turn
        while not self._answering and not self._finished and self._away < 1:
            room = 0 if self._open.full else self._most - self._open.count - len(self._replies.ready)
            if left < 1:
                self.pending = reader.held > 0
                return
            if self._stalled:
                messages, self._stalled = self._stalled, []
            elif self._intake is not None and room > 0 and (taken := self._run(self._intake, reader, min(room, left))):
                left -= taken
                continue
            else:
                one = room < 1 or not self._known or (self._intake is not None and not reader.between)
                messages = reader.take(1 if one else min(room, left))  # one that has begun, and the intake has the rest
            if not messages:
                break
            left -= len(messages)
            coming = iter(messages)
            for serial, body in coming:
                if room < 1 and not self._may_pass(body):
                    self._stalled = [(serial, body), *coming]
                    return
                self._message(serial, body, events)
                if self._halted:
                    self._halted = False
                    self._stalled = [(serial, body), *coming] if self._away else list(coming)
                    break
        if self._finished:
            reader.rest()  # what follows the first terminator
        elif self._ended and not self._answering and (self._stateless or not reader.idle) and not self._away:
            raise RemoteWireError("the connection ended within a message")

    def _run(self, intake: Intake, reader: Reader, most: int) -> int:
        """Lets the intake run what is ordinary; how much of the turn it took."""
        if not isinstance(reader, NettyReader):
            return 0
        data, start = reader.window()
        if not data:
            return 0
        reader.skip(intake.run(data, start, most, self.slice) - start)
        return self.turn if intake.over else intake.served

    # -- the subclass's

    def _message(self, serial: int, body: Body, events: list[Event]) -> None:
        """Takes one message; `_halted` if those behind it must wait."""
        raise NotImplementedError

    def _may_pass(self, body: Body) -> bool:
        """Whether a message goes past calls that wait for room."""
        raise NotImplementedError

    def _locate(self, serial: int, data: bytes) -> tuple[int, int] | None:
        """Where in the beginning of a message a large parameter begins, and how long it is."""
        raise NotImplementedError
