"""The C allocator of a process that only serves."""

import ctypes
from typing import Final

from splnode.limits import DEFAULT_LIMITS

M_TRIM_THRESHOLD: Final = -1  # malloc.h of glibc
M_MMAP_THRESHOLD: Final = -3
MOST: Final = 32 * 1024 * 1024
"""Bytes: glibc takes no larger M_MMAP_THRESHOLD on machines of 64 bits."""


def keep_large_buffers(message_bytes: int = DEFAULT_LIMITS.message_bytes) -> bool:
    """Takes the memory of large messages from the heap, not page by page from the system; False where that is not
    glibc's malloc.

    By default glibc maps each buffer of 128 KiB and more afresh, and most of the time of a large message then goes
    into the page faults of memory that was given back a moment before. What is larger than twice the largest message
    still comes from, and goes back to, the system; of freed memory the process keeps four times the largest message.
    It changes the whole process, so it is for the daemon alone, never for a library.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    largest, kept = min(2 * message_bytes, MOST), min(4 * message_bytes, 2**31 - 1)
    return bool(mallopt(M_MMAP_THRESHOLD, largest)) and bool(mallopt(M_TRIM_THRESHOLD, kept))
