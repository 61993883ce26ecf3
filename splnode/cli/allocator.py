"""The C allocator of a process that only serves."""

import ctypes
from typing import Final

from splnode.limits import DEFAULT_LIMITS

M_TRIM_THRESHOLD: Final = -1  # malloc.h of glibc
M_MMAP_THRESHOLD: Final = -3
MOST: Final = 32 * 1024 * 1024
"""Bytes: glibc takes no larger M_MMAP_THRESHOLD on machines of 64 bits."""
PLENTY: Final = 128
"""Times the largest message: with less memory none is kept. Each of the threads that read records keeps some."""
FRUGAL: Final = 128 * 1024
"""Bytes: both thresholds of glibc at first. It raises them by itself, unless they are set."""


def keep_large_buffers(message_bytes: int = DEFAULT_LIMITS.message_bytes, memory: int | None = None) -> bool:
    """Takes the memory of large messages from the heap, not page by page from the system; False where that is not
    glibc's malloc.

    By default glibc maps each buffer of 128 KiB and more afresh, and most of the time of a large message then goes
    into the page faults of memory that was given back a moment before. What is larger than twice the largest message
    still comes from, and goes back to, the system; of freed memory the process keeps four times the largest message.
    Where the process may have only so much `memory` (bytes), and that is little, it is the other way round: each large
    buffer goes back when it is freed, since else what is kept may be all there is.
    It changes the whole process, so it is for the daemon alone, never for a library.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    largest, kept = min(2 * message_bytes, MOST), min(4 * message_bytes, 2**31 - 1)
    if memory is not None and memory < PLENTY * message_bytes:
        largest = kept = FRUGAL
    return bool(mallopt(M_MMAP_THRESHOLD, largest)) and bool(mallopt(M_TRIM_THRESHOLD, kept))
