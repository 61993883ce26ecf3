"""How many handlers may run, how many calls may wait for one, and what the rest is told.

```
          enter: running < limit            -> runs
          enter: running = limit, room      -> waits in order
          enter: running = limit, no room   -> waiting calls past their deadline leave first;
                                               still no room: RESOURCE_EXHAUSTED, retry later
          closed                            -> UNAVAILABLE, not started: it may go elsewhere
```

A call made by a handler in the same process is part of the call that was already let in: it is never
made to wait for itself. What a handler left running when it ended is let in like anybody else.
"""

import asyncio
import time
from collections import OrderedDict
from typing import Final

from splnode.errors import CallError, Code
from splnode.rpc.call import Call, running
from splnode.rpc.interceptor import Proceed
from splnode.wire.places import make_places

RETRY_AFTER: Final = 0.1
"""Seconds that a refused caller is asked to wait: about one short handler's time times a full queue."""

SMALLEST_SHARE: Final = 16
"""Places that a peer may always have: with fewer its watches would keep it from asking anything else."""


class Admission:
    """An Interceptor shared by all servers of a node. Calls that need not wait may enter its `places` by themselves."""

    def __init__(self, running: int = 256, queued: int = 128) -> None:
        self.places = make_places(running)
        self._room = queued
        self._waiting: OrderedDict[asyncio.Future[None], Call] = OrderedDict()
        self._soonest = 0.0  # no waiting call is past its deadline before this moment
        self._closed = ""
        self._idle: asyncio.Event | None = None

    @property
    def running(self) -> int:
        """Calls whose handler runs now."""
        return self.places.running

    @property
    def share(self) -> int:
        """Places that one peer may have at a time, so that its calls leave some for the others when they hang."""
        return max(SMALLEST_SHARE, self.places.limit * 3 // 4)

    @property
    def waiting(self) -> int:
        """Calls that wait for a place."""
        return len(self._waiting)

    async def __call__(self, call: Call, proceed: Proceed) -> object:
        """Lets the call in, at once or in its turn, or refuses it."""
        served = running.get()
        if served is not None and not served.ended:
            return await proceed(call)
        if self._closed:
            raise CallError(Code.UNAVAILABLE, self._closed, started=False)
        if not self.places.enter():
            await self._turn(call)  # the place was handed over: it is taken already
        try:
            return await proceed(call)
        finally:
            self.places.leave()

    def close(self, reason: str) -> None:
        """From now on every new call is refused with `reason`; those let in go on, those waiting too."""
        self._closed = reason
        self.places.closed = True

    def resize(self, running: int, queued: int) -> None:
        """Changes both numbers while calls run. Those let in stay in; those waiting get the places that are new."""
        self.places.limit = running
        self._room = queued
        while self.places.running < running and self._hand_over():
            self.places.running += 1

    async def idle(self) -> None:
        """Returns once no call runs or waits. The caller sets the deadline."""
        while self.places.running or self._waiting:
            self._idle = self._idle or asyncio.Event()
            self._watch()
            await self._idle.wait()

    async def _turn(self, call: Call) -> None:
        if len(self._waiting) >= self._room and not self._shed():
            text = f"{self.places.running} handlers run and {len(self._waiting)} calls wait already"
            raise CallError(Code.RESOURCE_EXHAUSTED, text, retry_after=RETRY_AFTER, started=False)
        turn = asyncio.get_running_loop().create_future()
        self._soonest = min(self._soonest, call.deadline) if self._waiting else call.deadline
        self._waiting[turn] = call
        self._watch()
        try:
            await turn
        except asyncio.CancelledError:
            self._waiting.pop(turn, None)
            self._watch()
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.places.leave()  # the place came in the same moment as the cancelling: pass it on
            raise

    def _shed(self) -> bool:
        """Ends the waiting calls that are past their deadline; True if that made room."""
        now = time.monotonic()
        if now < self._soonest:
            return False
        late = [turn for turn, call in self._waiting.items() if call.deadline <= now]
        for turn in late:
            self._end(turn, self._waiting.pop(turn))
        self._soonest = min((call.deadline for call in self._waiting.values()), default=now)
        return len(self._waiting) < self._room

    def _watch(self) -> None:
        """Who waits for a place, or for none to be taken, is to be thought of when one is given back."""
        self.places.returned = self._returned if self._waiting or self._idle is not None else None

    def _returned(self) -> None:
        """A place is given back: to who has waited longest for one."""
        places = self.places
        if places.running > places.limit or not self._hand_over():
            places.running -= 1
        if not places.running and self._idle is not None:
            self._idle.set()
            self._idle = None
        self._watch()

    def _hand_over(self) -> bool:
        """Gives a place to the call that has waited longest and still has time; False if there is none."""
        while self._waiting:
            turn, call = self._waiting.popitem(last=False)
            if turn.done():  # cancelled in this turn of the loop
                continue
            if call.remaining > 0:
                turn.set_result(None)
                return True
            self._end(turn, call)
        return False

    @staticmethod
    def _end(turn: asyncio.Future[None], call: Call) -> None:
        if not turn.done():
            turn.set_exception(call.expired(started=False))
