"""What peers make a node hold: parts of messages that do not end, answers that are not read.

Each connection alone is bounded, but there are many of them. Where all together hold more than the node gives, whoever
has held something the longest without an end goes: an honest peer ends its message in a moment.
"""

import sys
from collections.abc import Callable
from typing import Final, Generic, TypeVar

K = TypeVar("K")

SMALL: Final = 65_536
"""Bytes that a connection may hold without being counted: one read of a socket."""


class Scales:
    """Large calls that run, `most` bytes of them together; but one alone may weigh what it likes.

    Of one peer `share` calls may run at a time, large or not; it counts those itself.
    """

    def __init__(self, most: int, share: int = sys.maxsize) -> None:
        self.most = most
        self.share = share
        self.total = 0

    def put(self, weight: int) -> bool:
        """False if there is no room for it beside the others."""
        if self.total and self.total + weight > self.most:
            return False
        self.total += weight
        return True

    def take(self, weight: int) -> None:
        """The call is over."""
        self.total -= weight


class Ledger(Generic[K]):
    """Bytes by who holds them, `most` of them together; `evict` is called with whoever has to go."""

    def __init__(self, most: int, evict: Callable[[K], None]) -> None:
        self._most = most
        self._evict = evict
        self._held: dict[K, int] = {}
        self.total = 0

    def __contains__(self, key: K) -> bool:
        return key in self._held

    def hold(self, key: K, size: int) -> None:
        """Says how much `key` holds now; from SMALL down it holds nothing, and has come to an end."""
        if size <= SMALL:
            self.release(key)
            return
        self.total += size - self._held.get(key, 0)
        self._held[key] = size  # where it was: only an end makes it young again
        while self.total > self._most and len(self._held) > 1:
            oldest = next(iter(self._held))
            self.release(oldest)
            self._evict(oldest)

    def release(self, key: K) -> None:
        """It holds nothing any more; unknown keys are fine."""
        self.total -= self._held.pop(key, 0)
