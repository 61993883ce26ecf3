"""Which of the members gets a call: pure functions of the members and of what was drawn or asked for.

| policy | chooses | needs |
|---|---|---|
| `least_request` | of two random members the one with fewer calls in flight | two draws |
| `round_robin` | one after the other | the number of the turn; a random start |
| `weighted` | at random, in proportion to their weights | a draw, `Shares` |
| `Slots.at` | the same member for the same key (sticky) | the key |

Each costs the same whether there are 3 members or 1,000: what grows with their number (`Shares`, `Slots`) is built
when the set of members or their weights change, and not for a call.

Two random choices: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing". Shares: Vose's alias
method. Slots: rendezvous hashing (Thaler and Ravishankar) of slots instead of keys, so that a member that comes or goes
moves only the keys that it gets or had.
"""

import hashlib
import struct
import typing
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

POLICIES: Final = ("least_request", "round_robin", "weighted", "sticky")
"""The names, as a configuration writes them; the first is the default."""

SLOTS: Final = 4096
"""Slots that the keys fall into. With m members each has one m-th of the keys, give or take sqrt(m / SLOTS) of that."""
_RANKS: Final = struct.Struct(f"<{SLOTS}Q")


class Loaded(typing.Protocol):
    """Whoever can be busy."""

    @property
    def in_flight(self) -> int:
        """Calls that it has not answered."""
        ...


M = TypeVar("M")
L = TypeVar("L", bound=Loaded)


def least_request(members: Sequence[L], one: float, other: float) -> L:
    """Of two different members, chosen by two draws in [0, 1), the one with fewer calls in flight.

    `members` is not empty. Between equals it is the first one drawn.
    """
    count = len(members)
    first = int(one * count)
    if count == 1:
        return members[first]
    second = int(other * (count - 1))
    if second >= first:
        second += 1
    chosen, rival = members[first], members[second]
    return rival if rival.in_flight < chosen.in_flight else chosen


def round_robin(members: Sequence[M], turn: int) -> M:
    """The member whose turn it is; the caller counts the turns. `members` is not empty."""
    return members[turn % len(members)]


class Shares:
    """Places 0 .. n-1, drawn in proportion to `weights` (finite, not negative, not all zero) in constant time."""

    __slots__ = ("_alias", "_cut")

    def __init__(self, weights: Sequence[float]) -> None:
        total = sum(weights)
        if not weights or not total > 0 or min(weights) < 0:
            raise ValueError(f"weights are not negative and not all zero, not {list(weights)!r:.200}")
        count = len(weights)
        self._cut = [weight * count / total for weight in weights]
        self._alias = list(range(count))
        small = [place for place, cut in enumerate(self._cut) if cut < 1]
        large = [place for place, cut in enumerate(self._cut) if cut >= 1]
        while small and large:
            poor, rich = small.pop(), large[-1]
            self._alias[poor] = rich
            self._cut[rich] -= 1 - self._cut[poor]
            if self._cut[rich] < 1:
                small.append(large.pop())
        for place in (*small, *large):  # what rounding left over
            self._cut[place] = 1.0

    def at(self, draw: float) -> int:
        """The place that a draw in [0, 1) falls on."""
        scaled = draw * len(self._cut)
        place = int(scaled)
        return place if scaled - place < self._cut[place] else self._alias[place]


def weighted(members: Sequence[M], shares: Shares, draw: float) -> M:
    """The member that a draw in [0, 1) falls on; `shares` has a place for each."""
    return members[shares.at(draw)]


class Slots:
    """Keys to names: each slot belongs to the name that ranks highest there, the same in every process.

    `before`, the slots of the set that was, saves most of the work where few names came or went.
    """

    __slots__ = ("_best", "_owners", "names")

    def __init__(self, names: Iterable[str], before: "Slots | None" = None) -> None:
        self.names = frozenset(names)
        if not self.names:
            raise ValueError("slots belong to one name at least")
        known: frozenset[str] = frozenset()
        self._owners, self._best = [""] * SLOTS, [-1] * SLOTS
        if before is not None:
            known = before.names
            self._owners, self._best = before._owners.copy(), before._best.copy()
        orphaned = [slot for slot, owner in enumerate(self._owners) if owner not in self.names]
        for slot in orphaned:
            self._best[slot] = -1
        for name in self.names - known:
            self._claim(name, range(SLOTS))
        if orphaned:
            for name in self.names & known:
                self._claim(name, orphaned)

    def at(self, key: bytes) -> str:
        """The name that `key` belongs to."""
        return self._owners[_hash(key) % SLOTS]

    def _claim(self, name: str, slots: Iterable[int]) -> None:
        ranks, best, owners = _ranks(name), self._best, self._owners
        for slot in slots:
            if ranks[slot] > best[slot]:
                best[slot] = ranks[slot]
                owners[slot] = name


def _hash(key: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")


def _ranks(name: str) -> tuple[int, ...]:
    """What a name ranks in each slot: 64 pseudo-random bits each."""
    return _RANKS.unpack(hashlib.shake_128(name.encode()).digest(_RANKS.size))
