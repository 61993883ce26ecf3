"""What a process knows stays in it: no core dump, and no other process of its user looks into its memory.

The memory of a node has tokens, keys, and what is called. (prctl(2), PR_SET_DUMPABLE; core(5): RLIMIT_CORE alone does
not hold where dumps go to a program)
"""

import contextlib
import ctypes
import resource
from typing import Final

PR_SET_DUMPABLE: Final = 4  # linux/prctl.h


def keep_private() -> None:
    """For the rest of this process. Processes that it starts have no core dumps either, but may be looked into."""
    with contextlib.suppress(OSError, ValueError):  # it is 0 already, and may not be raised
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(PR_SET_DUMPABLE, 0)
