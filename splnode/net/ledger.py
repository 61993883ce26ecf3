"""What peers make a node hold: parts of messages that do not end, answers that are not read.

Each connection alone is bounded, but there are many of them. Where all together hold more than the node gives, whoever
has held something the longest without an end goes: an honest peer ends its message in a moment.
"""

import sys
from collections.abc import Callable
from typing import Final, Generic, TypeVar

K = TypeVar("K")

SMALL: Final = 8192
"""Bytes that a connection may hold without being counted. Much less than what it costs by itself is not worth it."""
PART: Final = 8
"""What went is given back to the system when it was one in so many of the bytes that there may be."""


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


class Budget(Generic[K]):
    """Bytes that all `Ledger`s of it may hold together, `most` of them. `swept` is called now and then, after some of
    those who held them had to go.
    """

    def __init__(self, most: int, swept: Callable[[], None] = lambda: None) -> None:
        self.most = most
        self.total = 0
        self._swept = swept
        self._held: dict[tuple[Ledger[K], K], int] = {}
        self._gone = 0

    def hold(self, entry: "tuple[Ledger[K], K]", size: int) -> None:
        """So many bytes; who is there already stays where it was, since only an end makes it young again."""
        held = self._held
        self.total += size - held.get(entry, 0)
        held[entry] = size
        while self.total > self.most and len(held) > 1:
            oldest = next(iter(held))
            ledger, key = oldest
            self._gone += held[oldest]
            ledger.release(key)
            ledger.evict(key)
        if self._gone > self.most // PART:
            self._gone = 0
            self._swept()

    def drop(self, entry: "tuple[Ledger[K], K]") -> None:
        """It holds nothing."""
        self.total -= self._held.pop(entry, 0)


class Ledger(Generic[K]):
    """Bytes of one kind by who holds them; `evict` is called with whoever has to go, for want of `budget`."""

    def __init__(self, budget: Budget[K], evict: Callable[[K], None]) -> None:
        self._budget = budget
        self._held: dict[K, int] = {}
        self.evict = evict
        self.total = 0

    def __contains__(self, key: K) -> bool:
        return key in self._held

    def hold(self, key: K, size: int) -> None:
        """Says how much `key` holds now; from SMALL down it holds nothing, and has come to an end."""
        if size <= SMALL:
            self.release(key)
            return
        self.total += size - self._held.get(key, 0)
        self._held[key] = size
        self._budget.hold((self, key), size)

    def release(self, key: K) -> None:
        """It holds nothing any more; unknown keys are fine."""
        if key in self._held:
            self.total -= self._held.pop(key)
            self._budget.drop((self, key))
