"""How messages are run, as an intake is told: handlers, what lets their calls in, and where those are counted."""

from collections.abc import Callable, MutableSequence
from typing import Any, NamedTuple, Protocol

from splnode.wire.message import ServerCall

CALLS, IN_FLIGHT, NANOSECONDS, TIMES, BUCKETS = 0, 1, 2, 3, 28
"""Places in the counts of a handler: calls that ended, calls that run, the time that those which ended took together,
and from TIMES on in BUCKETS places how many took less than 1, 2, 4 ... microseconds; the last has all the others."""


class Gate(Protocol):
    """What lets calls in, so many at a time."""

    def enter(self) -> bool:
        """Whether there is a place; it is taken until `leave`."""
        ...

    def leave(self) -> None:
        """The place is free again."""
        ...


class Handler:
    """How one message is run: `function` is called with the parameters `fields`, by the names `names`.

    `gate` is entered first, where there is one. `counts` are 64-bit integers (see CALLS), counted here for calls that
    are answered with a plain value; the others are the holder's to count. `asynchronous`: it gives a coroutine. One
    that is `withdrawn` is used no more.
    """

    __slots__ = ("asynchronous", "counts", "fields", "function", "gate", "names", "withdrawn")

    def __init__(
        self,
        function: Callable[..., Any],
        fields: tuple[str, ...],
        names: tuple[str, ...],
        gate: Gate | None,
        counts: MutableSequence[int],
        asynchronous: bool = False,
    ) -> None:
        self.asynchronous = asynchronous
        self.function = function
        self.fields = fields
        self.names = names
        self.gate = gate
        self.counts = counts
        self.withdrawn = False


class Stage(Protocol):
    """A call of an async handler that was suspended, as the native engine has it. `serving` is its holder's."""

    serving: Any

    @property
    def call(self) -> Any:
        """The call; `task` carries it out."""
        ...

    @property
    def task(self) -> Any:
        """To be cancelled where nobody waits for the call any more."""
        ...

    @property
    def handler(self) -> Any:
        """The Handler."""
        ...

    @property
    def codec(self) -> ServerCall:
        """How its answer is written."""
        ...

    @property
    def serial(self) -> int:
        """The request's."""
        ...

    @property
    def began(self) -> float:
        """When, by the clock."""
        ...

    @property
    def begun(self) -> bool:
        """True: its handler was called."""
        ...

    @property
    def weight(self) -> int:
        """0: only small requests come here."""
        ...


class Tasks(NamedTuple):
    """What becomes of async handlers.

    Each begins in the name of a task that waits, one of `stages`, and mostly ends there. If it suspends,
    `suspended(stage)` tells so. When it has ended, `ended(stage, error)` says whether the error was dealt with, or else
    whether somebody waits for the value; if so, either `answered(stage)` follows or `unfit(stage, value)`, which has to
    be answered.
    """

    stages: Any
    suspended: Callable[[Any], None]
    ended: Callable[[Any, BaseException | None], bool]
    answered: Callable[[Any], None]
    unfit: Callable[[Any, object], None]


def count(counts: MutableSequence[int], nanoseconds: int) -> None:
    """Counts a call that has ended after so many nanoseconds."""
    counts[CALLS] += 1
    counts[NANOSECONDS] += nanoseconds
    counts[TIMES + min((nanoseconds // 1000).bit_length(), BUCKETS - 1)] += 1
