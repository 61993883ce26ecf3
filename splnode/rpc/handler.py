"""What becomes of a call once its handler was called: its value, what it awaits, and what may be told of its errors.

The only place that turns exceptions of handlers into what may leave: errors that the message declares and
CallErrors go out as they are; anything else is logged with an id and leaves as INTERNAL with that id, no
text and no class name. What another node said of a call that the handler made is "anything else" too, but for what is
as true of this call: its deadline has passed, or nodes call one another in a circle for its sake. That is said anew,
in words of this node: so it reaches the first caller through any number of nodes, and no text of another node does.

Whether a call was started is decided here and nowhere else: an error that comes out of a handler says yes, even if
the handler got it from a call of its own that was not.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self

from splnode.errors import CallError, Code, DeclaredError
from splnode.rpc.call import Call, circle
from splnode.rpc.failure import again, internal
from splnode.rpc.tally import Tally
from splnode.wire.handling import Handler
from splnode.wire.places import Places


class Inline(Handler):
    """A handler that may be called where its request was received; `function` is the implementation's own method.

    `gate` is what else stands before it: the places of the node's admission, or nothing.
    """

    __slots__ = ("tally",)

    gate: Places | None

    def __init__(
        self,
        function: Callable[..., Any],
        fields: tuple[str, ...],
        names: tuple[str, ...],
        gate: Places | None,
        tally: Tally,
        asynchronous: bool = False,
    ) -> None:
        super().__init__(function, fields, names, gate, tally.counts, asynchronous)
        self.tally = tally

    def copy(self) -> Self:
        """Another, that can be withdrawn by itself."""
        return type(self)(self.function, self.fields, self.names, self.gate, self.tally, self.asynchronous)

    def ended(self, call: Call, error: BaseException | None, began: float) -> BaseException | None:
        """Counts a call that has ended, and gives what may be told of its `error`.

        An error that is neither a CallError nor a DeclaredError ends more than the call: it is to be raised.
        """
        told = tell(call, error, asked=False) if error is not None else None
        self.tally.ended(time.monotonic() - began, told)
        return told

    def failed(self, call: Call, error: BaseException, began: float) -> BaseException:
        """The same of a call that was suspended, in the task that has carried it out."""
        told = tell(call, error, asked=is_cancelled())
        self.tally.ended(time.monotonic() - began, told)
        return told

    async def finish(self, call: Call, result: Awaitable[object]) -> object:
        """What the awaitable gives that the handler gave. The call keeps its place till then."""
        if self.gate is not None:
            self.gate.running += 1  # free or not: it was let in with others, and goes on alone
        try:
            return await counted(call, self.tally, lambda _: result)
        finally:
            call.ended = True
            if self.gate is not None:
                self.gate.leave()


async def counted(call: Call, tally: Tally, work: Callable[[Call], Awaitable[object]]) -> object:
    """What `work` gives for this call, or what may be told of its error; both are counted."""
    tally.begin()
    began = time.monotonic()
    try:
        result = await work(call)
    except BaseException as error:
        told = tell(call, error, asked=is_cancelled())
        tally.end(time.monotonic() - began, told)
        if told is error:
            raise
        raise told from error
    tally.end(time.monotonic() - began)
    return result


def tell(call: Call, error: BaseException, *, asked: bool) -> BaseException:
    """What may be told of an error of this call. `asked`: somebody has cancelled what runs it."""
    if isinstance(error, CallError):
        if error.hops:
            return circle(call.name, error.hops)
        if error.remote:  # another node said it to the handler: nothing of it, but that time is over
            return call.expired() if error.code is Code.DEADLINE_EXCEEDED else internal(call, error)
        return again(error, started=True) if call.begun and not error.started else error
    if isinstance(error, DeclaredError):
        return error  # whether the message declares it shows when it is written
    if isinstance(error, asyncio.CancelledError):
        return error if asked else internal(call, error)  # nobody cancelled this call: it came out of the handler
    if isinstance(error, (KeyboardInterrupt, GeneratorExit)):  # the loop ends, or the coroutine is closed
        return error
    return internal(call, error)  # also of no Exception: a handler that exits ends its own call, not the node


def is_cancelled() -> bool:
    """Whether somebody has cancelled the task that runs."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
