"""A way out for the log that never makes the node wait and never fails.

A log on a pipe that nobody reads, or on a terminal that was stopped with Ctrl-S, would otherwise hold the event
loop in a write for ever; one on a pipe whose reader has gone would raise in whoever had something to say.
"""

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

KEPT: Final = 1024 * 1024
"""Bytes of the log that wait for a slow reader; what comes beyond them is dropped, and counted."""
PIECE: Final = 4096
"""A pipe that is ready takes so many bytes without waiting. (POSIX: PIPE_BUF; pipe(7))"""
LAST: Final = 1.0
"""Seconds that `drain` waits for the reader, all in all."""


class Outlet:
    """The part of a text stream that a log needs, over a file descriptor that stays its owner's.

    `lost` makes the line that says how many were dropped. It is written once the reader is back.
    """

    def __init__(self, descriptor: int, lost: Callable[[int], str]) -> None:
        self._descriptor = descriptor
        self._lost_line = lost
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._lost = 0
        self._lock = threading.Lock()
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def write(self, text: str) -> int:
        """Takes a line, or drops it where too many wait."""
        data = text.encode("utf-8", "backslashreplace")
        with self._lock:
            if self._lost or self._size + len(data) > KEPT:
                self._lost += 1
            else:
                self._waiting.append(data)
                self._size += len(data)
        return len(text)

    def flush(self) -> None:
        """Writes what the reader takes now."""
        with self._lock:
            self._send(0)

    def drain(self) -> None:
        """Writes the rest, for which the reader has a moment. For the end of the process."""
        with self._lock:
            self._send(LAST)

    def _send(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._waiting or self._lost:
            if not self._waiting:
                line = self._lost_line(self._lost).encode("utf-8", "backslashreplace")
                self._waiting.append(line)
                self._size, self._lost = len(line), 0
            if not self._poll.poll(max(0.0, until - time.monotonic()) * 1000 if seconds else 0):
                return
            data = self._waiting.popleft()
            try:
                written = os.write(self._descriptor, data[:PIECE])
            except BlockingIOError:  # somebody has made it non-blocking
                written = 0
            except OSError:  # the reader has gone, or the disk is full: there is nobody to tell
                self._waiting.clear()
                self._size = self._lost = 0
                return
            if written < len(data):
                self._waiting.appendleft(data[written:])
                if not written:
                    return
            self._size -= written
