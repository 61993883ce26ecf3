"""When a member is left out for a while, and when it is tried again. Pure: times and chances are arguments.

```
         5 failures in a row, or success below 0.8
 LIVE ─────────────────────────────────────────────► EJECTED: 5 s, then twice as long each time, to 300 s, +-20 %
  ▲                                                     │ its time is over
  │ the probe went well                                 ▼
  └───────────────────────────────────────────────── PROBING: one call alone; if it fails, EJECTED again
```

A failure here is one of the network: no connection, or one that went. What a node says itself, or does not say in
time, may be the call's fault: for that it is compared with the others (`comparison`), and then ejected as `outdone`.
Who is left out is not decided here alone: `usable` brings all back when too many are bad, since then the fault is
likelier the network's, or the caller's, than theirs.
"""

import enum
import math
from collections.abc import Collection
from typing import Final, TypeVar

from splnode.config import EjectionConfig

C = TypeVar("C", bound=Collection[object])

PANIC: Final = 0.5
"""The share of members that must be good for the bad ones to be left out."""


class Standing(enum.Enum):
    """How a member stands."""

    LIVE = "live"
    EJECTED = "ejected"
    PROBING = "probing"


class Accrual:
    """The record of one member. `now` is a moment in seconds that never goes back, `chance` a draw in [0, 1).

    `outdone`: it was ejected because others do better with the same calls.
    """

    __slots__ = (
        "_bad", "_ejection", "_good", "_in_row", "_probed", "_revived", "_settings", "_stamp", "_until", "outdone",
    )  # fmt: skip

    def __init__(self, settings: EjectionConfig = EjectionConfig()) -> None:  # noqa: B008 - frozen
        self._settings = settings
        self._until: float | None = None  # the end of the ejection; None while it is live
        self._probed = False  # the one call of a probing member is on its way
        self._ejection = settings.first
        self._revived = -math.inf
        self.outdone = False
        self._forget()

    @property
    def success(self) -> float:
        """The share of calls that the network did not lose of late; 1 where nothing is known."""
        total = self._good + self._bad
        return self._good / total if total else 1.0

    @property
    def until(self) -> float | None:
        """When it is tried again; None while it is live."""
        return self._until

    def standing(self, now: float) -> Standing:
        """How the member stands. EJECTED becomes PROBING by itself."""
        if self._until is None:
            return Standing.LIVE
        return Standing.EJECTED if now < self._until else Standing.PROBING

    def take_probe(self, now: float) -> bool:
        """True for the one call that a probing member may have; its outcome must be told, or `give_back` called."""
        if self._probed or self.standing(now) is not Standing.PROBING:
            return False
        self._probed = True
        return True

    def give_back(self) -> None:
        """The probe said nothing of the member: it was cancelled, or could not be sent at all."""
        self._probed = False

    def succeeded(self, now: float, calls: int = 1) -> bool:
        """Calls were answered; True if the member is live again by that. Those sent before its ejection say nothing."""
        if self._until is None:
            self._weigh(now)
            self._good += calls
            self._in_row = 0
            return False
        if not self._probed:
            return False
        self._until, self._probed, self._revived, self.outdone = None, False, now, False
        self._forget()
        return True

    def failed(self, now: float, chance: float) -> bool:
        """A call failed; True if the member is ejected by that."""
        if self._until is not None:
            if not self._probed:
                return False
            return self._eject(now, chance)
        self._weigh(now)
        self._bad += 1
        self._in_row += 1
        settings = self._settings
        known = self._good + self._bad > settings.least - 0.5  # they fade, if only by microseconds
        if self._in_row >= settings.failures or (known and self.success < settings.success):
            return self._eject(now, chance)
        return False

    def eject(self, now: float, chance: float, *, outdone: bool = False) -> None:
        """Leaves the member out, whatever its record says: it does not answer, or others do better."""
        if self._until is None or self._probed:
            self.outdone = outdone
            self._eject(now, chance)

    def revive(self) -> None:
        """Everything is forgotten: the node has started anew."""
        self._until, self._probed, self.outdone = None, False, False
        self._ejection, self._revived = self._settings.first, -math.inf
        self._forget()

    def _eject(self, now: float, chance: float) -> bool:
        settings = self._settings
        if self._until is None and now - self._revived > self._ejection:
            self._ejection = settings.first  # it was live for longer than it was out: it begins anew
        self._until = now + self._ejection * (1 + settings.jitter * (2 * chance - 1))
        self._ejection = min(settings.longest, self._ejection * 2)
        self._probed = False
        return True

    def _forget(self) -> None:
        self._good = self._bad = 0.0
        self._in_row = 0
        self._stamp = -math.inf

    def _weigh(self, now: float) -> None:
        """Older calls count less: by 1/e in a window."""
        fade = math.exp((self._stamp - now) / self._settings.window) if now > self._stamp else 1.0
        self._good *= fade
        self._bad *= fade
        self._stamp = max(now, self._stamp)


def usable(good: C, everyone: C) -> C:
    """The members to choose from: the good ones, or everyone where too few of them are good. Never none of some."""
    return good if good and len(good) >= PANIC * len(everyone) else everyone
