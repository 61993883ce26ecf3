"""What peers make a node hold: parts of messages that do not end, answers that are not read.

Each connection alone is bounded, but there are many of them. Where all together hold most of what the node gives, only
the newest of those who are in the midst of a message is read on, and the others wait until it has ended: so who ends
its message in a moment, as most do, waits for nobody, and slow ones come one after another. Who is read and does not
get on while others wait has to go. Where that does not help, whoever has held something the longest without an end
goes.
"""

import sys
from collections.abc import Callable
from typing import Final, Generic, TypeAlias, TypeVar

K = TypeVar("K")

SMALL: Final = 8192
"""Bytes that a connection may hold without being counted. Much less than what it costs by itself is not worth it."""
PART: Final = 8
"""What went is given back to the system when it was one in so many of the bytes that there may be."""
TICK: Final = 0.25
"""Seconds between two looks at who gets on, while somebody waits."""
PATIENT: Final = 12
"""Looks, three seconds of them, in which one who is read while others wait has to send STEADY bytes."""
STEADY: Final = 65_536
"""Bytes: far below what the slowest line in use brings in that time."""


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
    """Bytes that all `Ledger`s of it may hold together, `most` of them, but always two messages of `largest` bytes.

    Who can wait does when there is no more room for two such messages, but not before half is held.
    `swept` is called now and then, after some of those who held them had to go; `crowded` when somebody has to wait:
    `look` is to be called each TICK from then on, while it gives True.
    """

    def __init__(
        self,
        most: int,
        swept: Callable[[], None] = lambda: None,
        largest: int = 0,
        crowded: Callable[[], None] = lambda: None,
    ) -> None:
        self.most = most = max(most, 2 * largest)
        self.total = 0
        self._brim = max(most - 2 * largest, most // 2)
        self._swept = swept
        self._crowded = crowded
        self._held: dict[Entry[K], int] = {}
        self._reading: dict[Entry[K], tuple[int, int]] = {}  # bytes when it last got on, and looks since
        self._waiting: set[Entry[K]] = set()
        self._gone = 0

    def hold(self, entry: "Entry[K]", size: int) -> None:
        """So many bytes; who is there already stays where it was, since only an end makes it young again."""
        held, ledger = self._held, entry[0]
        before = held.get(entry, 0)
        self.total += size - before
        held[entry] = size
        if ledger.pause is not None and entry not in self._waiting:
            if size < before or entry not in self._reading:  # one message has ended, and there is more of the next
                self._reading[entry] = (size, 0)
            if self.total > self._brim and len(self._reading) > 1:
                for each in [each for each in held if each in self._reading][:-1]:
                    self._wait(each)
        while self.total > self.most and len(held) > 1:
            self._evict(next(iter(held)))
        self._next()

    def drop(self, entry: "Entry[K]") -> None:
        """It holds nothing."""
        self.total -= self._held.pop(entry, 0)
        self._reading.pop(entry, None)
        if entry in self._waiting:
            self._go_on(entry)
            del self._reading[entry]
        self._next()

    def look(self) -> bool:
        """Has those go who are read and do not get on, while others wait. False: nobody waits."""
        for entry, (before, looks) in list(self._reading.items()):
            if not self._waiting:
                break
            if entry not in self._reading:
                continue  # it went with another
            size = self._held[entry]
            if size - before >= STEADY:
                self._reading[entry] = (size, 0)
            elif looks < PATIENT:
                self._reading[entry] = (before, looks + 1)
            else:
                self._evict(entry)
        self._next()
        return bool(self._waiting)

    def _wait(self, entry: "Entry[K]") -> None:
        ledger, key = entry
        del self._reading[entry]
        self._waiting.add(entry)
        assert ledger.pause is not None  # else it does not wait
        ledger.pause(key, True)
        if len(self._waiting) == 1:
            self._crowded()

    def _next(self) -> None:
        """The newest of those who wait is read again, where there is room, or nobody else is read: one at a time, since
        nobody knows how much it brings."""
        if self._waiting and (self.total <= self._brim or not self._reading):
            self._go_on(next(each for each in reversed(self._held) if each in self._waiting))

    def _go_on(self, entry: "Entry[K]") -> None:
        ledger, key = entry
        self._waiting.remove(entry)
        self._reading[entry] = (self._held.get(entry, 0), 0)
        assert ledger.pause is not None  # else it would not wait
        ledger.pause(key, False)

    def _evict(self, entry: "Entry[K]") -> None:
        ledger, key = entry
        self._gone += self._held[entry]
        ledger.release(key)
        ledger.evict(key)
        if self._gone > self.most // PART:
            self._gone = 0
            self._swept()


class Ledger(Generic[K]):
    """Bytes of one kind by who holds them; `evict` is called with whoever has to go, for want of `budget`, and `pause`
    with who is to be read no more for now (True), or again (False), where its kind is one that can wait.
    """

    def __init__(
        self, budget: Budget[K], evict: Callable[[K], None], pause: Callable[[K, bool], None] | None = None
    ) -> None:
        self._budget = budget
        self._held: dict[K, int] = {}
        self.evict = evict
        self.pause = pause
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


Entry: TypeAlias = tuple[Ledger[K], K]
"""Who holds bytes of one kind."""
