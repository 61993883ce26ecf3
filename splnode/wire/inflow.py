"""The answers of an established Netty connection, out of the bytes of its server.

The pipeline takes whole ordinary messages straight from what has arrived, the reader what is cut off or in several
buffers. A large value is received where it stays, apart from its message.
"""

from splnode.errors import DataError
from splnode.limits import Limits
from splnode.wire.answer import AnswerReader
from splnode.wire.events import Event, Response
from splnode.wire.framing import Apart, Body, Reader
from splnode.wire.message import ClientCall
from splnode.wire.netty import NettyReader
from splnode.wire.pipeline import make_pipeline
from splnode.wire.spec import SpecReader


class Inflow:
    """What a server sends. Its subclass says what answers mean to which nobody waits in the pipeline (`unusual`).

    `between` is True while an established Netty connection stands between two messages.
    """

    __slots__ = ("_answers", "_events", "_most", "_reader", "between", "pipeline")

    def __init__(self, limits: Limits, *, netty: bool) -> None:
        self.between = False
        self.pipeline = make_pipeline(limits.calls_per_connection, limits.message_bytes)
        self._most = limits.calls_per_connection
        self._answers = AnswerReader(limits)
        self._reader: Reader = NettyReader(limits) if netty else SpecReader(limits)
        self._events: list[Event] = []

    @property
    def space(self) -> memoryview | None:
        """Where the next bytes are best received, as soon as there is something large to come; good until then."""
        return self._reader.space

    def received(self, count: int) -> None:
        """So many bytes were received into `space`; `receive_data(b"")` then says what they mean."""
        self._reader.received(count)

    def read(self, serial: int, call: ClientCall, body: bytes) -> Response:
        """For the pipeline: what an answer says that is no plain value."""
        return self._answers.read(serial, call, body)

    def unusual(self, serial: int, entry: object, body: bytes) -> None:
        """For the pipeline: an answer to nobody who waits in it."""
        raise NotImplementedError

    def _take_answers(self, data: bytes) -> None:
        reader = self._reader
        if not reader.idle:
            reader.feed(data)
            begun = reader.take(1)
            if not begun:
                reader.make_room(self._locate)
                return
            self._answer(*begun[0])
            data = reader.rest()
        done = self.pipeline.receive(data, self)
        if done < len(data):
            self._take_rest(data[done:] if done else data)

    def _take_rest(self, data: bytes) -> None:
        """What begins with no whole ordinary message."""
        reader = self._reader
        reader.feed(data)
        while messages := reader.take(self._most):
            for serial, body in messages:
                self._answer(serial, body)
        reader.make_room(self._locate)
        self.between = reader.idle

    def _answer(self, serial: int, body: Body) -> None:
        if isinstance(body, Apart):
            call = self._called(serial)
            if call is not None and self._answer_apart(serial, call, body):
                return
            body = body.whole()
        self.pipeline.answer(serial, body, self)

    def _answer_apart(self, serial: int, call: ClientCall, body: Apart) -> bool:
        """A large value; False, and nothing has been done, if it is not ordinary."""
        if not body.rest.startswith(b"\0\0"):  # no metadata, no error
            return False
        try:
            value, end = call.decode_apart(body.rest, 2, body.at, body.part)
        except (DataError, ValueError):
            return False
        if end != len(body.rest):
            return False
        if self.pipeline.called(serial) is not None:
            self.pipeline.complete(serial, value)
        else:
            self.pipeline.pop(serial)
            self._events.append(Response(serial, value))
        return True

    def _called(self, serial: int) -> ClientCall | None:
        """What an answer is to, where somebody waits for it."""
        entry = self.pipeline.called(serial) or self.pipeline.entry(serial)
        return entry if type(entry) is ClientCall else None

    def _locate(self, serial: int, data: bytes) -> tuple[int, int] | None:
        """Where in the beginning of an answer its large value begins, and how long it is."""
        call = self._called(serial)
        return call.locate(data, 2) if call is not None and data.startswith(b"\0\0") else None
