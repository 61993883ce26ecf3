"""Track: from the calls of clients straight to the pipelines that may take them."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from splnode.wire.engine import native_engine

Failed = Callable[[Any, Exception], Coroutine[Any, Any, object]]
"""Takes over a call that ended with that error."""


class Track:
    """Where a call may be put right now: pipelines, or tracks of such. Empty: nowhere, so the channel is asked.

    A channel that has one gives it to its clients (`rpc.channel.Tracked`) and changes `lines` as connections come and
    go. Of several lines a call takes the one with fewer calls in flight out of two at random.

    One that is given `failed` keeps account of the calls that go over it: how many have `begun` and `ended`, and went
    `well`. A call that ends with an error there, or cannot be written, is given to `failed` with it; what that gives is
    awaited in the call's place. So whoever chooses among lines need not stand between them and the caller. Calls that
    bring metadata, or that a handler makes, take no such line: somebody on the way may have to look at them.
    """

    def __init__(self) -> None:
        self.lines: Sequence[Any] = ()
        self.failed: Failed | None = None
        self.begun = self.ended = self.well = 0

    def pick(self) -> Any:
        """The pipeline for the next call, or None. The plain engine goes through the channels."""
        return None


def make_track() -> Track:
    """A track for pipelines of that engine."""
    found: Any = native_engine()
    made: Track = found.Track() if found is not None else Track()
    return made
