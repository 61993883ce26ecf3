"""The ordinary requests of an established Netty connection, run as soon as they are read.

```
ordinary    one buffer of less than HEAVY bytes; no handshake; a message that has a Handler whose gate lets it in;
            parameters that can be read; time left
otherwise   `run` stops before it: it is the session's (wire/server.py), in its turn
```

The handler is called at once, in a context of its own, and its answer is written behind those before it. Whatever comes
of a call that is no plain value is `unusual`: the holder's.

This is the plain engine, for readers and for where the other is missing; `native/intake.c` does the same in C. That one
begins async handlers at once too, and most end so; here they are not ordinary. And it uses a context and a call again
of which a handler has kept nothing (`native/seat.h`), and makes a dict of parameters only for who asks for it.
"""

import sys
from collections.abc import Callable, Mapping
from contextvars import Context, ContextVar
from struct import Struct
from types import MappingProxyType
from typing import Any, Final

from splnode.errors import DataError, RemoteWireError
from splnode.limits import Limits
from splnode.wire.engine import native_engine
from splnode.wire.handling import IN_FLIGHT, Gate, Handler, Tasks, count
from splnode.wire.handshake import SHORTEST_REQUEST
from splnode.wire.message import ServerCall
from splnode.wire.metadata import metadata_codec
from splnode.wire.primitive import read_bytes
from splnode.wire.room import Room

HEAVY: Final = 65_536
"""Bytes from which on a message weighs something, and is not ordinary."""
ENOUGH: Final = 256 * 1024
"""Bytes of answers after which the turn is over: they are to be written before there are more."""
TURN: Final = 128
"""Messages that are taken at a time: who sends faster than it is served must not keep the others waiting."""
SLICE: Final = 0.003
"""Seconds after which a turn ends, though fewer were taken: their handlers run in it."""
MANY: Final = 24
"""Calls whose answers go out by themselves, while more requests wait: meanwhile the peer works on those. With fewer
there are more system calls; with more, both ends fall asleep in turn, which costs more than those."""
FRESH: Final = 0.0001
"""Seconds after which answers go out by themselves, though they are fewer."""
_HEAD: Final = Struct(">III")


class Intake:
    """The requests of one connection. What it needs of the floors above is handed in:

    `call` is the class of calls, whose slots are filled; `peer` is a call's; `running` is set to the call in a copy of
    `context`, where its handler is then called. `clock` gives seconds, and `allowed(metadata)` how many of them a call
    may take: 0 leaves it to the session. That may be kept for the same metadata until a handler is asked for.
    `handler(codec)` gives the Handler of a message, or None. `unusual(handler, serial, codec, call, value,
    error, began)` is told, in the call's own context, what came of a call that has no plain answer: an awaitable, a
    value that goes with metadata or does not fit, an `error`. `tasks` is for async handlers (see Tasks).

    `feed` writes answers to the `outlet`, and begins no more calls at a time than there is `room` for. A turn of it has
    so many messages (`turn`), and begins none after so many seconds (`slice`). The holder sets all four.

    Not thread-safe. `close` it when the connection ends, which may be while a handler runs. While it is `stopped` it
    runs nothing.
    """

    __slots__ = (
        "_allowed", "_busy", "_call", "_calls", "_client_hash", "_clock", "_closed", "_context", "_found", "_gate",
        "_handler", "_largest", "_out", "_peer", "_read", "_running", "_unusual", "outlet", "over", "room", "served",
        "slice", "stopped", "turn",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 - each has a name, and is kept as it is
        self,
        limits: Limits,
        *,
        call: type,
        peer: object,
        running: ContextVar[Any],
        context: Context,
        clock: Callable[[], float],
        allowed: Callable[[Mapping[str, bytes]], float],
        handler: Callable[[ServerCall], Handler | None],
        unusual: Callable[..., None],
        tasks: Tasks | None = None,  # only the native engine begins them here
    ) -> None:
        self._call = call
        self._peer = peer
        self._running = running
        self._context = context
        self._clock = clock
        self._allowed = allowed
        self._handler = handler
        self._unusual = unusual
        self._largest = limits.message_bytes
        self._read = metadata_codec(limits).read
        self._client_hash = b""
        self._calls: Mapping[bytes, ServerCall] = {}
        self._found: dict[bytes, Handler | None] = {}
        self._gate: Gate | None = None  # the one that was entered
        self._out = bytearray()
        self._busy = False
        self._closed = False
        self.served = 0
        self.over = False
        self.stopped = False
        self.room = sys.maxsize
        self.turn, self.slice = TURN, SLICE
        self.outlet: Callable[[bytes], object] | None = None

    def begin(self, client_hash: bytes, calls: Mapping[bytes, ServerCall]) -> None:
        """A handshake is done: the hash of the client's protocol, and what is known of its messages, by name."""
        self._client_hash = client_hash
        self._calls = calls
        self._found.clear()

    def run(self, data: bytes | memoryview, start: int, most: int, seconds: float, size: int | None = None) -> int:
        """Runs the ordinary requests from `start` on, at most `most` of them, and no more after so many seconds.

        Gives the place behind the last one. `served` says how many there were, and `over` that the turn is to end.
        `size` is where the data end, if that is before the end of `data`.
        """
        self.served, self.over = 0, False
        if self._busy or self.stopped:
            return start
        self._busy = True
        data = data[:size] if type(data) is bytes else bytes(data[:size])
        now, size = self._clock(), len(data)
        until = now + seconds
        try:
            while self._goes_on(most) and size - start >= _HEAD.size:
                serial, buffers, length = _HEAD.unpack_from(data, start)
                end = start + _HEAD.size + length
                if buffers != 1 or end > size or length > self._largest or length >= HEAVY:
                    break
                if not self._take(serial, data[start + _HEAD.size : end], now):
                    break
                start = end
                self.served += 1
                now = self._clock()
                self.over = now >= until or len(self._out) >= ENOUGH
        finally:
            self._busy = False
            self._leave()
        return start

    def feed(self, buffer: memoryview, count: int) -> int:
        """Runs a turn of the ordinary requests that the first `count` bytes of `buffer` begin with.

        The place behind the last one. Their answers are written to the `outlet`, the first of them soon (MANY, FRESH).
        """
        until, left, end = self._clock() + self.slice, self.turn, 0
        while True:
            most = min(left, self.room, MANY)
            end = self.run(buffer, end, most, FRESH, count)
            left -= self.served
            if self.outlet is not None and (answers := self.take()):
                self.outlet(answers)
            more = self.over or 0 < most == self.served
            if not more or end >= count or left < 1 or self._clock() >= until:
                return end

    def begin_large(self, data: bytes | memoryview, start: int, size: int) -> Room | None:
        """Where the rest of the request is received that begins at `start`, ordinary but for a large value at its end.

        Then `run_large` it, or give its `frame` to the session. None, always of this engine: the session may have room.
        """
        return None

    def run_large(self, parcel: Room) -> bool | list[bytes]:
        """Runs it, with all of its bytes. False, and nothing has been done, if it is not ordinary any more.

        A list is the answer, large itself, and all that `take` would have given before it: write it as it is.
        """
        return False

    def run_apart(self, serial: int, rest: bytes, at: int, part: bytes) -> bool:
        """Runs a request whose parameter `part`, which belongs at `at` of the `rest`, was received by itself.

        False, and nothing has been done, if it is not ordinary but for that. Nor is it where its handler may wait: what
        is large is weighed while it is kept.
        """
        if self._busy or self.stopped:
            return False
        self._busy = True
        try:
            return self._take(serial, rest, self._clock(), at, part)
        finally:
            self._busy = False
            self._leave()

    def take(self) -> bytes:
        """The answers that were not taken yet."""
        out = bytes(self._out)
        self._out.clear()
        return out

    def close(self) -> None:
        """Nothing is run any more, and what runs now is not answered."""
        self.stopped = self._closed = True
        self._calls = {}
        self._found.clear()

    def _goes_on(self, most: int) -> bool:
        return self.served < most and not self.over and not self.stopped

    def _take(self, serial: int, body: bytes, now: float, at: int = 0, part: bytes = b"") -> bool:
        """False, and nothing has been done, if it is not ordinary."""
        if len(body) >= SHORTEST_REQUEST and body.startswith(self._client_hash):
            return False
        try:
            metadata, start = self._read(body, 0)
            name, start = read_bytes(body, start)
            codec = self._calls.get(name)
            handler = self._find(name, codec) if codec is not None else None
            if codec is None or handler is None or handler.asynchronous:
                return False
            params, end = codec.decode_apart(body, start, at, part) if part else codec.decode(body, start)
        except (DataError, RemoteWireError, ValueError):
            return False  # the session says what is wrong with it
        allowed = self._allowed(metadata)
        if end != len(body) or allowed <= 0 or not self._enter(handler.gate):
            return False
        call = self._call(
            codec.contract, codec.message, params, now + allowed, MappingProxyType(metadata), self._peer, True
        )
        self._context.copy().run(self._run, handler, serial, codec, call, now)
        return True

    def _find(self, name: bytes, codec: ServerCall) -> Handler | None:
        handler = self._found.get(name)
        if handler.withdrawn if handler is not None else name not in self._found:
            handler = self._found[name] = self._handler(codec)
        return handler

    def _enter(self, gate: Gate | None) -> bool:
        if gate is self._gate:
            return True
        self._leave()
        if gate is not None and not gate.enter():
            return False
        self._gate = gate
        return True

    def _leave(self) -> None:
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.leave()

    def _run(self, handler: Handler, serial: int, codec: ServerCall, call: Any, began: float) -> None:
        self._running.set(call)
        counts, params = handler.counts, call.params
        call.begun = True
        counts[IN_FLIGHT] += 1
        try:
            value = handler.function(
                **{name: params[field] for name, field in zip(handler.names, handler.fields, strict=True)}
            )
        except BaseException as error:  # noqa: BLE001 - whatever it is, the holder knows what becomes of it
            call.ended = True
            self._unusual(handler, serial, codec, call, None, error, began)
            return
        finally:
            counts[IN_FLIGHT] -= 1
        if hasattr(type(value), "__await__"):
            self._unusual(handler, serial, codec, call, value, None, began)
            return
        call.ended = True
        if call.answer_metadata or not (codec.one_way or self._closed or self._write(serial, codec, value)):
            self._unusual(handler, serial, codec, call, value, None, began)
        else:
            count(counts, int((self._clock() - began) * 1e9))

    def _write(self, serial: int, codec: ServerCall, value: object) -> bool:
        """Writes an answer; False if the value does not fit."""
        try:
            payload = codec.encode_parts(value)
        except Exception:  # noqa: BLE001 - values are the handler's, and may be of any class
            return False  # the holder tries it again, and says what is wrong with it
        if not isinstance(payload, bytes):
            return False  # large: the session writes its bytes as they are
        length = len(payload) + 2  # no metadata, and the flag of a success
        if length > self._largest:
            return False
        self._out += _HEAD.pack(serial, 1, length) + b"\0\0" + payload
        return True


def intake(limits: Limits, **handed_in: Any) -> Intake:
    """An Intake of the fastest engine that is there."""
    made: Intake = (native_engine() or sys.modules[__name__]).Intake(limits, **handed_in)
    return made


def stages(loop: Any, context: Context, enter_task: Any, leave_task: Any, current_task: Any) -> Any:
    """The tasks that async handlers begin in, for all intakes of one event loop: `close` them at the end.

    They run in copies of `context`. None in the plain engine, which begins no such handlers.
    """
    native = native_engine()
    return native.Stages(loop, context, enter_task, leave_task, current_task) if native is not None else None
