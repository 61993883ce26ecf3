"""The C allocator of a process that only serves."""

import ctypes
from typing import Final

M_TRIM_THRESHOLD: Final = -1  # malloc.h of glibc
M_MMAP_THRESHOLD: Final = -3
LARGEST: Final = 8 * 1024 * 1024
"""Bytes: twice the largest message. What is larger still comes from, and goes back to, the system."""
KEPT: Final = 16 * 1024 * 1024
"""Bytes of freed memory that the process keeps for the next large messages."""


def keep_large_buffers() -> bool:
    """Takes the memory of large messages from the heap, not page by page from the system; False where that is not
    glibc's malloc.

    By default glibc maps each buffer of 128 KiB and more afresh, and most of the time of a large message then goes
    into the page faults of memory that was given back a moment before. It changes the whole process, so it is for
    the daemon alone, never for a library.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST)) and bool(mallopt(M_TRIM_THRESHOLD, KEPT))
