"""Whether a call that failed is tried again, and when. Pure: times and chances are arguments.

A call is tried again only where that cannot run it twice: it provably was not started, or its message says
`"idempotent": true`. And only where there is something left to spend: a service that fails is not helped by three times
the load. Two budgets have to agree, gRPC's tokens (A6, retryThrottling), which follow the failures, and finagle's share
of calls, which follows the load.
"""

import enum
import math
from typing import Final

from splnode.config import RetryConfig
from splnode.errors import CallError, Code


class Again(enum.Enum):
    """What becomes of a call that failed."""

    NO = "no"
    """Its error is the answer."""
    ELSEWHERE = "elsewhere"
    """At once, on a member that was not tried yet: nothing was spent on it so far."""
    LATER = "later"
    """After a pause, if the budget allows it, on another member if there is one."""


_NOT_HERE: Final = (Code.UNAVAILABLE, Code.FAILED_PRECONDITION, Code.UNIMPLEMENTED)
"""Not started for a reason that lies in the member: it cannot be reached, it stops, its contract does not fit."""


def verdict(error: CallError, *, idempotent: bool) -> Again:
    """What becomes of a call that ended with `error`.

    Never tried again: DEADLINE_EXCEEDED and CANCELLED, since nobody waits any more, and what another member would say
    as well, INVALID_ARGUMENT and the like.
    """
    if not error.started:
        if error.code in _NOT_HERE:
            return Again.ELSEWHERE
        return Again.LATER if error.code is Code.RESOURCE_EXHAUSTED else Again.NO
    return Again.LATER if idempotent and error.code is Code.UNAVAILABLE else Again.NO


def pause(settings: RetryConfig, retries: int, chance: float, push_back: float | None = None) -> float:
    """Seconds before the next attempt, after so many `retries` (0, 1, ...). What the server asked for is obeyed.

    `chance` is a draw in [0, 1).
    """
    planned = min(settings.longest, settings.first * settings.factor**retries)
    jittered = planned * (1 + settings.jitter * (2 * chance - 1))
    return max(jittered, push_back or 0.0)


class Budget:
    """What may be spent on trying again, for one service. `now` is a moment in seconds that never goes back.

    Tokens: a failure takes one, a success brings `earned`; at half of them or less nothing is tried again.
    Rate: of the last WINDOW seconds at most `share` of the calls, and `floor` a second besides.
    """

    WINDOW: Final = 10.0
    """Seconds after which a call counts 1/e."""

    __slots__ = ("_calls", "_retries", "_settings", "_stamp", "tokens")

    def __init__(self, settings: RetryConfig = RetryConfig()) -> None:  # noqa: B008 - frozen
        self._settings = settings
        self.tokens = settings.tokens
        self._calls = self._retries = 0.0
        self._stamp: float | None = None

    def called(self, calls: int = 1) -> None:
        """First attempts were made."""
        self._calls += calls

    def succeeded(self, calls: int = 1) -> None:
        """Attempts went well."""
        settings = self._settings
        if self.tokens < settings.tokens:
            self.tokens = min(settings.tokens, self.tokens + settings.earned * calls)

    def failed(self) -> None:
        """An attempt failed in a way that might be tried again."""
        self.tokens = max(0.0, self.tokens - 1)

    def spend(self, now: float) -> bool:
        """Takes one retry out of the budget; False if there is none left."""
        settings = self._settings
        if self._stamp is None or now > self._stamp:
            fade = math.exp((self._stamp - now) / self.WINDOW) if self._stamp is not None else 1.0
            self._calls *= fade
            self._retries *= fade
            self._stamp = now
        allowed = settings.share * self._calls + settings.floor * self.WINDOW
        if self.tokens <= settings.tokens / 2 or self._retries + 1 > allowed:
            return False
        self._retries += 1
        return True
