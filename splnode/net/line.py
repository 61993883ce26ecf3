"""Those who wait for room on a connection, in the order they came."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

TURNS: Final = 64
"""Calls that are let in at once where many wait; each of them then lets in the next."""


class Line:
    """Gives a turn to as many as there is `room()` for. A turn that was waited for is held until `done`.

    `changed` is called when the line has become empty or no longer is.
    """

    __slots__ = ("_changed", "_loop", "_room", "called", "waiting")

    def __init__(self, room: Callable[[], int], changed: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._room = room
        self._changed = changed
        self.waiting: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self.called = 0
        """Turns that were given and are not done: room that is taken."""

    @property
    def busy(self) -> bool:
        """True while somebody waits, or has a turn: whoever comes now stands behind them."""
        return bool(self.called or self.waiting)

    async def turn(self, seconds: float, *, first: bool = True) -> None:
        """Returns with a turn; TimeoutError after so long. `first` is False for who had one, and found no room.

        The caller then uses the room or finds it gone, and calls `done`, in the same step of its task.
        """
        turn = self._loop.create_future()
        self.waiting[turn] = None
        if not first:
            self.waiting.move_to_end(turn, last=False)
        self._changed()
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await turn
        except (TimeoutError, asyncio.CancelledError):
            if self.waiting.pop(turn, turn) is turn:  # its turn came in the same moment
                self.called -= 1
            self.go_on()
            raise

    def done(self) -> None:
        """The turn was used, or was of no use."""
        self.called -= 1
        self.go_on()

    def go_on(self) -> None:
        """Gives the next their turn. Where there is much room, each lets in the next."""
        for _ in range(min(self._room() - self.called, len(self.waiting), TURNS)):
            self._give(self.waiting.popitem(last=False)[0])
        self._changed()

    def release(self) -> None:
        """Gives all their turn: there is nothing to wait for any more."""
        while self.waiting:
            self._give(self.waiting.popitem(last=False)[0])

    def _give(self, turn: "asyncio.Future[None]") -> None:
        self.called += 1
        if not turn.done():  # else it is being cancelled, and will see that it had its turn
            turn.set_result(None)
