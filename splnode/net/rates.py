"""How much of a peer's calls and bytes is taken in a second: a bucket of tokens for each identity.

Buckets hold a second's worth. What has come is paid for, even with tokens that are not there yet: so a message of any
size is taken, and the next one waits. While a bucket is empty, calls are refused with RESOURCE_EXHAUSTED and the time
after which there are tokens again; a peer that sends on all the same is not read for as long.
"""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from splnode.errors import CallError, Code
from splnode.identity import ANYONE, LOOPBACK
from splnode.limits import Limits
from splnode.net.reached import Reached
from splnode.rpc.call import Peer
from splnode.wire.intake import SLICE, TURN, Intake
from splnode.wire.message import ServerCall
from splnode.wire.room import Room

KEPT: Final = 10_000
"""Identities whose buckets are remembered while they fill; 300 bytes each."""
BURST: Final = 1.0
"""Seconds' worth of tokens that a bucket holds, and that it may owe."""
SOONEST: Final = 0.001
"""Seconds: who is asked to come back is never asked to come back at once."""


class Bucket:
    """`rate` tokens a second, BURST seconds' worth of them at most. A `rate` of 0 is any number."""

    __slots__ = ("_at", "_level", "_most", "rate")

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self._most = max(1.0, rate * BURST)
        self._level = self._most
        self._at = now

    def left(self, now: float) -> float:
        """Tokens that are there; below 0 it owes some."""
        if not self.rate:
            return float("inf")
        self._level = min(self._most, self._level + (now - self._at) * self.rate)
        self._at = now
        return self._level

    def spend(self, tokens: float, now: float) -> None:
        """Takes so many, there or not; it owes no more than it can hold."""
        if self.rate:
            self._level = max(-self._most, self.left(now) - tokens)

    def wait(self, now: float) -> float:
        """Seconds until there is a token; 0 if there is one."""
        left = self.left(now)
        need = min(1.0, self._most)
        return 0.0 if left >= need else (need - left) / self.rate


class Meter:
    """What one identity has left. Shared by all of its connections."""

    __slots__ = ("_bytes", "_calls", "_clock", "_reached", "name")

    def __init__(self, name: str, limits: Limits, reached: Reached, clock: Callable[[], float]) -> None:
        now = clock()
        self.name = name
        self._calls = Bucket(limits.calls_per_second, now)
        self._bytes = Bucket(limits.bytes_per_second, now)
        self._reached = reached
        self._clock = clock

    @property
    def full(self) -> bool:
        """Whether it is as good as new."""
        now = self._clock()
        return all(
            not each.rate or each.left(now) >= max(1.0, each.rate * BURST) for each in (self._calls, self._bytes)
        )

    @property
    def calls(self) -> int:
        """How many calls it may make now."""
        now = self._clock()
        return 0 if self._bytes.wait(now) else int(min(self._calls.left(now), 2**30))

    def took(self, calls: int) -> None:
        """So many were run."""
        self._calls.spend(calls, self._clock())

    def came(self, size: int) -> float:
        """So many bytes have come. Seconds for which nothing more is to be read: 0 unless it owes all that it may."""
        now, bucket = self._clock(), self._bytes
        if not bucket.rate:
            return 0.0
        bucket.spend(size, now)
        if bucket.left(now) > -bucket.rate * BURST:
            return 0.0
        self._reach("bytes_per_second", bucket.rate)
        return BURST

    def refusal(self) -> CallError | None:
        """One more call: None, and it is paid for, or why it is refused."""
        now = self._clock()
        for limit, what, bucket in (
            ("calls_per_second", "calls", self._calls),
            ("bytes_per_second", "bytes", self._bytes),
        ):
            if wait := bucket.wait(now):
                self._reach(limit, bucket.rate)
                text = f"{self.name} has sent its {what} of this second (limit {limit} = {bucket.rate:g})"
                return CallError(Code.RESOURCE_EXHAUSTED, text, retry_after=max(wait, SOONEST), started=False)
        self._calls.spend(1, now)
        return None

    def _reach(self, limit: str, rate: float) -> None:
        fix = f"raise limits.{limit} if that is what {self.name} needs"
        self._reached(limit, "calls are refused: more a second than one identity may", fix=fix, identity=self.name)


class Rates:
    """The meters of all identities; none, while it is not `on`, which is where no rate is set.

    `limits` are what holds, and `reached` counts where they were reached.
    """

    def __init__(self, limits: Limits, reached: Reached, clock: Callable[[], float] = time.monotonic) -> None:
        self.on = limits.calls_per_second > 0 or limits.bytes_per_second > 0
        self.limits = limits
        self.reached = reached
        self._clock = clock
        self._meters: dict[str, Meter] = {}

    def __len__(self) -> int:
        return len(self._meters)

    def of(self, peer: Peer, address: str) -> Meter | None:
        """That of a peer, by its identity; who has none of its own is known by its `address`."""
        name = peer.identity.name
        return self.named(address if name in (ANYONE, LOOPBACK) else name)

    def named(self, name: str) -> Meter | None:
        """That of an identity by its name."""
        if not self.on:
            return None
        meter = self._meters.get(name)
        if meter is None:
            if len(self._meters) >= KEPT:
                self._forget()
            meter = self._meters[name] = Meter(name, self.limits, self.reached, self._clock)
        return meter

    def _forget(self) -> None:
        """Those that are as good as new; if all are in use, the older half of them."""
        self._meters = {name: meter for name, meter in self._meters.items() if not meter.full}
        if len(self._meters) >= KEPT:
            self._meters = dict(list(self._meters.items())[KEPT // 2 :])


class MeteredIntake(Intake):
    """An Intake that runs as many calls as the meter has tokens for, and pays. All others go the general way."""

    __slots__ = ("_inner", "_meter")

    def __init__(self, inner: Intake, meter: Meter) -> None:  # its own parts stay unused: the inner one does the work
        self._inner = inner
        self._meter = meter
        self._clock = time.monotonic
        self.served = 0
        self.over = False
        self.room = sys.maxsize
        self.turn, self.slice = TURN, SLICE
        self.outlet = None

    @property
    def stopped(self) -> bool:
        """While it is True nothing is run."""
        return self._inner.stopped

    @stopped.setter
    def stopped(self, value: bool) -> None:
        self._inner.stopped = value

    def begin(self, client_hash: bytes, calls: Mapping[bytes, ServerCall]) -> None:
        """See Intake."""
        self._inner.begin(client_hash, calls)

    def run(self, data: bytes | memoryview, start: int, most: int, seconds: float, size: int | None = None) -> int:
        """See Intake."""
        self.served, self.over = 0, False
        most = min(most, self._meter.calls)
        if most < 1:
            return start
        end = self._inner.run(data, start, most, seconds, len(data) if size is None else size)
        self.served, self.over = self._inner.served, self._inner.over
        self._meter.took(self.served)
        return end

    def begin_large(self, data: bytes | memoryview, start: int, size: int) -> Room | None:
        """See Intake."""
        return self._inner.begin_large(data, start, size) if self._meter.calls > 0 else None

    def run_large(self, parcel: Room) -> bool | list[bytes]:
        """See Intake."""
        done: bool | list[bytes] = self._paid(self._meter.calls > 0 and self._inner.run_large(parcel))
        return done

    def run_apart(self, serial: int, rest: bytes, at: int, part: bytes) -> bool:
        """See Intake."""
        return bool(self._paid(self._meter.calls > 0 and self._inner.run_apart(serial, rest, at, part)))

    def take(self) -> bytes:
        """See Intake."""
        return self._inner.take()

    def close(self) -> None:
        """See Intake."""
        self._inner.close()

    def _paid(self, done: Any) -> Any:
        if done is not False:
            self._meter.took(1)
        return done
