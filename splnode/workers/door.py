"""The door of a Unix socket: who comes in there is shown to one worker after another.

A Unix socket has no SO_REUSEPORT, and of processes that accept on one socket some get nearly all connections and some
none: the kernel wakes them all, each time in the same order. So the supervisor accepts, and hands each connection over.
(unix(7), SCM_RIGHTS)
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

import structlog

from splnode.workers.link import TURN

REST: Final = 0.2
"""Seconds until it is tried again where nothing can be accepted: the limit of open files, or nobody to hand over to."""

Hand = Callable[[socket.socket], bool]
"""Hands a connection over to a worker; False if none takes it now."""

log = structlog.get_logger("splnode.workers")


class Door:
    """Accepts on `listening` from `open` to `close`, which both belong to one loop. Whoever made it closes it."""

    def __init__(self, listening: socket.socket, hand: Hand) -> None:
        self._listening = listening
        self._hand = hand
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._kept: socket.socket | None = None  # one that came in and could not be handed over
        listening.setblocking(False)

    def open(self) -> None:
        """Lets in who waits, and who comes."""
        self._timer = None
        if self._kept is not None and not self._show(self._kept):
            self._rest()
        else:
            self._kept = None
            self._loop.add_reader(self._listening, self._ready)

    def close(self) -> None:
        """Lets nobody in any more; the socket is its owner's to close."""
        self._loop.remove_reader(self._listening)
        if self._timer is not None:
            self._timer.cancel()
        if self._kept is not None:
            self._kept.close()

    def _ready(self) -> None:
        for _ in range(TURN):
            try:
                sock, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.warning(
                    "nothing is accepted for a moment", path=self._listening.getsockname(), reason=error.strerror
                )
                self._rest()
                return
            if not self._show(sock):
                self._kept = sock
                self._rest()
                return

    def _show(self, sock: socket.socket) -> bool:
        if not self._hand(sock):
            return False
        sock.close()  # the worker has its own of it
        return True

    def _rest(self) -> None:
        self._loop.remove_reader(self._listening)
        self._timer = self._loop.call_later(REST, self.open)
