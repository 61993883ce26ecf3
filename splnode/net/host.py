"""What all connections of one listener share: the Channel behind them, the protocols, the timers, the scales."""

import asyncio
import contextlib
import resource
import sys
import time
import typing
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import structlog

from splnode.limits import Limits
from splnode.net.errands import Errands
from splnode.net.ledger import Ledger, Scales
from splnode.net.serving import Open, Serving
from splnode.rpc.call import DEFAULT_TIMEOUT, Peer, outside
from splnode.rpc.channel import Channel
from splnode.rpc.expiry import Expiry
from splnode.wire.directory import ClientProtocols, Directory
from splnode.wire.intake import stages
from splnode.wire.server import ServerSession

STALLED: Final = 60.0
"""Seconds in which a peer must read at least SLOWEST of what waits for it, or end an HTTP request it has begun."""
REASON: Final = 500
"""Characters of what a peer did wrong that reach the log: the texts that it quotes are the peer's."""
SLOWEST: Final = 64 * 1024
"""Bytes: a kilobyte a second holds nothing up for good, and is far below the slowest line in use."""
RESERVE: Final = 1024
"""File descriptors at most that are kept from connections."""
LINGER: Final = 2.0
"""Seconds for what is written to leave when the listener closes; after them its connections are cut."""

log = structlog.get_logger("splnode.net")

Page = Callable[[Peer], Awaitable[tuple[str, bytes]]]
"""What a GET of a path shows to a peer: Content-Type and body. CallError becomes a status."""


class Accepted(typing.Protocol):
    """One accepted connection, as its host knows it."""

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes received from the peer, and given to be sent to it."""
        ...

    def close(self) -> None:
        """Cancels what runs, sends what is written, closes."""
        ...

    def abort(self) -> None:
        """Cancels what runs and closes now."""
        ...

    def out_of_patience(self) -> None:
        """What the peer had to do in time was not done: the connection goes."""
        ...

    def too_much(self, what: str) -> None:
        """All peers together hold too much, and this one the longest: the connection goes."""
        ...


def most_connections() -> int:
    """How many connections leave enough file descriptors for the store, the modules and the log."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft - min(max(64, soft // 8), RESERVE, soft // 2) if soft > 0 else sys.maxsize


class Host:
    """What all connections of one listener share. Whoever made it closes it.

    `patience` watches connections that owe something: a first message, or reading what waits for them; `unread` and
    `unsent` count what they make the node hold meanwhile. Handlers start in the context in which the host was made.
    `pages` may be read by HTTP, by their path. `accepted` and `refused` count connections.
    """

    def __init__(
        self,
        channel: Channel,
        directory: Directory,
        limits: Limits,
        timeout: float = DEFAULT_TIMEOUT,
        share: int = sys.maxsize,
    ) -> None:
        self.channel = channel
        self.directory = directory
        self.limits = limits
        self.timeout = timeout
        self.clients = ClientProtocols(limits=limits)
        self.pages: Mapping[str, Page] = {}
        self.connections: set[Accepted] = set()
        self.accepted = 0
        self.refused = 0
        self._traffic = (0, 0)  # of connections that are gone
        self.patience: Expiry[Accepted] = Expiry(lambda connection: connection.out_of_patience())
        most = limits.held_bytes
        self.unread: Ledger[Accepted] = Ledger(most, lambda connection: connection.too_much("messages that do not end"))
        self.unsent: Ledger[Accepted] = Ledger(most, lambda connection: connection.too_much("answers nobody reads"))
        self.errands = Errands()
        self._scales = Scales(most, share)
        self._room = most_connections()
        self._crowded = False
        self._expiry: Expiry[Open] = Expiry(lambda running: running.serving.expire(running))
        self._context = outside()
        self._stages: Any = None
        self._empty: asyncio.Event | None = None

    def serving(self, session: ServerSession, peer: Peer, answered: Callable[[], None]) -> Serving:
        """Runs the calls of one session."""
        return Serving(session, self.channel, peer, self._expiry, answered, self._context, self._scales, self.timeout)

    @property
    def stages(self) -> Any:
        """The tasks that async handlers begin in (`wire.intake.stages`)."""
        if self._stages is None:
            tasks = asyncio.tasks  # two of these are for those who make tasks of their own ("Extending asyncio")
            self._stages = stages(
                asyncio.get_running_loop(), self._context, tasks._enter_task, tasks._leave_task, tasks.current_task
            )
        return self._stages

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes received from all peers so far, and given to be sent to them."""
        received, sent = self._traffic
        for connection in self.connections:
            more_received, more_sent = connection.traffic
            received, sent = received + more_received, sent + more_sent
        return received, sent

    def joins(self, connection: Accepted, seconds: float) -> None:
        """A connection was made; it runs out of patience in so many `seconds`, unless it is discarded there."""
        if self._empty is not None:
            connection.abort()  # it was being accepted while this closed
        elif len(self.connections) < self._room:
            self.connections.add(connection)
            self.accepted += 1
            self.patience.add(connection, time.monotonic() + seconds)
        else:
            if not self._crowded:
                fix = "raise it (ulimit -n), or find out who connects so often"
                log.warning("connections are refused: the limit of open files is near", open=self._room, fix=fix)
            self._crowded = True
            self.refused += 1
            connection.abort()

    def leaves(self, connection: Accepted) -> None:
        """It is gone, or another has taken its place."""
        if connection in self.connections:
            self.connections.remove(connection)
            (received, sent), (more_received, more_sent) = self._traffic, connection.traffic
            self._traffic = (received + more_received, sent + more_sent)
        self.patience.discard(connection)
        self.unread.release(connection)
        self.unsent.release(connection)
        if self._crowded and len(self.connections) < self._room * 0.9:
            self._crowded = False
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
            self.errands.close()
            if self._stages is not None:
                self._stages.close()

    async def _emptied(self, seconds: float) -> bool:
        if self.connections and self._empty is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._empty.wait()
        return not self.connections

    def _abort_all(self) -> None:
        for connection in list(self.connections):
            connection.abort()
