"""One call, whoever carries it, and what is known of the call that is running here.

Times are seconds of `time.monotonic()`; a deadline is such a moment, never a duration.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping
from contextvars import Context, ContextVar, Token, copy_context
from typing import Any, Final

from splnode.avro.protocol import Message, Protocol
from splnode.errors import CallError, Code
from splnode.identity import IDENTITY_KEY, NOBODY, NODE, Identity, identity_for
from splnode.rpc.route import ANY, Route
from splnode.wire.message import Contract
from splnode.wire.metadata import HOPS_KEY

DEFAULT_TIMEOUT: Final = 30.0
"""Seconds that a call may take where nobody says otherwise. There is no way to wait for ever."""

LONGEST: Final = 24 * 3600.0
"""Seconds: the longest deadline; a longer timeout, asked for here or by a peer, is cut to it."""

TIMEOUT_KEY: Final = "spl-timeout-ms"
"""Metadata: what is left of the deadline, ASCII decimal milliseconds."""

PASSED_ON: Final = ("traceparent", "tracestate", HOPS_KEY)
"""Metadata that a call made by a handler inherits from the call that the handler serves."""

NO_METADATA: Final[Mapping[str, bytes]] = {}


class Peer:
    """Who sent a call: the `endpoint` as text, the `uid` of the process where the kernel told it, its `identity`.

    `token` is the hash of the token that the connection was opened with, if it was.
    """

    __slots__ = ("endpoint", "identity", "token", "uid")

    def __init__(
        self, endpoint: str, uid: int | None = None, identity: Identity = NOBODY, token: str | None = None
    ) -> None:
        self.endpoint = endpoint
        self.uid = uid
        self.identity = identity
        self.token = token

    def __str__(self) -> str:
        return self.endpoint if self.uid is None else f"{self.endpoint} (uid {self.uid})"


IN_PROCESS: Final = Peer("in process", identity=NODE)


class Call:
    """What a Channel carries: a message of the caller's contract, its parameters, metadata and deadline.

    `params` are plain values by parameter name. `checked` says that they already are what the server's
    protocol wants (a decoder made them); a call in process comes unchecked and the server checks it.
    Whoever answers may put bytes into `answer_metadata`; whoever asked finds there what came back. `route` says where
    it wants to go, if it minds; only a channel over several nodes asks.

    `begun` and `ended` are the server's: its handler was called, and has returned or raised.
    """

    __slots__ = (
        "_params", "answer_metadata", "begun", "checked", "contract", "deadline", "ended", "message", "metadata",
        "peer", "route",
    )  # fmt: skip

    def __init__(
        self,
        contract: Contract,
        message: Message,
        params: Mapping[str, Any],
        deadline: float,
        metadata: Mapping[str, bytes] = NO_METADATA,
        peer: Peer = IN_PROCESS,
        checked: bool = False,
        route: Route = ANY,
    ) -> None:
        self.contract = contract
        self.message = message
        self._params: Mapping[str, Any] | tuple[Any, ...] = params  # a tuple: as the native intake reads them
        self.deadline = deadline
        self.metadata = metadata
        self.peer = peer
        self.checked = checked
        self.route = route
        self.answer_metadata: Mapping[str, bytes] = NO_METADATA
        self.begun = False
        self.ended = False

    @property
    def params(self) -> Mapping[str, Any]:
        """The parameters by name."""
        given = self._params
        if isinstance(given, tuple):
            given = self._params = {
                field.name: value for field, value in zip(self.message.request.fields, given, strict=True)
            }
        return given

    @params.setter
    def params(self, params: Mapping[str, Any]) -> None:
        self._params = params

    def copy(self) -> "Call":
        """The same call once more, for a second answer of its own."""
        return Call(
            self.contract, self.message, self.params, self.deadline, self.metadata, self.peer, self.checked, self.route
        )

    @property
    def protocol(self) -> Protocol:
        """The protocol that the caller speaks."""
        return self.contract.protocol

    @property
    def name(self) -> str:
        """`Service.message`, as a person writes it."""
        return f"{self.protocol.name}.{self.message.name}"

    @property
    def identity(self) -> Identity:
        """Who it is for. Who brought it is `peer.identity`: the same, or a node that made it for its own caller."""
        return identity_for(self.peer.identity, self.metadata)

    @property
    def remaining(self) -> float:
        """Seconds until the deadline; negative once it has passed."""
        return self.deadline - time.monotonic()

    def expired(self, *, started: bool = True) -> CallError:
        """The error of a call whose deadline has passed here; `started` is False if it went nowhere before."""
        return no_answer(self.name, started=started)


def no_answer(name: str, *, started: bool = True) -> CallError:
    """The error of a call of `Service.message` whose deadline has passed."""
    return CallError(Code.DEADLINE_EXCEEDED, f"{name}: no answer before the deadline", started=started)


def circle(name: str, hops: int) -> CallError:
    """The error of a call of `Service.message` for which so many nodes in a row have called one another.

    FAILED_PRECONDITION: to call once more does not help as long as the services are as they are.
    """
    text = f"{name}: nodes call one another in a circle for its sake; it was cut after {hops} hops"
    return CallError(Code.FAILED_PRECONDITION, text, hops=hops)


running: ContextVar[Call | None] = ContextVar("splnode_call", default=None)


class _Limit:
    """A moment that a block of code has set for the calls inside of it, as long as it is `open`."""

    __slots__ = ("open", "until")

    def __init__(self, until: float) -> None:
        self.until = until
        self.open = True


_limit: ContextVar[_Limit | None] = ContextVar("splnode_deadline", default=None)
_as_node: ContextVar[bool] = ContextVar("splnode_as_node", default=False)


def current_call() -> Call:
    """The call that the running handler serves. LookupError outside of a handler.

    A task or thread that the handler started still finds it here after it was answered (`ended`).
    """
    call = running.get()
    if call is None:
        raise LookupError("no call is being served here: current_call() is for handlers")
    return call


def serving() -> Call | None:
    """The call whose handler runs here. None outside, and in what a handler left running when it ended.

    So a task in the background has neither the deadline of a call that was answered long ago, nor its place.
    """
    call = running.get()
    return None if call is None or call.ended else call


def outside() -> Context:
    """A copy of the present context, but outside of every call and deadline: what a server's handlers start in."""
    context = copy_context()
    context.run(running.set, None)
    context.run(_limit.set, None)
    context.run(_as_node.set, False)
    return context


@contextlib.contextmanager
def as_node() -> Iterator[None]:
    """Calls made inside are this node's own, and no longer made for whom the running handler serves.

    with splnode.as_node():
        await audit.append(entry=entry)     # whoever asked need not be allowed to write there
    """
    token = _as_node.set(True)
    try:
        yield
    finally:
        _as_node.reset(token)


class deadline:  # noqa: N801 - said like asyncio.timeout
    """Every call made inside ends within `seconds` from now, whatever timeout it names itself.

        async with deadline(0.5):
            await inventory.reserve(sku="A1", count=2)

    `with` does the same. Nests: the nearest deadline wins. It bounds calls, not what else is awaited inside, and a
    task started inside only until the block ends. Gives the moment, in seconds of `time.monotonic()`.
    """

    __slots__ = ("_limit", "_seconds", "_token")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> float:
        until, outer = time.monotonic() + self._seconds, _limit.get()
        if outer is not None and outer.open:
            until = min(until, outer.until)
        self._limit = _Limit(until)
        self._token: Token[_Limit | None] = _limit.set(self._limit)
        return until

    def __exit__(self, *_: object) -> None:
        self._limit.open = False
        _limit.reset(self._token)

    async def __aenter__(self) -> float:
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        self.__exit__()


def terms_for(timeout: float, own: Mapping[str, bytes] | None = None) -> tuple[float, Mapping[str, bytes]]:
    """The deadline and the metadata of a call that starts now, of its own and of what it inherits."""
    if running.get() is None and _limit.get() is None:  # nothing to inherit
        return time.monotonic() + (timeout if timeout < LONGEST else LONGEST), own or NO_METADATA
    return deadline_for(timeout), inherited_metadata(own)


def deadline_for(timeout: float) -> float:
    """The moment at which a call that starts now must end: its own timeout, or sooner if one is inherited."""
    until = time.monotonic() + (timeout if timeout < LONGEST else LONGEST)
    served = running.get()
    if served is not None and served.deadline < until and not served.ended:
        until = served.deadline
    limit = _limit.get()
    if limit is not None and limit.until < until and limit.open:
        until = limit.until
    return until


def inherited_metadata(own: Mapping[str, bytes] | None) -> Mapping[str, bytes]:
    """The metadata of a new call: its own, whom it is for, and what is PASSED_ON of the call that is being served.

    What a handler left running when it ended is still for whom it served: else to be slow would make anybody the node.
    """
    served = running.get()
    if served is None:
        return own or NO_METADATA
    who = NODE if _as_node.get() else served.identity
    if served.ended and who is NODE:
        return own or NO_METADATA
    passed = served.metadata if not served.ended else NO_METADATA
    metadata = {key: passed[key] for key in PASSED_ON if key in passed} if passed else {}
    if own:
        metadata |= own
    if who is not NODE:
        metadata[IDENTITY_KEY] = who.text  # whatever a handler was given to send along
    return metadata or NO_METADATA
