"""The calls of one connection on their way: who waits for which serial, and until when.

A `Pipeline` is where a call becomes bytes and an answer a value. The native one (`native/pipeline.c`) does that with
no Python in between; the plain one here has the same interface and the same tests. Either knows the ordinary call on
an established Netty connection. All else (handshake, pings, errors, metadata in answers, other framings) is the
session's, which keeps its own entries in the same table and is asked about each answer that is no plain value.

No loop, no clock, no socket: those are the `Holder`'s.
"""

from collections.abc import Awaitable, Callable
from struct import Struct
from typing import Any, Final

from splnode.errors import DataError
from splnode.wire.engine import native_engine
from splnode.wire.framing import LARGE
from splnode.wire.holder import Ask, General, Holder, Session
from splnode.wire.message import ClientCall, ClientPair, RequestWriter
from splnode.wire.room import Room

_HEAD: Final = Struct(">III")
_SERIALS: Final = 0x7FFFFFFF
"""Serials stay positive: to most peers they are signed words."""


class _Slot:
    """One call in flight."""

    __slots__ = ("call", "deadline", "future", "wanted")

    def __init__(self, call: ClientCall, future: Any, deadline: float, wanted: Ask) -> None:
        self.call = call
        self.future = future
        self.deadline = deadline
        self.wanted = wanted


class Pipeline:
    """The table of calls in flight, at most `most`, and what is to be sent, messages of at most `largest` bytes.

    `open` is the holder's word that calls may be put in right now: the connection is established, its peer reads, and
    nobody stands in line. `waiting` are the calls in flight that somebody waits for, `armed` is when `expire` is due,
    `queued` the bytes that `take` would give, `next` the serial that is given out next. `outlet` writes bytes,
    once there is a transport.
    """

    def __init__(self, most: int, largest: int) -> None:
        self.open = False
        self.next = 0
        self.wrapped = False
        self.waiting = 0
        self.queued = 0
        self._most = most
        self._largest = largest
        self._table: dict[int, object] = {}
        self._out: list[bytes] = []
        self._pair: ClientPair | None = None
        self._holder: Holder | None = None
        self._general: General | None = None
        self._told = False
        self._receiving = False
        self.armed = float("inf")
        self.outlet: Callable[[bytes], object] | None = None

    @property
    def in_flight(self) -> int:
        """Serials without an answer, the session's included."""
        return len(self._table)

    # -- for the session

    def serial(self) -> int:
        """A serial that nobody uses."""
        serial = self.next
        while serial in self._table:
            serial = (serial + 1) & _SERIALS
        after = (serial + 1) & _SERIALS
        if after < self.next:
            self.wrapped = True
        self.next = after
        return serial

    def expect(self, serial: int, entry: object) -> None:
        """Keeps an entry of the session's until it is answered; it takes the place of the one before."""
        self.pop(serial)
        self._table[serial] = entry

    def entry(self, serial: int) -> object:
        """What is kept there, or None."""
        return self._table.get(serial)

    def pop(self, serial: int) -> object:
        """Takes it out."""
        entry = self._table.pop(serial, None)
        if type(entry) is _Slot:
            self.waiting -= 1
        return entry

    def write(self, frame: bytes) -> None:
        """Queues bytes of the session's own behind the calls."""
        self._out.append(frame)
        self.queued += len(frame)

    def take(self) -> list[bytes]:
        """What is to be written now, in order; each byte is given once."""
        out, self._out = self._out, []
        self.queued, self._told = 0, False
        return out

    def establish(self, pair: ClientPair) -> None:
        """The handshake is done: this is how the server is called."""
        self._pair = pair

    def receive(self, data: bytes, session: Session) -> int:
        """Takes whole ordinary messages from the start of `data`, which begins with one; how many bytes those were."""
        return 0  # the session's own reader is as good

    def feed(self, buffer: memoryview, length: int) -> int:
        """Takes plain answers from the first `length` bytes of `buffer`, which begin with a whole message: how many
        bytes those were. If they were all, what is to be sent was written to the `outlet`, or the holder was told."""
        return 0

    def answer(self, serial: int, body: bytes, session: Session) -> None:
        """Takes one whole message."""
        entry = self.pop(serial)
        if type(entry) is not _Slot:
            session.unusual(serial, entry, body)
            return
        future = entry.future
        if future.done():  # it is being cancelled
            return
        if body.startswith(b"\0\0"):  # no metadata, no error
            try:
                value, end = entry.call.decode(body, 2)
            except DataError:
                end = -1
            if end == len(body):
                future.set_result(value)
                return
        try:
            response = session.read(serial, entry.call, body)
        except BaseException:
            self._table[serial] = entry  # the connection is at its end: the call ends as the others do
            self.waiting += 1
            raise
        entry.wanted.answer_metadata = response.metadata
        if response.error is None:
            future.set_result(response.value)
        else:
            future.set_exception(response.error)

    def begin_large(self, data: bytes | memoryview, start: int, size: int) -> Room | None:
        """Where the rest of the answer is received that begins at `start`, ordinary but for a large value at its end.

        Then `answer_large` with it, or give its `frame` to the session. None, always of this engine: the session may
        have room.
        """
        return None

    def answer_large(self, parcel: Room) -> bool:
        """Gives a call its answer, with all of its bytes. False, and nothing has been done, if it is not ordinary."""
        return False

    def called(self, serial: int) -> ClientCall | None:
        """The message whose answer a call waits for there."""
        entry = self._table.get(serial)
        return entry.call if type(entry) is _Slot and not entry.future.done() else None

    def complete(self, serial: int, value: object) -> None:
        """Gives a call its answer, a plain value that the session has read."""
        entry = self.pop(serial)
        if type(entry) is _Slot and not entry.future.done():
            entry.future.set_result(value)

    # -- for the holder

    def hold(self, holder: Holder) -> None:
        """From now on calls can be put in. Once."""
        self._holder, self._general = holder, holder.general

    async def call(self, call: Any) -> object:
        """Puts the call in and gives its answer; where it cannot go at once, the holder's general way."""
        holder = self._holder
        if holder is None or not self.open or self.in_flight >= self._most or call.deadline - holder.clock() < 0.001:
            assert self._general is not None  # who calls holds it, or did
            return await self._general(call)
        return await self.put(call)

    def put(self, call: Any) -> Awaitable[object]:
        """Puts the call in at once, whoever waits for room; what comes back gives its answer.

        As `ClientSession.call` raises. RuntimeError where there is no room, or no time left: its caller has looked.
        """
        holder, pair = self._holder, self._pair
        if holder is None or pair is None:
            raise RuntimeError("nobody holds this pipeline, or it was closed")
        left = int((call.deadline - holder.clock()) * 1000)
        if left <= 0 or self.in_flight >= self._most:
            raise RuntimeError("the call cannot be put in: its deadline, or no room")
        found = pair.calls.get(call.message.name) or pair.prepare(call.message.name)
        request = found.request
        head = holder.head(left, call.metadata or None) + request.name
        serial = write_request(self, request, head, call.params, self._largest, holder.refusal)
        self._tell(holder)
        if request.one_way:
            return _nothing()
        slot = _Slot(found, holder.loop.create_future(), call.deadline, call)
        self._table[serial] = slot
        self.waiting += 1
        if call.deadline < self.armed:
            self.armed = call.deadline
            holder.arm(call.deadline)
        return self._wait(serial, slot)

    def expire(self, now: float) -> None:
        """Fails the calls that are due by `now`; `armed` is then the earliest deadline of the others, or infinity."""
        holder = self._holder
        if holder is None:
            return
        for serial, slot in self._slots():
            if slot.deadline <= now:
                if not slot.future.done():
                    slot.future.set_exception(holder.expired(slot.call))
                if self._table.get(serial) is slot:
                    holder.forget(serial)
        self.armed = min((slot.deadline for _, slot in self._slots()), default=float("inf"))

    def close(self, make_error: Callable[[], Exception], general: General) -> None:
        """Fails all calls, each with an error of its own, and lets go of the holder; later ones go to `general`."""
        slots = self._slots()
        self._holder, self._general, self.open, self.outlet = None, general, False, None
        self._table.clear()
        self.waiting = 0
        self.take()
        for _, slot in slots:
            if not slot.future.done():
                slot.future.set_exception(make_error())

    async def _wait(self, serial: int, slot: _Slot) -> object:
        try:
            return await slot.future
        except BaseException:
            if self._table.get(serial) is slot and self._holder is not None:
                self._holder.forget(serial)
            raise
        finally:
            del slot  # an error would hold its traceback, that this frame, and this the error

    def _slots(self) -> list[tuple[int, _Slot]]:
        return [(serial, entry) for serial, entry in self._table.items() if type(entry) is _Slot]

    def _tell(self, holder: Holder) -> None:
        if self.queued >= holder.high_water:
            holder.flush()
        elif not self._told:
            self._told = True
            holder.soon()


def write_request(
    pipeline: Pipeline,
    request: RequestWriter,
    head: bytes,
    params: Any,
    largest: int,
    refusal: Callable[[int], Exception],
) -> int:
    """Queues a request behind its metadata and name, `head`; its serial. Raises what `refusal` makes of a long one."""
    parts = request.encode_parts(params)
    payload, more = (parts, []) if isinstance(parts, bytes) else (parts[0], parts[1:])
    length = len(head) + len(payload) + sum(map(len, more))
    if length > largest:
        raise refusal(length)
    serial = pipeline.serial()
    start = _HEAD.pack(serial, 1, length) + head
    if len(payload) < LARGE:
        pipeline.write(start + payload)
    else:
        pipeline.write(start)
        pipeline.write(payload)
    for part in more:
        pipeline.write(part)
    return serial


async def _nothing() -> None:
    """A one-way call's answer."""


def make_pipeline(most: int, largest: int) -> Pipeline:
    """A pipeline of the engine that is used here."""
    found: Any = native_engine()
    made: Pipeline = (found.Pipeline if found is not None else Pipeline)(most, largest)
    return made
