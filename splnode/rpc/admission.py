"""How many handlers may run, how many calls may wait for one, and what the rest is told.

```
          enter: running < limit            -> runs
          enter: running = limit, room      -> waits in order
          enter: running = limit, no room   -> waiting calls past their deadline leave first;
                                               still no room: RESOURCE_EXHAUSTED, retry later
          closed                            -> UNAVAILABLE, not started: it may go elsewhere
```

A call made by a handler in the same process is part of the call that was already let in: it is never
made to wait for itself.
"""

import asyncio
from collections import deque
from typing import Final

from splnode.errors import CallError, Code
from splnode.rpc.call import Call, running
from splnode.rpc.interceptor import Proceed

RETRY_AFTER: Final = 0.1
"""Seconds that a refused caller is asked to wait: about one short handler's time times a full queue."""


class Admission:
    """An Interceptor shared by all servers of a node."""

    def __init__(self, running: int = 256, queued: int = 128) -> None:
        self._limit = running
        self._room = queued
        self._running = 0
        self._waiting: deque[tuple[asyncio.Future[None], Call]] = deque()
        self._closed = ""
        self._idle: asyncio.Event | None = None

    @property
    def running(self) -> int:
        """Calls whose handler runs now."""
        return self._running

    @property
    def waiting(self) -> int:
        """Calls that wait for a place."""
        return len(self._waiting)

    async def __call__(self, call: Call, proceed: Proceed) -> object:
        """Lets the call in, at once or in its turn, or refuses it."""
        if running.get() is not None:
            return await proceed(call)
        if self._closed:
            raise CallError(Code.UNAVAILABLE, self._closed, started=False)
        if self._running < self._limit:
            self._running += 1
        else:
            await self._turn(call)  # the place was handed over: `_running` already counts it
        try:
            return await proceed(call)
        finally:
            self._leave()

    def close(self, reason: str) -> None:
        """From now on every new call is refused with `reason`; those let in go on, those waiting too."""
        self._closed = reason

    def resize(self, running: int, queued: int) -> None:
        """Changes both numbers while calls run; those let in stay in."""
        self._limit = running
        self._room = queued

    async def idle(self) -> None:
        """Returns once no call runs or waits. The caller sets the deadline."""
        while self._running or self._waiting:
            self._idle = self._idle or asyncio.Event()
            await self._idle.wait()

    async def _turn(self, call: Call) -> None:
        if len(self._waiting) >= self._room and not self._shed():
            text = f"{self._running} handlers run and {len(self._waiting)} calls wait already"
            raise CallError(Code.RESOURCE_EXHAUSTED, text, retry_after=RETRY_AFTER, started=False)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, call))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._leave()  # the place came in the same moment as the cancelling: pass it on
            raise

    def _shed(self) -> bool:
        """Ends the waiting calls that nobody waits for any more; True if that made room."""
        late = [(turn, call) for turn, call in self._waiting if turn.done() or call.remaining <= 0]
        for entry in late:
            self._waiting.remove(entry)
            if not entry[0].done():
                entry[0].set_exception(entry[1].expired())
        return bool(late)

    def _leave(self) -> None:
        while self._waiting:
            turn, call = self._waiting.popleft()
            if turn.done():
                continue
            if call.remaining > 0:
                turn.set_result(None)
                return
            turn.set_exception(call.expired())
        self._running -= 1
        if not self._running and self._idle is not None:
            self._idle.set()
            self._idle = None
