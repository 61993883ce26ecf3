"""One call, whoever carries it, and what is known of the call that is running here.

Times are seconds of `time.monotonic()`; a deadline is such a moment, never a duration.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Final

from splnode.avro.protocol import Message, Protocol
from splnode.errors import CallError, Code
from splnode.wire.message import Contract

DEFAULT_TIMEOUT: Final = 30.0
"""Seconds that a call may take where nobody says otherwise. There is no way to wait for ever."""

TIMEOUT_KEY: Final = "spl-timeout-ms"
"""Metadata: what is left of the deadline, ASCII decimal milliseconds."""

PASSED_ON: Final = ("traceparent", "tracestate")
"""Metadata that a call made by a handler inherits from the call that the handler serves."""

NO_METADATA: Final[Mapping[str, bytes]] = {}


class Peer:
    """Who sent a call: the `endpoint` as text, and the `uid` of the process where the kernel told it."""

    __slots__ = ("endpoint", "uid")

    def __init__(self, endpoint: str, uid: int | None = None) -> None:
        self.endpoint = endpoint
        self.uid = uid

    def __str__(self) -> str:
        return self.endpoint if self.uid is None else f"{self.endpoint} (uid {self.uid})"


IN_PROCESS: Final = Peer("in process")


class Call:
    """What a Channel carries: a message of the caller's contract, its parameters, metadata and deadline.

    `params` are plain values by parameter name. `checked` says that they already are what the server's
    protocol wants (a decoder made them); a call in process comes unchecked and the server checks it.
    Whoever answers may put bytes into `answer_metadata`; whoever asked finds there what came back.
    """

    __slots__ = ("answer_metadata", "checked", "contract", "deadline", "message", "metadata", "params", "peer")

    def __init__(
        self,
        contract: Contract,
        message: Message,
        params: Mapping[str, Any],
        deadline: float,
        metadata: Mapping[str, bytes] = NO_METADATA,
        peer: Peer = IN_PROCESS,
        checked: bool = False,
    ) -> None:
        self.contract = contract
        self.message = message
        self.params = params
        self.deadline = deadline
        self.metadata = metadata
        self.peer = peer
        self.checked = checked
        self.answer_metadata: Mapping[str, bytes] = NO_METADATA

    @property
    def protocol(self) -> Protocol:
        """The protocol that the caller speaks."""
        return self.contract.protocol

    @property
    def name(self) -> str:
        """`Service.message`, as a person writes it."""
        return f"{self.protocol.name}.{self.message.name}"

    @property
    def remaining(self) -> float:
        """Seconds until the deadline; negative once it has passed."""
        return self.deadline - time.monotonic()

    def expired(self) -> CallError:
        """The error of a call whose deadline has passed here."""
        return CallError(Code.DEADLINE_EXCEEDED, f"{self.name}: no answer before the deadline")


running: ContextVar[Call | None] = ContextVar("splnode_call", default=None)
_limit: ContextVar[float] = ContextVar("splnode_deadline", default=float("inf"))


def current_call() -> Call:
    """The call that the running handler serves. LookupError outside of a handler."""
    call = running.get()
    if call is None:
        raise LookupError("no call is being served here: current_call() is for handlers")
    return call


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[float]:
    """Every call made inside ends within `seconds` from now, whatever timeout it names itself.

    Nests: the nearest deadline wins. Works with `with` and, for symmetry, wherever a handler runs.
    """
    until = min(time.monotonic() + seconds, _limit.get())
    token = _limit.set(until)
    try:
        yield until
    finally:
        _limit.reset(token)


def deadline_for(timeout: float) -> float:
    """The moment at which a call that starts now must end: its own timeout, or sooner if one is inherited."""
    until = time.monotonic() + timeout
    served = running.get()
    if served is not None and served.deadline < until:
        until = served.deadline
    limit = _limit.get()
    return limit if limit < until else until


def inherited_metadata(own: Mapping[str, bytes] | None) -> Mapping[str, bytes]:
    """The metadata of a new call: its own, and the trace of the call that is being served."""
    served = running.get()
    if served is None or not served.metadata:
        return own or NO_METADATA
    kept = {key: served.metadata[key] for key in PASSED_ON if key in served.metadata}
    return {**kept, **(own or NO_METADATA)} if kept else own or NO_METADATA
