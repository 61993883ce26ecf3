"""One node that serves a service, as this process calls it: its connections, its record, what it can take.

A member has a channel to each of its addresses, in the order in which they are tried: the same host first. A call
goes to the first that is connected; where none is, they are dialled one after the other, `STAGGER` apart, so that an
address which leads nowhere costs the others no more than that. (RFC 8305, "Happy Eyeballs")
"""

import asyncio
import contextlib
import random
import typing
from collections.abc import Callable, Coroutine, Mapping
from contextvars import Context
from typing import Any, Final

from splnode.avro.fingerprint import resolution_fingerprint
from splnode.avro.protocol import Protocol
from splnode.balance.accrual import Accrual, Standing
from splnode.balance.weights import Reported
from splnode.config import EjectionConfig
from splnode.discovery.resolver import Instance, Service
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code
from splnode.net.channel import State
from splnode.rpc.call import Call
from splnode.rpc.channel import track_of
from splnode.wire.message import Contract
from splnode.wire.track import Failed, Track, make_track

STAGGER: Final = 0.25
"""Seconds that an address has before the next one is dialled too. (RFC 8305, section 5)"""


GLANCE: Final = 0.2
"""Seconds between two looks whether the calls of one that goes are over."""


class Line(typing.Protocol):
    """A Channel to one endpoint, as `net.channel.EndpointChannel` is one."""

    @property
    def state(self) -> State:
        """Where it stands."""
        ...

    @property
    def last_error(self) -> str:
        """Why it could not connect; empty where it could."""
        ...

    @property
    def server(self) -> Protocol | None:
        """The protocol that the peer has shown; None if it is not connected, or showed none."""
        ...

    def call(self, call: Call) -> Coroutine[Any, Any, object]:
        """Carries one call."""
        ...

    async def connect(self) -> None:
        """Connects, or raises the CallError that says why not."""
        ...

    async def ping(self, timeout: float, metadata: Mapping[str, bytes] | None = None) -> Mapping[str, bytes]:
        """Asks whether the peer is there; its metadata. CallError if it does not say so in `timeout` seconds."""
        ...

    def forget(self) -> None:
        """The next dial waits for no backoff."""
        ...

    def abort(self, reason: str) -> None:
        """Ends the connection now; calls in flight fail with that reason."""
        ...

    async def close(self) -> None:
        """Closes it for good."""
        ...


Dial = Callable[[Endpoint, Callable[[], None]], Line]
"""Makes the Channel to an endpoint, which calls the function whenever its state has changed."""


class Member:
    """A node among others. The balancer makes, chooses and closes it; a call goes through `call`, or over the line that
    it has lent: then `settle` finds what came of it.

    `in_flight` and `picks` count its calls, `ended` and `well` those of late by which it is compared with others;
    `failing` is the message that failed last among them. `leaving` is the reason for which it takes no new calls, said
    by itself, since `left`. `misfits` are the reasons by message that it gave when it was called. `changed` is called
    when its connections are not what they were.
    """

    __slots__ = (
        "_begun", "_changed", "_compared", "_dial", "_dialling", "_idle", "_lines", "_picks", "_running", "_well",
        "account", "accrual", "busy", "ended", "failing", "instance", "last_error", "leaving", "left", "misfits",
        "rank", "reported", "rests", "strikes", "used", "well",
    )  # fmt: skip

    def __init__(
        self, instance: Instance, dial: Dial, ejection: EjectionConfig, changed: Callable[[], None] = lambda: None
    ) -> None:
        self._dial = dial
        self._changed = changed
        self._idle: asyncio.Event | None = None
        self._lines: dict[Endpoint, Line] = {}
        self._dialling: asyncio.Task[None] | None = None
        self._compared: tuple[Protocol, Service, str] | None = None
        self.accrual = Accrual(ejection)
        self.reported = Reported()
        self.account = make_track()
        self._begun = self._well = 0  # what of its account was settled
        self._running = 0
        self._picks = 0
        self.ended = self.well = 0.0
        self.failing = ""
        self.rank = random.random()  # of many those with the lowest are called by this process
        self.strikes = 0  # probes in a row that were not answered
        self.busy = False  # it is being connected or probed
        self.used = 0.0  # when it was last chosen
        self.rests = 0.0  # until then it is full, as it said
        self.leaving = ""
        self.left = 0.0
        self.last_error = ""
        self.misfits: dict[str, str] = {}
        self.instance = instance
        self._open(instance)

    @property
    def name(self) -> str:
        """Its node's id, or its first endpoint where that is not known."""
        return self.instance.node or str(self.instance.endpoints[0])

    @property
    def state(self) -> State:
        """The best state of its channels."""
        states = {line.state for line in self._lines.values()}
        return next(state for state in _BEST_FIRST if state in states)

    @property
    def connected(self) -> bool:
        """Whether a call could be sent at once."""
        return self._ready() is not None

    @property
    def nearer(self) -> Line | None:
        """The way to it over a socket of this host, while calls go over TCP; else None."""
        for endpoint, line in self._lines.items():
            if line.state is State.READY:
                return None
            if endpoint.scheme == "unix":
                return line
        return None

    @property
    def in_flight(self) -> int:
        """Calls that it has not answered."""
        return self._running + self.account.begun - self.account.ended

    @property
    def picks(self) -> int:
        """Calls that it was chosen for so far."""
        return self._picks + self.account.begun

    @property
    def lines(self) -> Mapping[Endpoint, Line]:
        """Its channels by endpoint, in the order in which they are tried."""
        return self._lines

    def good(self, now: float) -> bool:
        """Whether it is likely to take a call: not ejected, not full, and not failing to connect."""
        live = self.accrual.standing(now) is Standing.LIVE and now >= self.rests
        return live and self.state is not State.TRANSIENT_FAILURE

    def renew(self, instance: Instance) -> list[Line]:
        """The node is described anew; the channels that are not needed any more, which the caller closes.

        A new epoch means a new life: what was held against the old one is forgotten. So it is where all its addresses
        are new: what did not answer was the old ones.
        """
        before, self.instance = self.instance, instance
        if instance.epoch != before.epoch or not set(instance.endpoints) & set(before.endpoints):
            self.accrual.revive()
            self.misfits.clear()
            self.forget()
            self.strikes, self.leaving, self.last_error = 0, "", ""
            for line in self._lines.values():
                line.forget()
        elif instance.services != before.services:
            self.misfits.clear()
        return self._open(instance)

    def forget(self) -> None:
        """It is compared with others by what comes from now on."""
        self.well = self.ended = 0.0
        self.failing = ""

    def call(self, call: Call) -> Coroutine[Any, Any, object]:
        """Sends the call to the node, and connects before that if need be; CallError as of a channel.

        Cancelling is safe.
        """
        line = self._ready()
        return line.call(call) if line is not None else self._connect_and_call(call)

    async def _connect_and_call(self, call: Call) -> object:
        await self.connect(call.remaining)
        line = self._ready()
        if lie := self.lie(call.contract.protocol.name):
            raise CallError(Code.FAILED_PRECONDITION, lie, started=False)
        if line is not None:
            return await line.call(call)
        if call.remaining <= 0:
            raise call.expired(started=False)
        raise CallError(Code.UNAVAILABLE, self._failing() or f"{self.name} is not connected", started=False)

    def lend(self, contract: Contract, failed: Failed) -> Track | None:
        """Where calls may go past `call`, over the channel that they would take; None where that has no such line.

        What becomes of those that fail there is for `failed`.
        """
        line = self._ready()
        track = track_of(line, contract) if line is not None else None
        if track is None or not track.lines:
            return None
        self.account.failed, self.account.lines = failed, (track,)
        return self.account

    def settle(self, now: float) -> tuple[int, int]:
        """Calls that were begun, and went well, over what was lent, since this was asked last: they are counted now."""
        begun, well = self.account.begun, self.account.well
        new, good = begun - self._begun, well - self._well
        self._begun, self._well = begun, well
        if new:
            self.used = now
        self.well += good
        self.ended += good
        return new, good

    def lie(self, service: str) -> str:
        """How what it announces of a service differs from what its handshake has shown; empty if it does not."""
        line, said = self._ready(), self.instance.service(service)
        server = line.server if line is not None else None
        if server is None or said is None or not said.resolution or server.name != service:
            return ""
        if self._compared is None or self._compared[:2] != (server, said):
            told = resolution_fingerprint(server)
            text = f"it announces {service} with the fingerprint {said.resolution.hex()}, and serves {told.hex()}"
            self._compared = (server, said, "" if told == said.resolution else text)
        return self._compared[2]

    def begin(self, now: float) -> None:
        """It was chosen for a call; `end` is called once the call is over."""
        self._running += 1
        self._picks += 1
        self.used = now

    def end(self) -> None:
        """One call is over."""
        self._running -= 1
        if not self.in_flight and self._idle is not None:
            self._idle.set()

    async def connect(self, timeout: float) -> None:
        """Returns once one of its addresses is connected, or all have failed, or the time is over. Raises nothing."""
        if self._dialling is None or self._dialling.done():
            # It belongs to no call: whoever waits may be cancelled, the others wait on.
            self._dialling = asyncio.get_running_loop().create_task(self._connect(), context=Context())
        await asyncio.wait([self._dialling], timeout=max(0.0, timeout))

    async def approach(self) -> None:
        """Connects over what is nearer than what is connected, if it can; calls go there from then on."""
        line = self.nearer
        if line is not None:
            await _connects(line)

    async def ping(self, timeout: float, metadata: Mapping[str, bytes] | None = None) -> Mapping[str, bytes]:
        """Asks the node whether it is there, over the channel that calls would take. CallError if not."""
        line = self._ready()
        if line is None:
            raise CallError(Code.UNAVAILABLE, f"{self.name} is not connected", started=False)
        return await line.ping(timeout, metadata)

    def abort(self, reason: str) -> None:
        """Ends its connections now; calls in flight fail with that reason."""
        for line in self._lines.values():
            line.abort(reason)

    async def dismiss(self, timeout: float) -> None:
        """Closes its channels once its calls are over, after `timeout` seconds at the latest."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self.in_flight:
                    self._idle = asyncio.Event()
                    with contextlib.suppress(TimeoutError):  # the last one may be over where nobody is told
                        await asyncio.wait_for(self._idle.wait(), GLANCE)
        await self.close()

    async def close(self) -> None:
        """Closes its channels; calls in flight fail."""
        if self._dialling is not None:
            self._dialling.cancel()
        for line in self._lines.values():
            await line.close()

    def why(self) -> str:
        """The last thing that went wrong with it; empty if nothing did."""
        return self.last_error or self._failing()

    def _failing(self) -> str:
        """Why its channels are not connected."""
        return "; ".join(line.last_error for line in self._lines.values() if line.last_error)

    def _ready(self) -> Line | None:
        for line in self._lines.values():
            if line.state is State.READY:
                return line
        return None

    def _open(self, instance: Instance) -> list[Line]:
        lines, self._lines = self._lines, {}
        for endpoint in instance.endpoints:
            line = lines.pop(endpoint, None)
            self._lines[endpoint] = line if line is not None else self._dial(endpoint, self._changed)
        return list(lines.values())

    async def _connect(self) -> None:
        pending: set[asyncio.Task[bool]] = set()
        try:
            for line in list(self._lines.values()):
                pending.add(asyncio.create_task(_connects(line)))
                done, pending = await asyncio.wait(pending, timeout=STAGGER, return_when=asyncio.FIRST_COMPLETED)
                if any(task.result() for task in done):
                    return
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                if any(task.result() for task in done):
                    return
        finally:
            for task in pending:
                task.cancel()


_BEST_FIRST: Final = (State.READY, State.CONNECTING, State.IDLE, State.TRANSIENT_FAILURE, State.SHUTDOWN)


async def _connects(line: Line) -> bool:
    try:
        await line.connect()
    except CallError:
        return False
    return True
