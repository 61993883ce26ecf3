"""What all connections of one listener share: the Channel behind them, the protocols, the timers, the limits."""

import asyncio
import contextlib
import sys
import time
import typing
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import structlog

from splnode.limits import Limits
from splnode.net.allowance import Allowance
from splnode.net.errands import Errands
from splnode.net.idle import Idle
from splnode.net.ledger import TICK, Budget, Ledger, Scales
from splnode.net.memory import give_back
from splnode.net.patience import Patience
from splnode.net.places import OWN, Places, most_connections
from splnode.net.rates import Rates
from splnode.net.reached import OPEN_FILES, Reached
from splnode.net.seldom import Seldom
from splnode.net.serving import Open, Serving
from splnode.net.turns import Turns
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
LINGER: Final = 2.0
"""Seconds for what is written to leave when the listener closes; after them its connections are cut."""

FIXES: Final = {
    OPEN_FILES: "raise it (ulimit -n), or find out who connects so often",
    "connections": "raise limits.connections, or find out who connects so often",
    "connections_per_address": "raise limits.connections_per_address, or have that peer close what it does not use",
    "handshakes": "find out who connects and says nothing; raise limits.handshakes if they are honest",
    "handshakes_per_address": "find out why it says nothing; raise limits.handshakes_per_address if it is honest",
}
"""What the operator can do where connections are more than there may be."""

log = structlog.get_logger("splnode.net")

Page = Callable[[Peer], Awaitable[tuple[str, bytes]]]
"""What a GET of a path shows to a peer: Content-Type and body. CallError becomes a status."""


class Accepted(typing.Protocol):
    """One accepted connection, as its host knows it."""

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes received from the peer, and given to be sent to it."""
        ...

    @property
    def busy(self) -> bool:
        """Whether a call runs for it, or something is due from it."""
        ...

    @property
    def address(self) -> str:
        """Whence it comes (see `net.places.whence`)."""
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

    def wait_for_room(self, waits: bool) -> None:
        """All peers together hold much: no more is read of this one, until this is called again."""
        ...


class Host:
    """What all connections of one listener share. Whoever made it closes it.

    `patience` watches connections that owe something: a first message, or reading what waits for them; `unread` and
    `unsent` count what they make the node hold meanwhile, `shaking` what TLS handshakes do. Handlers start in the
    context in which the host was made. `pages` may be read by HTTP, by their path. `accepted` and `refused` count
    connections, `reached` the limits that were met, `unshaken` TLS handshakes that came to nothing, by why. `seldom`
    bounds what the log says of each.
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
        self.turns = Turns()
        self.reached = Reached()
        self.seldom = Seldom()
        self.unshaken: Counter[str] = Counter()
        self.rates = Rates(limits, self.reached)
        self._traffic = (0, 0)  # of connections that are gone
        self.patience: Patience[Accepted] = Patience(lambda connection: connection.out_of_patience())
        self._budget: Budget[Accepted] = Budget(limits.held_bytes, give_back, limits.message_bytes, self._look_later)
        self._looking: asyncio.TimerHandle | None = None
        self.unread = Ledger(
            self._budget,
            lambda connection: connection.too_much("messages that do not end"),
            lambda connection, waits: connection.wait_for_room(waits),
        )
        self.unsent = Ledger(self._budget, lambda connection: connection.too_much("answers nobody reads"))
        shaking: Budget[Accepted] = Budget(limits.held_bytes, give_back)
        self.shaking = Ledger(shaking, lambda connection: connection.too_much("they do not end"))
        self.errands = Errands()
        self._scales = Scales(2 * limits.held_bytes, share)
        self._places: Places[Accepted] = Places(limits, self._too_late, most_connections())
        self._idle: Idle[Accepted] = Idle(self.connections, limits.idle_seconds, self._forgotten)
        self._expiry: Expiry[Open] = Expiry(lambda running: running.serving.expire(running))
        self._context = outside()
        self._stages: Any = None
        self._empty: asyncio.Event | None = None

    def serving(self, session: ServerSession, peer: Peer, answered: Callable[[], None], address: str = "") -> Serving:
        """Runs the calls of one session, whose peer comes from that address."""
        return Serving(
            session,
            self.channel,
            peer,
            self._expiry,
            answered,
            self._context,
            Allowance(self._scales, self.rates, peer, address),
            self.timeout,
        )

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

    @property
    def greeting(self) -> int:
        """Connections that have sent no whole message yet."""
        return self._places.greeting

    @property
    def held(self) -> Mapping[str, int]:
        """Bytes that peers make the node hold now: held_bytes bounds messages and answers together, and each other."""
        return {
            "messages": self.unread.total,
            "calls": self._scales.total,
            "answers": self.unsent.total,
            "handshakes": self.shaking.total,
        }

    @property
    def met(self) -> Mapping[str, int]:
        """How often each limit was met."""
        return {**self.reached.counts, "client_protocols": self.clients.dropped}

    def tell(self, event: str, peer: object, reason: str, **facts: object) -> None:
        """Puts into the log why a connection came to nothing, unless it was the same a moment ago with another.

        It is a warning where there is a `fix` for the operator.
        """
        reason = reason[:REASON]
        if times := self.seldom(f"{event}: {reason}"):
            say = log.warning if "fix" in facts else log.info
            say(event, peer=str(peer), reason=reason, times=times, **facts)

    def joins(self, connection: Accepted, seconds: float) -> None:
        """A connection was made; it runs out of patience in so many `seconds`, unless it has `greeted` by then."""
        if self._empty is not None:
            connection.abort()  # it was being accepted while this closed
        elif limit := self._places.enter(connection, connection.address):
            self.refused += 1
            what = "the limit of open files is near" if limit is OPEN_FILES else f"there are as many as {limit} allows"
            event = f"connections are refused: {what}"
            self.reached(limit, event, fix=FIXES[limit], address=connection.address, open=len(self.connections))
            connection.abort()
        else:
            self.connections.add(connection)
            self.accepted += 1
            self.patience.add(connection, time.monotonic() + seconds)
            self._idle.watch()

    def has_room(self, more: int = 0) -> bool:
        """Whether somebody can be let in beside `more` others, as far as descriptors go."""
        return self._places.has_room(more)

    def has_room_for_own(self, more: int = 0) -> bool:
        """The same for the node's own user, for whom some are kept."""
        return self._places.has_room(more, OWN)

    def makes_wait(self) -> None:
        """Somebody has come for whom there is no room."""
        event = "connections wait to be accepted: the limit of open files is near"
        self.reached(OPEN_FILES, event, fix=FIXES[OPEN_FILES], open=len(self.connections))

    def greets(self, connection: Accepted) -> bool:
        """Whether it has sent no whole message yet."""
        return self._places.greets(connection)

    def greeted(self, connection: Accepted) -> None:
        """It has sent a whole message."""
        self.patience.discard(connection)
        self._places.greeted(connection)

    def leaves(self, connection: Accepted) -> None:
        """It is gone, or another has taken its place."""
        if connection in self.connections:
            self.connections.remove(connection)
            (received, sent), (more_received, more_sent) = self._traffic, connection.traffic
            self._traffic = (received + more_received, sent + more_sent)
        self._places.leave(connection)
        self.patience.discard(connection)
        self.unread.release(connection)
        self.unsent.release(connection)
        self.shaking.release(connection)
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
            self._idle.close()
            if self._looking is not None:
                self._looking.cancel()
            self.errands.close()
            if self._stages is not None:
                self._stages.close()

    def _look_later(self) -> None:
        """Somebody waits for what others hold: looks now and then who of them gets on."""
        if self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(TICK, self._look, context=self._context)

    def _look(self) -> None:
        self._looking = None
        if self._budget.look():
            self._look_later()

    def _too_late(self, connection: Accepted, limit: str) -> None:
        """More have come than may, and this one has said nothing for the longest time."""
        event = "connections dropped that have sent no whole message: others come"
        self.reached(limit, event, fix=FIXES[limit], address=connection.address, open=len(self.connections))
        connection.abort()

    def _forgotten(self, connection: Accepted) -> None:
        self.reached.counts["idle_seconds"] += 1
        self.tell("connection closed", connection.address, "nothing came for idle_seconds")
        connection.close()

    async def _emptied(self, seconds: float) -> bool:
        if self.connections and self._empty is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._empty.wait()
        return not self.connections

    def _abort_all(self) -> None:
        for connection in list(self.connections):
            connection.abort()
