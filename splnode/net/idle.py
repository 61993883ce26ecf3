"""Connections on which nothing comes, and no call runs: they are closed after a while.

A look at each of them now and then is all that it costs. Pings are bytes that come: a peer that sends them wants its
connection, and would only make another.
"""

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Final, Generic, Protocol, TypeVar

LOOKS: Final = 4
"""How often a connection is looked at before its time is over: it goes at most a quarter of that time too late."""


class Watched(Protocol):
    """A connection."""

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes received from the peer, and given to be sent to it."""
        ...

    @property
    def busy(self) -> bool:
        """Whether a call runs for it."""
        ...


K = TypeVar("K", bound=Watched)


class Idle(Generic[K]):
    """Calls `over` with each of `connections` that was idle for `seconds`. `close()` ends it; the owner calls it."""

    def __init__(
        self,
        connections: Collection[K],
        seconds: float,
        over: Callable[[K], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connections = connections
        self._seconds = seconds
        self._over = over
        self._clock = clock
        self._seen: dict[K, tuple[int, float]] = {}  # bytes received, and since when so many
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """There is a connection; needs a running loop."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds / LOOKS, self._look)

    def close(self) -> None:
        """Ends the timer; it may be set again."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._seen.clear()

    def look(self) -> None:
        """Looks at all of them, now."""
        now, before = self._clock(), self._seen
        self._seen = {}
        for connection in list(self._connections):
            received, _ = connection.traffic
            had, since = before.get(connection, (-1, now))
            if connection.busy or received != had:
                since = now
            elif now - since >= self._seconds:
                self._over(connection)
                continue
            self._seen[connection] = received, since

    def _look(self) -> None:
        self._timer = None
        self.look()
        if self._connections:
            self.watch()
