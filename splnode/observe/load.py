"""How loaded this node is, for those who share their calls out by that.

A peer asks with a ping whose metadata has `spl-load: ?`, and is answered with `spl-load: QPS,ERRORS,UTILIZATION`: calls
a second, failed calls a second, and the share of its capacity that is in use (1 is all), as decimal numbers. The
utilization is the larger of two: the share of one processor that the process takes, since its calls run in one loop,
and the calls that ran at the same time as a part of those that may. (gRPC A51 says the same of its backends)

Nothing is counted for it: it is read out of the tallies, once a second at most, and only when somebody asks.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from splnode.errors import Code
from splnode.rpc.failure import FAULTS
from splnode.rpc.tally import Tally

FRESH: Final = 1.0
"""Seconds for which a figure is told again."""
WINDOW: Final = 5.0
"""Seconds that a figure stands for, if it was asked for so long ago and since."""
_FAILED: Final = frozenset(code.name for code in (*FAULTS, Code.RESOURCE_EXHAUSTED))
"""What counts as failed: the node's fault, or that it had no room. The others are the caller's, or the protocol's."""

_Sample = tuple[float, float, int, int, float]
"""When, seconds of the processor, calls, those that failed, seconds of all calls together: all since the start."""


class Gauge:
    """The load of one process. `tallies` are those of the services it is to be judged by, `running` gives the calls
    that run and `allowed` how many may; `processes` serve together as one node, each the like of this one."""

    def __init__(
        self,
        tallies: Callable[[], Iterable[Tally]],
        running: Callable[[], int],
        allowed: Callable[[], int],
        *,
        processes: int = 1,
        now: Callable[[], float] = time.monotonic,
        processor: Callable[[], float] = time.process_time,
    ) -> None:
        self._tallies = tallies
        self._running = running
        self._allowed = allowed
        self._processes = processes
        self._now = now
        self._processor = processor
        self._samples: deque[_Sample] = deque([self._sample(now())])
        self._text = b""

    def text(self) -> bytes:
        """What is told now; it stands for the last seconds. Empty in the first one."""
        now = self._now()
        samples = self._samples
        if now - samples[-1][0] >= FRESH:
            samples.append(self._sample(now))
            while len(samples) > 2 and now - samples[1][0] >= WINDOW:
                samples.popleft()
            self._text = self._told(samples[0], samples[-1])
        return self._text

    def _sample(self, now: float) -> _Sample:
        calls, failed, seconds = 0, 0, 0.0
        for tally in self._tallies():
            calls += tally.calls
            seconds += tally.seconds
            if tally.failures:
                failed += sum(count for code, count in tally.failures.items() if code in _FAILED)
        return now, self._processor(), calls, failed, seconds

    def _told(self, first: _Sample, last: _Sample) -> bytes:
        took, busy, calls, failed, seconds = (after - before for before, after in zip(first, last, strict=True))
        at_once = seconds / took if calls else self._running()  # Little's law; nothing has ended: those that run now
        utilization = max(busy / took, at_once / max(1, self._allowed()))
        processes = self._processes
        return b"%.6g,%.6g,%.6g" % (calls / took * processes, failed / took * processes, utilization)
