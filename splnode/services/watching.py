"""How long a call that waits for a change may wait."""

import time
from typing import Final

from splnode.rpc.call import running

LONGEST: Final = 60.0
"""Seconds that one watch may wait."""
MARGIN: Final = 0.2
"""Seconds before the call's deadline at which a watch answers, so that the answer still arrives."""


def seconds_to_wait(timeout_ms: int) -> float:
    """What the caller asked for, within LONGEST and the deadline of its call; 0 or less: it does not wait."""
    seconds = min(max(timeout_ms / 1000, 0.0), LONGEST)
    call = running.get()
    return seconds if call is None else min(seconds, call.deadline - MARGIN - time.monotonic())
