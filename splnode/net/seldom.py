"""What is said now and then, however often it happens: who floods the node must not flood its log."""

import time
from collections.abc import Callable
from typing import Final

EVERY: Final = 10.0
"""Seconds between two lines about the same."""
KINDS: Final = 256
"""Things that are told apart; of more all others are one."""


class Seldom:
    """Called with something that happens, it gives how often it did since that was last to be said; 0: not now."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._silent: dict[str, tuple[float, int]] = {}  # until when, and how often meanwhile

    def __call__(self, what: str) -> int:
        """Once more. What is alike counts as the same."""
        now = self._clock()
        if what not in self._silent and len(self._silent) >= KINDS:
            self._silent = {key: (until, times) for key, (until, times) in self._silent.items() if until > now}
            what = what if len(self._silent) < KINDS else ""
        until, times = self._silent.get(what, (0.0, 0))
        if now < until:
            self._silent[what] = until, times + 1
            return 0
        self._silent[what] = now + EVERY, 0
        return times + 1
