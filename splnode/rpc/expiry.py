"""Deadlines of many calls on one timer.

A timer for each call costs more than the call. Here the deadlines lie in a dict, and one timer is armed
for the earliest that was known when it was armed: with equal timeouts it is moved once in a timeout's time,
and a short one moves it forward at once, so that no deadline is late by more than the loop is.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")


class Expiry(Generic[K]):
    """Calls `expire(key)` for each key whose deadline has come. `add` and `discard` cost a dict entry.

    `close()` ends the timer; the owner calls it.
    """

    def __init__(self, expire: Callable[[K], None]) -> None:
        self._expire = expire
        self._deadlines: dict[K, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._armed = float("inf")

    def add(self, key: K, deadline: float) -> None:
        """Watches `key` until it is discarded or its deadline (seconds of time.monotonic()) comes."""
        self._deadlines[key] = deadline
        if deadline < self._armed:
            self._arm(deadline)

    def discard(self, key: K) -> None:
        """Watches `key` no longer; unknown keys are fine."""
        self._deadlines.pop(key, None)

    def close(self) -> None:
        """Forgets all keys and ends the timer."""
        self._deadlines.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed = deadline
        self._timer = asyncio.get_running_loop().call_later(max(0.0, deadline - time.monotonic()), self._sweep)

    def _sweep(self) -> None:
        self._timer, self._armed = None, float("inf")
        now = time.monotonic()
        for key in [key for key, deadline in self._deadlines.items() if deadline <= now]:
            # An expiry may discard other keys: only what is still there expires.
            if self._deadlines.pop(key, None) is not None:
                self._expire(key)
        if self._deadlines:
            earliest = min(self._deadlines.values())
            if earliest < self._armed:
                self._arm(earliest)
