"""Whose turn it is: one connection that floods the node does not keep another one waiting.

The loop gives every connection that has something a turn. A turn is long (TURN messages, SLICE seconds in
wire/inbound.py) while nobody else is there, since each costs a look at all sockets. While there is somebody who sends a
little at a time, the others are polite: a turn reads a PIECE, or runs FEW messages for QUICK seconds, or answers one
large message, and those who have more wait in one queue, of which each round of the loop takes the first ones: ROUND of
them, or QUICK seconds. So who sends a little waits for a few of them, however many they are.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

POLITE: Final = 1.0
"""Seconds for which others are polite to who has sent a little."""
FEW: Final = 16
"""Messages of a polite turn."""
QUICK: Final = 60e-6
"""Seconds after which a polite turn ends, and with it the queue's in one round of the loop."""
ROUND: Final = 2
"""Turns of the queue in one round of the loop."""
PIECE: Final = 64 * 1024
"""Bytes of a large message that are read at a time of who is polite: as many as are copied in a polite turn."""


class Turn:
    """A place in the queue."""

    __slots__ = ("go_on",)

    def __init__(self, go_on: Callable[[], None]) -> None:
        self.go_on: Callable[[], None] | None = go_on

    def cancel(self) -> None:
        """Nothing is called any more."""
        self.go_on = None


class Turns:
    """The turns of all connections of one loop. `light` is the mouth of whoever has sent a little at a time last, if
    anybody has since somebody else asked."""

    __slots__ = ("_due", "_queue", "_round", "_until", "light")

    def __init__(self) -> None:
        self.light: Any = None
        self._until = 0.0
        self._queue: deque[Turn] = deque()
        self._due = False
        self._round: float | None = None  # when it is over

    def polite(self, who: object) -> bool:
        """Whether `who` has much, and should take little of it at a time."""
        now, light = time.monotonic(), self.light
        if light is not None and light is not who:
            self.light = None
            self._until = light.heard + POLITE  # which may be long ago, and that one gone
        return now < self._until

    def over(self) -> bool:
        """Whether who is polite has had its time in this round of the loop: others of them have run what came."""
        now = time.monotonic()
        if self._round is None:
            self._round = now + QUICK
            asyncio.get_running_loop().call_soon(self._new_round)
        return now >= self._round

    def _new_round(self) -> None:
        self._round = None

    def soon(self, go_on: Callable[[], None]) -> Turn:
        """Calls `go_on` in its turn, once the loop has looked at the others; it may be cancelled before."""
        turn = Turn(go_on)
        self._queue.append(turn)
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._serve)
        return turn

    def _serve(self) -> None:
        queue, until = self._queue, time.monotonic() + QUICK
        try:
            for _ in range(min(ROUND, len(queue))):
                go_on = queue.popleft().go_on
                if go_on is not None:
                    go_on()
                    if time.monotonic() >= until:
                        break
        finally:
            self._due = bool(queue)
            if queue:
                asyncio.get_running_loop().call_soon(self._serve)
