"""asyncio.timeout for many short waits: one timer for all, instead of one that is made and cancelled for each.

What does not wait at all has no timer: a coroutine is begun by hand, in the task that runs it anyhow, and only where
it really waits for something is it awaited.
"""

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

from splnode.rpc.expiry import Expiry

T = TypeVar("T")


class _Wait:
    """One task that waits, and whether its time came."""

    __slots__ = ("ended", "task")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task
        self.ended = False

    def end(self) -> None:
        self.ended = True
        self.task.cancel()


class Timeouts:
    """Gives awaitables until a moment each. Needs no closing; may be used in one event loop after another."""

    __slots__ = ("_expiry", "_loop")

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._expiry: Expiry[_Wait] = Expiry(_Wait.end)

    async def run(self, work: Coroutine[Any, Any, T], deadline: float) -> T:
        """What `work` gives; it is cancelled at `deadline` (seconds of `time.monotonic()`).

        Then it is a TimeoutError, whatever `work` makes of its cancelling, unless this task was cancelled from
        elsewhere too: that goes on. `work` must not raise TimeoutError itself.
        """
        try:
            first = work.send(None)
        except StopIteration as done:
            result: T = done.value
            return result
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # the timer of the one before is gone with it
            self._loop, self._expiry = loop, Expiry(_Wait.end)
        task = asyncio.current_task(loop)
        assert task is not None  # who awaits is a task
        before, wait, expiry = task.cancelling(), _Wait(task), self._expiry
        expiry.add(wait, deadline)
        try:
            result = await rest(work, first)
        except BaseException as error:
            if wait.ended and (task.uncancel() <= before or not isinstance(error, asyncio.CancelledError)):
                raise TimeoutError from None
            raise
        finally:
            expiry.discard(wait)
        if wait.ended:
            task.uncancel()
            raise TimeoutError
        return result


@types.coroutine
def rest(work: Coroutine[Any, Any, T], first: object) -> Generator[Any, Any, T]:
    """Goes on with a coroutine that somebody has begun with `send(None)`, which gave `first`. To be awaited at once."""
    while True:
        try:
            yield first
        except GeneratorExit:
            work.close()
            raise
        except BaseException as error:  # noqa: BLE001 - whatever is thrown in, it is the coroutine's
            try:
                first = work.throw(error)
            except StopIteration as done:
                result: T = done.value
                return result
        else:
            value: T = yield from work
            return value
