"""How long a peer may owe something: a first whole message, or the reading of what waits for it."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from splnode.rpc.expiry import Expiry

K = TypeVar("K")

GRACE: Final = 0.1
"""Seconds in which the loop reads what came while it was busy: uvloop looks at the clock before it reads."""


class Patience(Expiry[K]):
    """An Expiry of peers: `expire(key)` is called for one whose time is up, after all that it had sent was read.

    A node that was busy for longer than its peers may take would drop them for its own fault: so each has GRACE
    seconds more. `close()` ends the timer; the owner calls it.
    """

    def __init__(self, expire: Callable[[K], None]) -> None:
        super().__init__(self._due)
        self._give_up = expire
        self._warned: set[K] = set()

    def add(self, key: K, deadline: float) -> None:
        """Watches `key` until it is discarded or its deadline (seconds of time.monotonic()) comes."""
        self._warned.discard(key)
        super().add(key, deadline)

    def discard(self, key: K) -> None:
        """Watches `key` no longer; unknown keys are fine."""
        self._warned.discard(key)
        super().discard(key)

    def close(self) -> None:
        """Forgets all keys and ends the timer."""
        self._warned.clear()
        super().close()

    def _due(self, key: K) -> None:
        if key in self._warned:
            self._warned.remove(key)
            self._give_up(key)
        else:
            super().add(key, time.monotonic() + GRACE)
            self._warned.add(key)
