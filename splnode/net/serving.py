"""The calls that one peer has running here: started, answered, cancelled, expired.

Shared by every way a peer may come (a socket, an HTTP request), so that a call means the same over each.
"""

import asyncio
import contextlib
import time
import typing
from collections.abc import Callable
from contextvars import Context
from typing import Final

from splnode.errors import CallError, Code, DeclaredError
from splnode.limits import Limits
from splnode.rpc.call import DEFAULT_TIMEOUT, LONGEST, TIMEOUT_KEY, Call, Peer, outside
from splnode.rpc.channel import Channel
from splnode.rpc.expiry import Expiry
from splnode.rpc.failure import internal
from splnode.wire.directory import ClientProtocols, Directory
from splnode.wire.events import Request
from splnode.wire.server import ServerSession

STALLED: Final = 60.0
"""Seconds in which a peer must read at least SLOWEST of what waits for it, or end an HTTP request it has begun."""
SLOWEST: Final = 64 * 1024
"""Bytes: a kilobyte a second holds nothing up for good, and is far below the slowest line in use."""
LINGER: Final = 2.0
"""Seconds for what is written to leave when the listener closes; after them its connections are cut."""


class Running:
    """One call of a peer: its request, its task. `begun`: a handler may have run."""

    __slots__ = ("begun", "call", "request", "serving", "task")

    def __init__(self, serving: "Serving", request: Request, call: Call) -> None:
        self.serving = serving
        self.request = request
        self.call = call
        self.task: asyncio.Task[None] | None = None
        self.begun = False


class Serving:
    """Runs the requests of one session through a Channel and gives the answers back to the session.

    `answered` is called after each answer was queued in the session. Between `hold` and `release` no handler
    starts: a peer that does not read gets nothing more to read. `close` cancels what runs. Every handler starts in a
    copy of `context`, so that nothing which one call has set there is seen by another.
    """

    __slots__ = ("_answered", "_channel", "_context", "_expiry", "_held", "_peer", "_running", "_session", "timeout")

    def __init__(
        self,
        session: ServerSession,
        channel: Channel,
        peer: Peer,
        expiry: Expiry[Running],
        answered: Callable[[], None],
        context: Context,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        self._session = session
        self._channel = channel
        self._peer = peer
        self._expiry = expiry
        self._answered = answered
        self._context = context
        self._running: dict[int, Running] = {}
        self._held: asyncio.Event | None = None
        self.timeout = timeout

    @property
    def running(self) -> int:
        """Calls that have not been answered."""
        return len(self._running)

    def start(self, request: Request) -> None:
        """Runs the request in a task of its own."""
        deadline = time.monotonic() + self._allowed(request)
        call = Call(request.contract, request.message, request.params, deadline, request.metadata, self._peer, True)
        running = Running(self, request, call)
        self._running[id(running)] = running
        self._expiry.add(running, deadline)
        running.task = asyncio.get_running_loop().create_task(self._serve(running), context=self._context.copy())

    def hold(self) -> None:
        """No handler starts until `release`; those that run go on."""
        if self._held is None:
            self._held = asyncio.Event()

    def release(self) -> None:
        """Handlers start again."""
        if self._held is not None:
            self._held.set()
            self._held = None

    def cancel(self, serial: int) -> None:
        """The peer no longer wants the answer to that request."""
        for running in self._running.values():
            if running.request.serial == serial and running.task is not None:
                running.task.cancel()
                return

    def expire(self, running: Running) -> None:
        """The deadline has come: the peer is answered at once, the handler cancelled."""
        if self._forget(running):
            self._answer(running, error=running.call.expired(started=running.begun))
            if running.task is not None:
                running.task.cancel()

    def close(self) -> None:
        """The peer is gone: nobody waits for what runs."""
        for running in list(self._running.values()):
            self._forget(running)
            if running.task is not None:
                running.task.cancel()

    def _allowed(self, request: Request) -> float:
        text = request.metadata.get(TIMEOUT_KEY)
        if text is None:
            return self.timeout
        try:
            asked = int(text)
        except ValueError:
            return self.timeout
        return min(max(asked, 0), int(LONGEST * 1000)) / 1000

    async def _serve(self, running: Running) -> None:
        call = running.call
        value: object = None
        error: CallError | DeclaredError | None = None
        try:
            while self._held is not None:
                await self._held.wait()
            if call.remaining > 0:
                running.begun = True
                value = await self._channel.call(call)
            else:
                error = call.expired(started=False)
        except (CallError, DeclaredError) as caught:
            error = caught
        except asyncio.CancelledError:
            # By its deadline or because the peer has gone, and then it is forgotten already; or by the peer.
            if self._forget(running):
                text = f"{call.name} was cancelled"
                self._answer(running, error=CallError(Code.CANCELLED, text, started=running.begun))
            raise
        except Exception as caught:  # noqa: BLE001 - whatever a channel raises, the peer gets an answer
            error = internal(call, caught)
        if self._forget(running):
            self._answer(running, value, error)

    def _forget(self, running: Running) -> bool:
        """True if the call was still waiting for its answer."""
        self._expiry.discard(running)
        return self._running.pop(id(running), None) is not None

    def _answer(self, running: Running, value: object = None, error: CallError | DeclaredError | None = None) -> None:
        request, call = running.request, running.call
        try:
            if error is None:
                self._session.respond(request, value, call.answer_metadata)
            else:
                self._session.fail(request, error, call.answer_metadata)
        except Exception as unfit:  # noqa: BLE001 - values and metadata are the handler's, and of whatever class
            self._session.fail(request, internal(call, unfit))
        self._answered()


class Accepted(typing.Protocol):
    """One accepted connection, as its host knows it."""

    def close(self) -> None:
        """Cancels what runs, sends what is written, closes."""
        ...

    def abort(self) -> None:
        """Cancels what runs and closes now."""
        ...

    def out_of_patience(self) -> None:
        """What the peer had to do in time was not done: the connection goes."""
        ...


class Host:
    """What all connections of one listener share: the Channel behind them, the protocols, the timers.

    `patience` watches connections that owe something: a first message, or reading what waits for them. Handlers
    start in the context in which the host was made.
    """

    def __init__(
        self, channel: Channel, directory: Directory, limits: Limits, timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        self.channel = channel
        self.directory = directory
        self.limits = limits
        self.timeout = timeout
        self.clients = ClientProtocols(limits=limits)
        self.connections: set[Accepted] = set()
        self.patience: Expiry[Accepted] = Expiry(lambda connection: connection.out_of_patience())
        self._expiry: Expiry[Running] = Expiry(lambda running: running.serving.expire(running))
        self._context = outside()
        self._empty: asyncio.Event | None = None

    def serving(self, session: ServerSession, peer: Peer, answered: Callable[[], None]) -> Serving:
        """Runs the calls of one session."""
        return Serving(session, self.channel, peer, self._expiry, answered, self._context, self.timeout)

    def joins(self, connection: Accepted, seconds: float) -> None:
        """A connection was made; it runs out of patience in so many `seconds`, unless it is discarded there."""
        if self._empty is None:
            self.connections.add(connection)
            self.patience.add(connection, time.monotonic() + seconds)
        else:
            connection.abort()  # it was being accepted while this closed

    def leaves(self, connection: Accepted) -> None:
        """It is gone, or another has taken its place."""
        self.connections.discard(connection)
        self.patience.discard(connection)
        if self._empty is not None and not self.connections:
            self._empty.set()

    async def close(self) -> None:
        """Closes every connection; returns when all are gone, after LINGER seconds at the latest. May be repeated."""
        self._empty = self._empty or asyncio.Event()
        for connection in list(self.connections):
            connection.close()
        try:
            if not await self._emptied(LINGER):
                self._abort_all()
                await self._emptied(LINGER)  # a turn of the loop, as a rule
        finally:
            self._abort_all()
            self._expiry.close()
            self.patience.close()

    async def _emptied(self, seconds: float) -> bool:
        if self.connections and self._empty is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._empty.wait()
        return not self.connections

    def _abort_all(self) -> None:
        for connection in list(self.connections):
            connection.abort()
