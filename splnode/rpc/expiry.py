"""Deadlines of many calls on one timer.

A timer for each call costs more than the call. Here one timer is armed for the earliest deadline that was known when
it was armed: with equal timeouts it is moved once in a timeout's time, and a short one moves it forward at once, so
that no deadline is late by more than the loop is, and by a millisecond for each thousand that are watched.
"""

import asyncio
import time
from collections.abc import Callable
from contextvars import Context
from typing import Final, Generic, TypeVar

K = TypeVar("K")

SPACING: Final = 1e-6
"""Seconds between two sweeps for each deadline that is watched: a sweep looks at all, and may take a tenth of it."""


class Alarm:
    """The timer of somebody who watches deadlines: `expire(now)` is called when one has come, `earliest()` gives the
    first of the rest (or infinity), and `count()` says how many there are.

    `expire` runs in an empty context: whose call had the timer armed means nothing to it, and is not kept for it.
    `close()` ends the timer; the owner calls it.
    """

    __slots__ = ("_armed", "_count", "_earliest", "_expire", "_next", "_timer")

    def __init__(
        self, expire: Callable[[float], None], earliest: Callable[[], float], count: Callable[[], int]
    ) -> None:
        self._expire = expire
        self._earliest = earliest
        self._count = count
        self._timer: asyncio.TimerHandle | None = None
        self._armed = float("inf")
        self._next = 0.0  # no sweep before

    def at(self, deadline: float) -> None:
        """There is one more deadline, in seconds of time.monotonic()."""
        if deadline < self._armed:
            self._arm(deadline)

    def close(self) -> None:
        """Ends the timer; it may be set again."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._armed = None, float("inf")

    def _arm(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed = deadline
        delay = max(0.0, max(deadline, self._next) - time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(delay, self._sweep, context=Context())

    def _sweep(self) -> None:
        self._timer, self._armed = None, float("inf")
        now = time.monotonic()
        self._next = now + SPACING * self._count()
        try:
            self._expire(now)
        finally:
            self.at(self._earliest())


class Expiry(Generic[K]):
    """Calls `expire(key)` for each key whose deadline has come, as an Alarm does.

    `add` and `discard` cost a dict entry. `close()` ends the timer; the owner calls it.
    """

    def __init__(self, expire: Callable[[K], None]) -> None:
        self._expire = expire
        self._deadlines: dict[K, float] = {}
        self._alarm = Alarm(self._sweep, self._earliest, self._deadlines.__len__)

    def add(self, key: K, deadline: float) -> None:
        """Watches `key` until it is discarded or its deadline (seconds of time.monotonic()) comes."""
        self._deadlines[key] = deadline
        self._alarm.at(deadline)

    def discard(self, key: K) -> None:
        """Watches `key` no longer; unknown keys are fine."""
        self._deadlines.pop(key, None)

    def close(self) -> None:
        """Forgets all keys and ends the timer."""
        self._deadlines.clear()
        self._alarm.close()

    def _sweep(self, now: float) -> None:
        for key in [key for key, deadline in self._deadlines.items() if deadline <= now]:
            # An expiry may discard other keys: only what is still there expires.
            if self._deadlines.pop(key, None) is not None:
                self._expire(key)

    def _earliest(self) -> float:
        return min(self._deadlines.values(), default=float("inf"))
