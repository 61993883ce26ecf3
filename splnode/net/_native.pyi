"""The C extension's face: bytes in and out of connections, and the ordinary call of the client that blocks.

Its sources are in `native/`.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Protocol, final

from splnode.net.mouth import Turns

class Lock(Protocol):
    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...
    def release(self) -> None: ...

class Line:
    """An established Netty connection. `lock` is held by whose call runs; `owner` is the thread that holds it.

    `running` and `limit` are variables that are not None where a call has more than a timeout of its own. A server
    that was `heard` longer than `idle` seconds ago (moments of CLOCK_MONOTONIC) is asked before it is called.
    """

    heard: float
    owner: int

    def __init__(self, lock: Lock, running: ContextVar[Any], limit: ContextVar[Any], idle: float) -> None: ...
    def open(self, fd: int, largest: int, serial: Callable[[], int]) -> None:
        """There is a connection: messages of at most `largest` bytes, and what gives the next serial. OSError."""
    def shut(self) -> None:
        """There is none any more. The socket is its owner's to close."""

class Method:
    """One message, called with `timeout` seconds; `names` are its parameters.

    `prepare()` gives (encoder, decoder, metadata and name as bytes, the ClientCall) for the present connection, or
    None. `slow` makes the call where it is unusual and nothing was sent. `resume(call, serial, deadline, data)` waits
    for an answer that is unusual, of which `data` came so far (b"" is the end, None nothing). `abort()` closes a
    connection that broke in the middle of a call.
    """

    def __init__(
        self,
        line: Line,
        names: tuple[str, ...],
        timeout: float,
        prepare: Callable[[], tuple[object, object, bytes, object] | None],
        slow: Callable[..., Any],
        resume: Callable[[Any, int, float, bytes | None], object],
        abort: Callable[[], None],
    ) -> None: ...
    def __call__(self, *args: Any, **params: Any) -> Any: ...

@final
class Mouth:
    """Where the bytes of a peer come in; `splnode.net.mouth.Mouth` says how."""

    buffer: memoryview
    feed: Callable[[memoryview, int], int] | None
    turns: Turns | None
    light: int
    received: int
    heard: float
    @property
    def busy(self) -> bool: ...
    def __new__(
        cls,
        buffer: memoryview,
        space: Callable[[int], memoryview],
        came: Callable[[int], None],
        left: Callable[[int, int], None],
    ) -> Mouth: ...
    def get_buffer(self, sizehint: int, /) -> memoryview: ...
    def buffer_updated(self, nbytes: int, /) -> None: ...
    def close(self) -> None: ...

@final
class Outlet:
    """Where the bytes for it go out; `splnode.net.mouth.Outlet` says how."""

    write: Callable[[bytes], object] | None
    written: int
    def __new__(cls) -> Outlet: ...
    def __call__(self, data: bytes, /) -> object: ...

def forked() -> None:
    """In a child after a fork: the lines made before are the parent's, and are used no more."""
