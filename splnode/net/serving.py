"""The calls that one peer has running here: started, answered, cancelled, expired.

Shared by every way a peer may come (a socket, an HTTP request), so that a call means the same over each.
"""

import asyncio
import time
import typing
from collections.abc import Callable
from typing import Final

from splnode.errors import CallError, Code, DataError, DeclaredError
from splnode.limits import Limits
from splnode.rpc.call import DEFAULT_TIMEOUT, TIMEOUT_KEY, Call, Peer
from splnode.rpc.channel import Channel
from splnode.rpc.expiry import Expiry
from splnode.rpc.failure import internal
from splnode.wire.directory import ClientProtocols, Directory
from splnode.wire.events import Request
from splnode.wire.server import ServerSession

LONGEST: Final = 24 * 3600.0
"""Seconds: the longest deadline a peer may ask for."""


class Running:
    """One call of a peer: its request, its task."""

    __slots__ = ("call", "request", "serving", "task")

    def __init__(self, serving: "Serving", request: Request, call: Call) -> None:
        self.serving = serving
        self.request = request
        self.call = call
        self.task: asyncio.Task[None] | None = None


class Serving:
    """Runs the requests of one session through a Channel and gives the answers back to the session.

    `answered` is called after each answer was queued in the session. `turn` is None while handlers may
    start; else they wait for it (a peer that does not read gets nothing more to read). `close` cancels
    what runs.
    """

    __slots__ = ("_answered", "_channel", "_expiry", "_peer", "_running", "_session", "timeout", "turn")

    def __init__(
        self,
        session: ServerSession,
        channel: Channel,
        peer: Peer,
        expiry: Expiry[Running],
        answered: Callable[[], None],
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        self._session = session
        self._channel = channel
        self._peer = peer
        self._expiry = expiry
        self._answered = answered
        self._running: dict[int, Running] = {}
        self.timeout = timeout
        self.turn: asyncio.Future[None] | None = None

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
        running.task = asyncio.get_running_loop().create_task(self._serve(running))

    def cancel(self, serial: int) -> None:
        """The peer no longer wants the answer to that request."""
        for running in self._running.values():
            if running.request.serial == serial and running.task is not None:
                running.task.cancel()
                return

    def expire(self, running: Running) -> None:
        """The deadline has come: the peer is answered at once, the handler cancelled."""
        if self._forget(running):
            self._answer(running, error=running.call.expired())
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
            return min(int(text) / 1000, LONGEST)
        except ValueError:
            return self.timeout

    async def _serve(self, running: Running) -> None:
        call = running.call
        value: object = None
        error: CallError | DeclaredError | None = None
        try:
            while self.turn is not None:
                await self.turn
            value = await self._channel.call(call)
        except (CallError, DeclaredError) as caught:
            error = caught
        except asyncio.CancelledError:
            # By its deadline or because the peer has gone, and then it is forgotten already; or by the peer.
            if self._forget(running):
                self._answer(running, error=CallError(Code.CANCELLED, f"{call.name} was cancelled"))
            raise
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
        except DataError as unfit:
            self._session.fail(request, internal(call, unfit))
        self._answered()


class Accepted(typing.Protocol):
    """One accepted connection, as its host knows it."""

    def close(self) -> None:
        """Cancels what runs, sends what is written, closes."""
        ...

    def out_of_patience(self) -> None:
        """What the peer had to do in time was not done: the connection goes."""
        ...


class Host:
    """What all connections of one listener share: the Channel behind them, the protocols, the timers.

    `patience` watches connections that owe something: a first message, or reading what waits for them.
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

    def serving(self, session: ServerSession, peer: Peer, answered: Callable[[], None]) -> Serving:
        """Runs the calls of one session."""
        return Serving(session, self.channel, peer, self._expiry, answered, self.timeout)

    def close(self) -> None:
        """Closes every connection and the timers."""
        for connection in list(self.connections):
            connection.close()
        self._expiry.close()
        self.patience.close()
