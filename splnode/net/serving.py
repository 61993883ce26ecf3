"""The calls that one peer has running here: started, answered, cancelled, expired.

Shared by every way a peer may come (a socket, an HTTP request), so that a call means the same over each.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from contextvars import Context
from typing import Any, Final

from splnode.errors import CallError, Code, DeclaredError, LimitExceeded
from splnode.identity import AUTHORIZATION_KEY, IDENTITY_KEY, identity_for
from splnode.limits import Limits
from splnode.net.allowance import Allowance
from splnode.net.rates import MeteredIntake
from splnode.rpc.call import DEFAULT_TIMEOUT, LONGEST, TIMEOUT_KEY, Call, Peer
from splnode.rpc.call import running as current
from splnode.rpc.channel import Channel
from splnode.rpc.expiry import Expiry
from splnode.rpc.failure import internal
from splnode.rpc.handler import Inline
from splnode.wire.events import Request
from splnode.wire.handling import Stage, Tasks
from splnode.wire.intake import Intake, intake
from splnode.wire.message import ServerCall
from splnode.wire.server import ServerSession

LONGEST_MS: Final = int(LONGEST * 1000)


class Running:
    """One call of a peer: its request, its task. `begun`: a handler may have run."""

    __slots__ = ("begun", "call", "request", "serial", "serving", "task", "weight")

    def __init__(self, serving: "Serving", request: Request, call: Call) -> None:
        self.serving: Serving = serving
        self.request = request
        self.serial = request.serial
        self.weight = request.weight
        self.call = call
        self.task: asyncio.Task[None] | None = None
        self.begun = False


Open = Running | Stage
"""A call that is not answered yet: one of a task of its own, or one that the intake has begun."""


class Serving:
    """Runs the requests of one session through a Channel and gives the answers back to the session.

    `answered` is called after each answer was queued in the session. Between `hold` and `release` no handler
    starts: a peer that does not read gets nothing more to read. Nor do more run at a time than the share of one peer
    on the scales: one whose calls hang leaves room for the others. `close` cancels what runs. Every handler starts
    in a copy of `context`, so that nothing which one call has set there is seen by another.

    `allowance` lets calls in. While it `brims` the peer has more to read than may wait for it, and calls end with an
    error that says so.
    """

    __slots__ = (
        "_allowance", "_answered", "_begun", "_channel", "_closed", "_context", "_expiry", "_held", "_intake", "_loop",
        "_peer", "_running", "_session", "_share", "_turns", "brims", "timeout",
    )  # fmt: skip

    def __init__(
        self,
        session: ServerSession,
        channel: Channel,
        peer: Peer,
        expiry: Expiry[Open],
        answered: Callable[[], None],
        context: Context,
        allowance: Allowance,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        self._session = session
        self._channel = channel
        self._peer = peer
        self._expiry = expiry
        self._answered = answered
        self._context = context
        self._allowance = allowance
        self._share = allowance.scales.share
        self._begun = 0
        self._turns: deque[asyncio.Future[None]] = deque()
        self._running: set[Open] = set()
        self._loop = asyncio.get_running_loop()
        self._held: asyncio.Event | None = None
        self._closed = False
        self._intake: Intake | None = None
        self.brims = False
        self.timeout = timeout

    @property
    def running(self) -> int:
        """Calls that have not been answered."""
        return len(self._running)

    def intake(self, limits: Limits, stages: Any = None) -> Intake | None:
        """What runs the ordinary requests of a connection where they are read; None if the channel lets nothing be.

        Async ones begin in `stages`.
        """
        find = getattr(self._channel, "handler", None)
        if find is None:
            return None
        made = intake(
            limits,
            call=Call,
            peer=self._peer,
            running=current,
            context=self._context,
            clock=time.monotonic,
            allowed=lambda metadata: self._allowed(metadata) if _fits(metadata, limits) else 0.0,
            handler=lambda codec: find(codec, self._peer),
            unusual=self._unusual,
            tasks=Tasks(stages, self._suspended, self._ended, self._answered_there, self._answer) if stages else None,
        )
        meter = self._allowance.meter
        self._intake = made if meter is None else MeteredIntake(made, meter)
        self._check()
        return self._intake

    def start(self, request: Request) -> None:
        """Runs the request in a task of its own, or refuses it: there are too many, or too large ones beside it."""
        allowed = self._seconds(request.metadata)
        deadline = time.monotonic() + allowed
        call = Call(request.contract, request.message, request.params, deadline, request.metadata, self._peer, True)
        if (refusal := self._allowance.refusal(call, request.weight)) is not None:
            self._session.fail(request, refusal)
            self._answered()
            return
        running = Running(self, request, call)
        self._running.add(running)
        if allowed <= 0:
            self.expire(running)
            return
        self._expiry.add(running, deadline)
        running.task = self._loop.create_task(self._serve(running), context=self._context.copy())

    def hold(self) -> None:
        """No handler starts until `release`; those that run go on."""
        if self._held is None:
            self._held = asyncio.Event()
            self._check()

    def release(self) -> None:
        """Handlers start again."""
        if self._held is not None:
            self._held.set()
            self._held = None
            self._check()

    def cancel(self, serial: int) -> None:
        """The peer no longer wants the answer to that request."""
        for running in self._running:
            if running.serial == serial and running.task is not None:
                running.task.cancel()
                # A task that has not begun to run never will, and so cannot answer for itself.
                if not running.begun and self._forget(running):
                    self._answer(running, error=_cancelled(running))
                return

    def expire(self, running: Open) -> None:
        """The deadline has come: the peer is answered at once, the handler cancelled."""
        if self._forget(running):
            self._answer(running, error=running.call.expired(started=running.begun))
            if running.task is not None:
                running.task.cancel()

    def close(self) -> None:
        """The peer is gone: nobody waits for what runs."""
        self._closed = True
        if self._intake is not None:
            self._intake.close()
        for running in list(self._running):
            self._forget(running)
            if running.task is not None:
                running.task.cancel()

    def _allowed(self, metadata: Mapping[str, bytes]) -> float:
        """Seconds that a call may take which the intake begins; 0: not there."""
        if AUTHORIZATION_KEY in metadata or not self._is_usual(metadata):
            return 0.0
        return self._seconds(metadata)

    def _is_usual(self, metadata: Mapping[str, bytes]) -> bool:
        """Whether nothing need be looked at but what the peer itself may do: or whom it calls for may do everything."""
        named, peer = metadata.get(IDENTITY_KEY), self._peer.identity
        if named is None or named == peer.text:
            return True
        lets = getattr(self._channel, "lets", None)
        return lets is not None and self._allowance.meter is None and bool(lets(identity_for(peer, metadata)))

    def _seconds(self, metadata: Mapping[str, bytes]) -> float:
        text = metadata.get(TIMEOUT_KEY)
        if text is None:
            return self.timeout
        try:
            asked = max(int(text), 0)
        except ValueError:
            return self.timeout
        return asked / 1000 if asked < LONGEST_MS else LONGEST

    def _unusual(
        self, handler: Inline, serial: int, codec: ServerCall, call: Call, value: Any, error: Any, began: float
    ) -> None:
        """What came of a call that the intake ran, and has no plain answer (see `Intake`)."""
        self._session.hold(serial)
        running = Running(self, _request(serial, codec, call), call)
        running.begun = True
        if not self._closed:  # else nobody waits for it
            self._running.add(running)
        if error is None and not call.ended:
            work = handler.finish(call, value)
        else:
            told = handler.ended(call, error, began)
            if told is None or isinstance(told, (CallError, DeclaredError)):
                if self._forget(running):
                    self._answer(running, value, told)
                return
            work = _raise(told)
        self._expiry.add(running, call.deadline)
        running.task = self._loop.create_task(self._serve(running, work))  # in a copy of the call's own context
        running.task.add_done_callback(lambda _: _close(work, value))
        if self._closed:
            self._expiry.discard(running)
            self._loop.call_soon(running.task.cancel)

    def _suspended(self, stage: Stage) -> None:
        """A call that the intake began waits for something; the stage's task will carry it out."""
        stage.serving = self
        self._session.hold(stage.serial)
        self._begun += 1
        if self._begun >= self._share:
            self._check()
        if self._closed:  # by the handler itself; nobody waits for it
            self._loop.call_soon(stage.task.cancel)
        else:
            self._running.add(stage)
            self._expiry.add(stage, stage.call.deadline)

    def _ended(self, stage: Stage, error: BaseException | None) -> bool:
        """It has ended. Whether somebody waits for its value, or whether its error was dealt with."""
        self._leave()
        if error is None:
            if not self.brims:
                return self._forget(stage)
            if self._forget(stage):
                self._answer(stage)
            return False
        told = stage.handler.failed(stage.call, error, stage.began)
        if isinstance(told, asyncio.CancelledError):
            # By its deadline or because the peer has gone, and then it is forgotten already; or by the peer.
            told = _cancelled(stage)
        elif not isinstance(told, (CallError, DeclaredError)):
            return False
        if self._forget(stage):
            self._answer(stage, error=told)
        return not isinstance(error, asyncio.CancelledError)

    def _answered_there(self, stage: Stage) -> None:
        self._session.release(stage.serial)
        self._answered()

    async def _serve(self, running: Running, work: Coroutine[Any, Any, object] | None = None) -> None:
        """Answers with what `work` gives, which is what is left of a call, or with what the channel gives."""
        call = running.call
        value: object = None
        error: CallError | DeclaredError | None = None
        try:
            while self._held is not None and work is None:
                await self._held.wait()
            if self._begun < self._share or work is not None:
                self._begun += 1
                self._check()
            else:
                await self._turn()  # the place was handed over: `_begun` already counts it
            running.begun = True
            try:
                value = await (work or self._channel.call(call))
            finally:
                self._leave()
        except (CallError, DeclaredError) as caught:
            error = caught
        except asyncio.CancelledError:
            # By its deadline or because the peer has gone, and then it is forgotten already; or by the peer.
            if self._forget(running):
                self._answer(running, error=_cancelled(running))
            raise
        except Exception as caught:  # noqa: BLE001 - whatever a channel raises, the peer gets an answer
            error = internal(call, caught)
        if self._forget(running):
            self._answer(running, value, error)

    def _check(self) -> None:
        """Lets the intake run, or not."""
        if self._intake is not None:
            self._intake.stopped = self._closed or self._held is not None or self._begun >= self._share

    async def _turn(self) -> None:
        turn = self._loop.create_future()
        self._turns.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()  # the place came in the same moment
            raise

    def _leave(self) -> None:
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._begun -= 1
        self._check()

    def _forget(self, running: Open) -> bool:
        """True if the call was still waiting for its answer."""
        if running not in self._running:
            return False
        self._running.remove(running)
        self._expiry.discard(running)
        if running.weight:
            self._allowance.scales.take(running.weight)
        return True

    def _answer(self, running: Open, value: object = None, error: CallError | DeclaredError | None = None) -> None:
        call = running.call
        request = running.request if isinstance(running, Running) else _request(running.serial, running.codec, call)
        if self.brims and error is None:
            error = self._allowance.unread()
        try:
            if error is None:
                self._session.respond(request, value, call.answer_metadata)
            else:
                self._session.fail(request, error, call.answer_metadata)
        except Exception as unfit:  # noqa: BLE001 - values and metadata are the handler's, and of whatever class
            if isinstance(unfit, LimitExceeded):
                self._allowance.met(unfit.limit)
            self._session.fail(request, internal(call, unfit))
        self._answered()


def _fits(metadata: Mapping[str, bytes], limits: Limits) -> bool:
    """Whether it may be that long; what is not is the session's to refuse."""
    return sum(map(len, metadata)) + sum(map(len, metadata.values())) <= limits.metadata_bytes // 2


def _request(serial: int, codec: ServerCall, call: Call) -> Request:
    """What a call of the intake would have come as."""
    return Request(serial, codec, call.params, call.metadata, codec.one_way, b"")


def _close(*work: object) -> None:
    """A task that was cancelled before it began has begun nothing of this."""
    for each in work:
        if asyncio.iscoroutine(each):
            each.close()


async def _raise(error: BaseException) -> object:
    raise error


def _cancelled(running: Open) -> CallError:
    return CallError(Code.CANCELLED, f"{running.call.name} was cancelled", started=running.begun)
