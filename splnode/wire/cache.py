"""A cache that strangers fill: bounded by count and by weight, the least recently used go first."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """At most `count` entries of at most `weight` together. What is `dropped` (they are counted) can be made again."""

    def __init__(self, count: int, weight: int) -> None:
        self._count = count
        self._weight = weight
        self._held = 0
        self.dropped = 0
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """The value, now the one used last; None where there is none."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: K, value: V, weight: int) -> None:
        """Keeps a value, unless it alone weighs more than all may."""
        old = self._entries.pop(key, None)
        if old is not None:
            self._held -= old[1]
        if weight > self._weight:
            return
        self._entries[key] = (value, weight)
        self._held += weight
        while len(self._entries) > self._count or self._held > self._weight:
            self._held -= self._entries.popitem(last=False)[1][1]
            self.dropped += 1
