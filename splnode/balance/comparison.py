"""Members beside one another: who does so much worse with the same calls that it is the member's fault. Pure.

A call can go wrong in two ways, and they are judged apart.

- The *network* says it: no connection, or it went in the middle of the call. That speaks against the member whatever
  the call was, so its own record is enough (`accrual`: 5 in a row, or too many of late).
- The *node* says it, by INTERNAL and the like, or says nothing before the deadline. That may be the call's fault as
  well: a message that makes a handler fail does so on each node. If it counted as the other does, one client with such
  a message would have node after node left out, for all clients of this process, until too few are left and all are
  used again; and so would one with deadlines that nobody can keep. So it speaks against a member only where the others
  do well with the same calls. (Envoy parts the two as consecutive_local_origin_failure and consecutive_5xx, and does
  not eject for the "gateway" codes among the latter by default; gRPC A50 compares alone.)

The same calls: those that any of these members could have had. Calls that named their node, or a key that belongs to
one, are not counted; and a member is compared with those that have the message on which it failed last. Chance gives
each of them the same mixture, so what remains is the member's own. (Turns are not chance: a client that repeats three
calls on three nodes may have one of them left out; not two, since a tenth, or one, is left out at a time.)

Two rules. `outliers` is gRPC's A50: the merely worse among many, from 5 members and 100 calls each on. `outdone` finds
the broken among few: from 2 members and 5 calls on. Neither leaves out anybody whose bad luck may be chance.
"""

import math
from collections.abc import Mapping
from statistics import fmean, pstdev
from typing import Final, NamedTuple, TypeVar

K = TypeVar("K")

SURE: Final = 4.0
"""Standard deviations by which a member has to be worse: one in 30,000 is so by chance."""
DOUBT: Final = 2.0
"""Standard deviations by which the others may be worse than they look: after a few calls they are compared often."""


class Record(NamedTuple):
    """Calls of late: those that went well, and all. They fade, so they are no whole numbers."""

    well: float
    ended: float

    @property
    def rate(self) -> float:
        """The share that went well; 1 where there are none."""
        return self.well / self.ended if self.ended else 1.0


def outliers(records: Mapping[K, Record], *, stdev_factor: float = 1.9, members: int = 5, volume: int = 100) -> set[K]:
    """Those whose success lies far below the others'. (gRPC A50, success rate ejection)

    Those with fewer than `volume` calls are not judged, and with fewer than `members` of the others nobody is.
    """
    rates = {key: record.rate for key, record in records.items() if record.ended > volume - 0.5}
    if len(rates) < members:
        return set()
    total = total_of(records)
    floor = fmean(rates.values()) - stdev_factor * pstdev(rates.values())
    return {key for key, rate in rates.items() if rate < floor and _no_chance(records[key], total)}


def outdone(own: Record, total: Record, *, success: float, least: float) -> bool:
    """Whether a member is broken, and the others are not: less than `success` of their share goes well here.

    `total` has the calls of all, its own too. With fewer than `least` calls, here or there, nobody is judged.
    """
    others = _without(total, own)
    if min(own.ended, others.ended) < least - 0.5:  # they fade, if only by microseconds
        return False
    return own.rate < success * others.rate and _no_chance(own, total)


def total_of(records: Mapping[K, Record]) -> Record:
    """The calls of all of them."""
    return Record(sum(each.well for each in records.values()), sum(each.ended for each in records.values()))


def _without(total: Record, own: Record) -> Record:
    return Record(max(0.0, total.well - own.well), max(0.0, total.ended - own.ended))


def _no_chance(own: Record, total: Record) -> bool:
    """Whether more calls failed here than chance explains, if each fails as likely as those of the others."""
    others = _without(total, own)
    likely = (others.ended - others.well + 1) / (others.ended + 2)  # Laplace's rule: nothing is sure after few calls
    likely = min(1.0, likely + DOUBT * math.sqrt(likely * (1 - likely) / (others.ended + 2)))
    surplus = own.ended - own.well - own.ended * likely
    return surplus > SURE * math.sqrt(own.ended * likely * (1 - likely))
