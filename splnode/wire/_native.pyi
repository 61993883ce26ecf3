"""The C extension's face: the native call engine. Its sources are in `native/`."""

from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping, MutableSequence
from contextvars import Context, ContextVar
from typing import Any, final

from splnode.limits import Limits
from splnode.wire.handling import Gate, Handler, Tasks
from splnode.wire.holder import General, Holder, Session
from splnode.wire.local import Served
from splnode.wire.message import ClientCall, ClientPair, Contract, ServerCall
from splnode.wire.track import Failed

@final
class Stages:
    """The tasks that async handlers begin in, of one event loop; `splnode.wire.intake.stages` makes them."""

    def __new__(
        cls, loop: Any, context: Context, enter_task: Any, leave_task: Any, current_task: Callable[[Any], Any]
    ) -> Stages: ...
    def close(self) -> None:
        """Ends those that wait; the others end with their calls."""

@final
class Intake:
    """The requests of one connection, run as soon as they are read; `splnode.wire.intake.Intake` says how."""

    stopped: bool
    room: int
    turn: int
    slice: float
    outlet: Callable[[bytes], object] | None
    @property
    def served(self) -> int: ...
    @property
    def over(self) -> bool: ...
    def __new__(
        cls,
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
        tasks: Tasks | None = None,
    ) -> Intake: ...
    def begin(self, client_hash: bytes, calls: Mapping[bytes, ServerCall], /) -> None:
        """A handshake is done."""
    def run(
        self, data: bytes | bytearray | memoryview, start: int, most: int, seconds: float, size: int = ..., /
    ) -> int:
        """Runs the ordinary requests from `start` on; the place behind the last one."""
    def feed(self, buffer: bytes | bytearray | memoryview, count: int, /) -> int:
        """Runs a turn of ordinary requests and writes their answers; the place behind the last one."""
    def begin_large(self, data: bytes | bytearray | memoryview, start: int, size: int, /) -> Room | None:
        """Where the rest of a large request is received."""
    def run_large(self, parcel: Room, /) -> bool | list[bytes]:
        """Runs it."""
    def run_apart(self, serial: int, rest: bytes, at: int, part: bytes, /) -> bool:
        """Runs a request with a large parameter that was received by itself."""
    def take(self) -> bytes:
        """The answers that were not taken yet."""
    def close(self) -> None:
        """Nothing is run any more, and what runs now is not answered."""

@final
class Places:
    """How many calls run at a time; `splnode.wire.places.Places` says how."""

    limit: int
    running: int
    closed: bool
    returned: Callable[[], object] | None
    def __new__(cls, limit: int) -> Places: ...
    def enter(self) -> bool: ...
    def leave(self) -> None: ...

@final
class Pipeline:
    """The calls of one connection on their way; `splnode.wire.pipeline.Pipeline` says how."""

    open: bool
    next: int
    outlet: Callable[[bytes], object] | None
    @property
    def in_flight(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def queued(self) -> int: ...
    @property
    def armed(self) -> float: ...
    @property
    def wrapped(self) -> bool: ...
    def __new__(cls, most: int, largest: int) -> Pipeline: ...
    def serial(self) -> int: ...
    def expect(self, serial: int, entry: object, /) -> None: ...
    def entry(self, serial: int, /) -> object: ...
    def pop(self, serial: int, /) -> object: ...
    def write(self, frame: bytes, /) -> None: ...
    def take(self) -> list[bytes]: ...
    def establish(self, pair: ClientPair, /) -> None: ...
    def receive(self, data: bytes | bytearray | memoryview, session: Session, /) -> int: ...
    def answer(self, serial: int, body: bytes | bytearray | memoryview, session: Session, /) -> None: ...
    def feed(self, buffer: bytes | bytearray | memoryview, length: int, /) -> int: ...
    def begin_large(self, data: bytes | bytearray | memoryview, start: int, size: int, /) -> Room | None: ...
    def answer_large(self, parcel: Room, /) -> bool: ...
    def called(self, serial: int, /) -> ClientCall | None: ...
    def complete(self, serial: int, value: object, /) -> None: ...
    def hold(self, holder: Holder, /) -> None: ...
    def call(self, call: Any, /) -> Calling: ...
    def put(self, call: Any, /) -> Calling: ...
    def expire(self, now: float, /) -> None: ...
    def close(self, make_error: Callable[[], Exception], general: General, /) -> None: ...

@final
class Track:
    """Where a call may be put right now; `splnode.wire.pipeline.Track` says how."""

    @property
    def lines(self) -> tuple[Pipeline | Track, ...]: ...
    @lines.setter
    def lines(self, lines: Iterable[Pipeline | Track]) -> None: ...
    failed: Failed | None
    @property
    def begun(self) -> int: ...
    @property
    def ended(self) -> int: ...
    @property
    def well(self) -> int: ...
    def pick(self) -> Pipeline | None: ...

@final
class Method:
    """A message as a function; `splnode.rpc.method.Method` says how."""

    __name__: str
    __qualname__: str
    def __new__(
        cls,
        track: Track,
        contract: Contract,
        name: str,
        doc: str | None,
        parameters: tuple[str, ...],
        function: Callable[..., Coroutine[Any, Any, Any]],
        blank: Served,
        proceed: Callable[[Any], Coroutine[Any, Any, Any]],
        running: ContextVar[Any],
        limit: ContextVar[Any],
        inherit: Callable[[float, Mapping[str, bytes] | None], tuple[float, Mapping[str, bytes]]],
        clock: Callable[[], float],
        timeout: float,
        longest: float,
    ) -> Method: ...
    def __call__(self, *args: Any, **params: Any) -> Coroutine[Any, Any, Any]: ...
    def call(
        self, params: Mapping[str, Any], timeout: float | None, metadata: Mapping[str, bytes] | None, /
    ) -> Calling: ...

@final
class Calling(Coroutine[Any, Any, Any]):
    """A call that its caller awaits, once: to asyncio, and to whoever has it, a coroutine."""

    cr_running: bool
    cr_await: object
    def send(self, value: Any, /) -> Any: ...
    def throw(self, kind: Any, value: Any = None, traceback: Any = None, /) -> Any: ...
    def close(self) -> None: ...
    def __await__(self) -> Generator[Any, Any, Any]: ...

@final
class Slot:
    """A call in flight, and what a task wants of the future that it waits for."""

    @property
    def serial(self) -> int: ...
    def get_loop(self) -> Any: ...
    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context | None = None) -> None: ...
    def remove_done_callback(self, callback: Callable[[Any], object], /) -> int: ...
    def cancel(self, msg: object = None) -> bool: ...
    def cancelled(self) -> bool: ...
    def done(self) -> bool: ...
    def result(self) -> None: ...

@final
class Way:
    """How one message is sent to one server, and its answer read."""

@final
class Local:
    """One message of one caller in the process of its handler; `splnode.wire.local.Local` says how."""

    def __new__(
        cls,
        blank: Served,
        *,
        running: ContextVar[Any],
        clock: Callable[[], float],
        params: Callable[[Any], Any],
        result: Callable[[Any], Any] | None,
        function: Callable[..., Any],
        gate: Gate | None,
        counts: MutableSequence[int],
    ) -> Local: ...
    def run(self, call: Any, /) -> object:
        """Runs a call: the answer, or an Odd."""

@final
class Room:
    """Memory for bytes that are received where they stay; `splnode.wire.room.Room` says how."""

    @property
    def missing(self) -> int: ...
    @property
    def filled(self) -> int: ...
    def __new__(cls, total: int, /) -> Room: ...
    def space(self) -> memoryview:
        """Where the next bytes go."""
    def add(self, count: int, /) -> None:
        """So many bytes were written to `space()`."""
    def put(self, data: bytes | bytearray | memoryview, /) -> int:
        """Copies what is missing, as far as it is there."""
    def take(self) -> bytes:
        """All of the bytes, once."""
    def frame(self) -> bytes:
        """Of one that an intake or a pipeline has begun: its message, as far as it has come."""
