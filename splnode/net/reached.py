"""Limits that were reached: counted for the metrics, and said in the log, each of them now and then."""

import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog

from splnode.limits import Limits
from splnode.net.seldom import Seldom

OPEN_FILES: Final = "open_files"
"""The system's limit of open files, which is none of ours, but bounds connections too."""

_NAMED: Final = re.compile(rf"\b({'|'.join(Limits.__annotations__)}) = \d")

log = structlog.get_logger("splnode.net")


class Reached:
    """`counts` has how often each limit was reached, by its name. Calling it counts once more, and says so at times."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.counts: Counter[str] = Counter()
        self._seldom = Seldom(clock)

    def __call__(self, limit: str, event: str, *, fix: str, **facts: object) -> None:
        """`limit` was reached: what happens, and what the operator can do, is said unless it was a moment ago."""
        self.counts[limit] += 1
        if times := self._seldom(limit):
            log.warning(event, limit=limit, times=times, fix=fix, **facts)

    def count(self, limit: str) -> None:
        """Once more; nothing is said."""
        self.counts[limit] += 1

    def named(self, text: str) -> None:
        """Counts the limit that an error's text names, as all that are caused by one do: `(limit depth = 64)`."""
        found = _NAMED.findall(text)
        if found:  # what a peer has sent may be quoted before
            self.counts[found[-1]] += 1
