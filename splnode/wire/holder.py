"""What a pipeline needs of others: of who holds it, of who reads for it, of the calls that it carries."""

import typing
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple

from splnode.wire.events import Response
from splnode.wire.message import ClientCall

General = Callable[[Any], Coroutine[Any, Any, object]]
"""Carries a call that cannot simply be put in."""


class Ask(typing.Protocol):
    """What a pipeline carries: `splnode.rpc.call.Call`."""

    @property
    def message(self) -> Any:
        """Its message; the pipeline asks for the `name`."""
        ...

    @property
    def params(self) -> Mapping[str, Any]:
        """The parameters by name."""
        ...

    @property
    def metadata(self) -> Mapping[str, bytes]:
        """What goes with the request, besides the time that is left."""
        ...

    @property
    def deadline(self) -> float:
        """A moment of the holder's clock."""
        ...

    answer_metadata: Mapping[str, bytes]


class Holder(NamedTuple):
    """What a pipeline needs of who has the loop, the clock and the socket. It is read once, in `hold`."""

    loop: Any
    """The event loop: it makes the plain pipeline's futures."""
    call_soon: Callable[..., Any]
    """The loop's."""
    clock: Callable[[], float]
    """Gives the present moment in seconds."""
    current_task: Callable[[Any], object]
    """The task of that loop that runs now, or None."""
    task: type
    """The class of asyncio's tasks: what waits as one may be resumed where its answer is read."""
    done: Any
    """A future of that loop that is done, with None: what a task is resumed with."""
    cancelled: type[BaseException]
    """What a cancelled wait raises."""
    raised: Callable[[BaseException], None]
    """Raises what it is given: the loop calls it with what came out of a task that was resumed elsewhere."""
    high_water: int
    """Bytes that may wait to be sent until `flush` is called."""
    general: General
    """Waits for room, or says what is wrong."""
    head: Callable[[int, Mapping[str, bytes] | None], bytes]
    """The metadata of a call that has so many ms left, written."""
    arm: Callable[[float], None]
    """`expire` is to be called at that moment: sooner than was known."""
    soon: Callable[[], None]
    """There is something to `take` at the end of this turn of the loop. Not told within `receive` and `answer`."""
    flush: Callable[[], None]
    """There is much to `take`: now."""
    freed: Callable[[], None]
    """`feed` has taken all that came, and there is something to `take`, or somebody may stand in line for the room."""
    session: Any
    """The Session whose answers `feed` takes."""
    forget: Callable[[int], None]
    """Nobody waits for the answer to that serial any more: the session's `cancel`."""
    expired: Callable[[ClientCall], Exception]
    """The error of a call whose deadline has passed."""
    refusal: Callable[[int], Exception]
    """The error of a request of so many bytes, which is more than may be sent."""


class Session(typing.Protocol):
    """Who reads what is no plain value."""

    def read(self, serial: int, call: ClientCall, body: bytes) -> Response:
        """The answer to one of the pipeline's calls. RemoteWireError: the connection is at its end."""
        ...

    def unusual(self, serial: int, entry: object, body: bytes) -> None:
        """An answer to an entry of its own, which is out of the table by now, or to none."""
        ...
