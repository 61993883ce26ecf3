"""Limits that were reached: counted for the metrics, and said in the log, each of them now and then."""

import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog

from splnode.limits import Limits

EVERY: Final = 10.0
"""Seconds between two lines about the same limit: who floods the node must not flood the log."""

OPEN_FILES: Final = "open_files"
"""The system's limit of open files, which is none of ours, but bounds connections too."""

_NAMED: Final = re.compile(rf"\b({'|'.join(Limits.__annotations__)}) = \d")

log = structlog.get_logger("splnode.net")


class Reached:
    """`counts` has how often each limit was reached, by its name. Calling it counts once more, and says so at times."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.counts: Counter[str] = Counter()
        self._clock = clock
        self._silent: dict[str, tuple[float, int]] = {}  # until when, and the count when it was said

    def __call__(self, limit: str, event: str, *, fix: str, **facts: object) -> None:
        """`limit` was reached: what happens, and what the operator can do, is said unless it was a moment ago."""
        self.counts[limit] += 1
        until, said = self._silent.get(limit, (0.0, 0))
        now = self._clock()
        if now >= until:
            self._silent[limit] = now + EVERY, self.counts[limit]
            log.warning(event, limit=limit, times=self.counts[limit] - said, fix=fix, **facts)

    def count(self, limit: str) -> None:
        """Once more; nothing is said."""
        self.counts[limit] += 1

    def named(self, text: str) -> None:
        """Counts the limit that an error's text names, as all that are caused by one do: `(limit depth = 64)`."""
        found = _NAMED.findall(text)
        if found:  # what a peer has sent may be quoted before
            self.counts[found[-1]] += 1
