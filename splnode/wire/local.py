"""Calls that stay in their process: the ordinary ones, run at once.

A call is ordinary if nothing but a gate stands before its handler, and the handler answers without having to wait.
Whatever else a call turns out to be is given back as an Odd, as far as it has come, and the holder goes on with it.
The native engine's Local does the same; this one is for reading, and where that was not built.
"""

import sys
import typing
from collections.abc import Callable, Mapping, MutableSequence
from contextvars import ContextVar
from types import CoroutineType
from typing import Any, Final

from splnode.wire.engine import native_engine
from splnode.wire.handling import IN_FLIGHT, Gate, count

LATE, FULL, WAITS, FAILED, UNFIT = 0, 1, 2, 3, 4
"""What an Odd is. LATE: its time was over before it began. FULL: the gate did not let it in. WAITS: its handler has
begun, and waits. FAILED: its handler raised. UNFIT: what its handler gave is nothing that may be given back."""


class Odd:
    """A call that is not ordinary. `call` is the one that the handler serves, `began` when (by the clock).

    WAITS: `value` is a coroutine that was begun and gave `first`, or with NOT_BEGUN any awaitable; the call is inside
    the `gate`, unless that is None, and counted as in flight. FAILED and UNFIT: `value` is the error, the call has
    ended; only one that is UNFIT was counted.
    """

    __slots__ = ("began", "call", "first", "gate", "value", "what")

    def __init__(
        self, what: int, call: Any, began: float, value: Any = None, first: object = None, gate: Gate | None = None
    ) -> None:
        self.what = what
        self.call = call
        self.began = began
        self.value = value
        self.first = first
        self.gate = gate


class _NotBegun:
    """In the place of what a coroutine gave."""


NOT_BEGUN: Final = _NotBegun()


class Served(typing.Protocol):
    """What is known of a call here."""

    params: Mapping[str, Any]
    deadline: float
    metadata: Mapping[str, bytes]
    peer: Any
    answer_metadata: Mapping[str, bytes]
    begun: bool
    ended: bool


class Local:
    """One message of one caller's contract, and its handler.

    `blank` is a call that the ones to be served are made like, with the caller's deadline, metadata and peer. `params`
    makes the handler's parameters of the caller's, checked, and `result` the caller's value of the handler's; None for
    a message without an answer. `function` is the handler. It is called with `running` set to its call, inside of the
    `gate` (unless a call that has not ended made this one), and counted in `counts` (see `intake.CALLS`). `clock` gives
    seconds, as deadlines are.
    """

    __slots__ = ("_blank", "_clock", "_counts", "_function", "_gate", "_params", "_result", "_running")

    def __init__(
        self,
        blank: Served,
        *,
        running: ContextVar[Any],
        clock: Callable[[], float],
        params: Callable[[Any], Any],
        result: Callable[[Any], Any] | None,
        function: Callable[..., Any],
        gate: Gate | None,
        counts: MutableSequence[int],
    ) -> None:
        self._blank = blank
        self._running = running
        self._clock = clock
        self._params = params
        self._result = result
        self._function = function
        self._gate = gate
        self._counts = counts

    def run(self, call: Any) -> object:
        """Runs a call: the answer, or an Odd. What `params` raises goes through, and nothing has run."""
        params = self._params(call.params)
        began = self._clock()
        if call.deadline <= began:
            return Odd(LATE, None, began)
        served = self._served(call, params)
        outer, gate = self._running.get(None), self._gate
        if outer is not None and not outer.ended:
            gate = None  # part of a call that was let in already
        elif gate is not None and not gate.enter():
            return Odd(FULL, served, began)
        served.begun = True
        odd, value = self._begin(served, began, gate)
        if odd is not None:
            return odd
        if served.answer_metadata:
            call.answer_metadata = served.answer_metadata
        count(self._counts, int((self._clock() - began) * 1e9))
        try:
            return None if self._result is None else self._result(value)
        except Exception as error:  # noqa: BLE001 - the holder says what becomes of it
            return Odd(UNFIT, served, began, error)

    def _served(self, call: Served, params: Mapping[str, Any]) -> Any:
        blank = self._blank
        served = type(blank).__new__(type(blank))
        for name in type(blank).__slots__:  # type: ignore[attr-defined]  # what it is made like has them
            setattr(served, name, getattr(blank, name))
        served.params, served.deadline, served.metadata, served.peer = params, call.deadline, call.metadata, call.peer
        return served

    def _begin(self, served: Served, began: float, gate: Gate | None) -> tuple[Odd | None, object]:
        """What the handler gave, or an Odd for it."""
        token, odd, value = self._running.set(served), None, None
        self._counts[IN_FLIGHT] += 1
        try:
            value = self._function(**served.params)
            if type(value) is CoroutineType:
                odd = Odd(WAITS, served, began, value, value.send(None), gate)
            elif hasattr(type(value), "__await__"):
                odd = Odd(WAITS, served, began, value, NOT_BEGUN, gate)
        except BaseException as error:  # noqa: BLE001 - the holder says what becomes of it
            if type(value) is CoroutineType and isinstance(error, StopIteration):
                value = error.value
            else:
                odd = Odd(FAILED, served, began, error)
        self._running.reset(token)
        if odd is None or odd.what == FAILED:
            served.ended = True
            self._counts[IN_FLIGHT] -= 1
            if gate is not None:
                gate.leave()
        return odd, value


def local(blank: Served, **handed_in: Any) -> Local:
    """A Local of the engine that the codecs are of."""
    made: Local = (native_engine() or sys.modules[__name__]).Local(blank, **handed_in)
    return made
