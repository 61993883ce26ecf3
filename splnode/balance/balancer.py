"""A Channel over the nodes that serve one service.

A call is given to a node that fits it, by the policy of the service or of the call (`choice`, `pick`). What failed may
be tried again on another (`retry`); a node that fails is left out for a while (`accrual`, `pool`).
"""

import asyncio
import contextlib
import functools
import random
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, Final

import structlog

from splnode.balance.choice import Choice, asked_for, sticky_key
from splnode.balance.explain import unavailable
from splnode.balance.member import Dial, Member
from splnode.balance.pick import least_request
from splnode.balance.pool import Misfit, Pool
from splnode.balance.retry import Again, Budget, pause, verdict
from splnode.config import BalanceConfig, EjectionConfig, RetryConfig
from splnode.discovery.resolver import Resolver
from splnode.errors import CallError, Code, DeclaredError
from splnode.rpc.call import Call
from splnode.rpc.failure import FAULTS, again
from splnode.rpc.route import ANY, NODE_KEY, Route
from splnode.wire.message import Contract
from splnode.wire.track import Track

FULL: Final = 0.1
LONGEST_REST: Final = 10.0
"""Seconds that a node gets no calls after it said that it is full: by default, and at most."""
MOST_TRIED: Final = 32
"""Nodes that a call goes to one after the other, none of which has started it."""

log = structlog.get_logger("splnode.balance")


class Balancer:
    """The nodes that serve the service of `contract`, as `resolver` finds them. Whoever made it closes it.

    `dial` makes the Channel to an endpoint, `misfit` knows which nodes cannot take a message, and why. It watches and
    connects from its first call on, and lets all of that go `idle_seconds` after its last.
    """

    def __init__(
        self,
        contract: Contract,
        resolver: Resolver,
        dial: Dial,
        *,
        misfit: Misfit = lambda _instance, _contract, _message: "",
        balance: BalanceConfig = BalanceConfig(),  # noqa: B008 - frozen
        ejection: EjectionConfig = EjectionConfig(),  # noqa: B008 - frozen
        retry: RetryConfig = RetryConfig(),  # noqa: B008 - frozen
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.contract = contract
        self.pool = Pool(contract, resolver, dial, misfit, balance, ejection, now)
        self.pool.settle = self._settle
        self.settings = balance
        self._policy = balance.policies.get(contract.protocol.name, balance.policy)
        self._retry = retry
        self._now = now
        self._draw = random.Random()
        self._budget = Budget(retry)
        self._turn = self._draw.randrange(1 << 30)
        self._closed = False

    def call(self, call: Call) -> Coroutine[Any, Any, object]:
        """Carries the call to one node after the other, as far as that is allowed, until one has answered it.

        CallError(UNAVAILABLE, started=False) with an attempt for each node where none has taken it; else what the last
        one said, with what came of those before. Cancelling is safe.
        """
        if self._closed:
            raise CallError(Code.UNAVAILABLE, "this channel is closed", started=False)
        self.pool.use(self._now())
        self._budget.called()
        if call.route.hedge is not None:
            return self._hedged(call, call.route.hedge)
        return self._tried(call, _Course())

    def track(self, contract: Contract) -> Track | None:
        """Where clients of the balancer's own contract may put their calls."""
        return self.pool.track if contract is self.contract else None

    async def close(self) -> None:
        """Calls in flight fail with UNAVAILABLE, new ones too. May be repeated."""
        self._closed = True
        await self.pool.close()

    async def _tried(self, call: Call, course: "_Course") -> object:
        """One attempt after the other."""
        tried = course.tried
        while True:
            member = self._choose(call, tried)
            if member is None:
                member = await self._wait_for(call, tried, course.attempts)
            tried.add(member)
            try:
                return await self._attempt(call, member)
            except CallError as error:
                wait = self._wait_after(call, course, member, error)
            if wait is not None:
                await self._rest(course, *wait)

    def _wait_after(self, call: Call, course: "_Course", member: Member, error: CallError) -> tuple[float, bool] | None:
        """What comes after an attempt that failed: None, another one at once; or one in so many seconds, and whether
        there is another member for it. Raises what the caller gets, if there is to be none."""
        course.attempts.append(f"{member.name}: {error.code.name}: {error.message}")
        what = verdict(error, idempotent=call.message.idempotent)
        another = self._choose(call, course.tried) is not None
        if what is Again.ELSEWHERE:
            if not another or len(course.tried) >= MOST_TRIED:
                raise unavailable(self.pool, call, course.attempts, self._now(), error) from None
            return None
        # What this node asked for holds for it alone.
        wait = pause(self._retry, course.pauses, self._draw.random(), None if another else error.retry_after)
        course.pauses += 1
        if what is Again.NO or course.pauses >= self._retry.attempts or wait >= call.remaining:
            raise _after(error, course.attempts) from None
        self._budget.failed()
        if not self._budget.spend(self._now()):
            raise _after(error, course.attempts) from None
        return wait, another

    async def _rest(self, course: "_Course", seconds: float, another: bool) -> None:
        await asyncio.sleep(seconds)
        if not another:
            course.tried.clear()  # those that had it may have it once more

    async def _attempt(self, call: Call, member: Member) -> object:
        member.begin(self._now())
        try:
            result = await member.call(call)
        except CallError as error:
            self._failed(call, member, error)
            raise
        except DeclaredError:
            self._succeeded(call, member)
            raise
        except BaseException:
            member.accrual.give_back()
            raise
        else:
            self._succeeded(call, member)
            return result
        finally:
            member.end()
            if call.route.tell:
                call.answer_metadata = {**call.answer_metadata, NODE_KEY: member.name.encode()}

    async def _hedged(self, call: Call, delay: float) -> object:
        """The call, and a copy of it on another node if the first has not answered in `delay` seconds."""
        if not call.message.idempotent:
            text = f'{call.name} may not be hedged: it may run twice only if its protocol says "idempotent": true'
            raise CallError(Code.INVALID_ARGUMENT, text, started=False)
        course = _Course()
        tried = course.tried
        tasks = [asyncio.create_task(self._tried(call, course))]
        try:
            done, pending = await asyncio.wait(tasks, timeout=delay)
            # While `tried` is empty the first still waits for a node, and whoever is chosen here may be taken from it.
            if not done and tried and self._choose(call, tried) is not None and self._budget.spend(self._now()):
                copy = call.copy()
                tasks.append(asyncio.create_task(self._tried(copy, _Course(tried))))
                pending = set(tasks)
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                if any(not isinstance(task.exception(), CallError) for task in done):
                    break
            won = next((task for task in tasks if task.done() and not isinstance(task.exception(), CallError)), None)
            if won is not None and won is not tasks[0]:
                call.answer_metadata = copy.answer_metadata
            return await (won or tasks[0])
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    # -- calls that go straight to a member

    def _lend(self, choice: Choice) -> None:
        """Lets clients put calls into the connections of those to choose from, until something changes.

        Only where it makes no difference: by the default policy each of them may have any call, of whichever message,
        and nobody waits for a probe. What fails there comes back to `_recover`; all else is counted by the members.
        """
        pool = self.pool
        if self._policy != "least_request" or pool.suspects or self._closed:
            return
        pool.lent = True
        if all(pool.choice(name).members == choice.members for name in self.contract.protocol.messages):
            lines = [each.lend(self.contract, functools.partial(self._recover, each)) for each in choice.members]
            pool.track.lines = [line for line in lines if line is not None] if None not in lines else ()

    async def _recover(self, member: Member, call: Call, error: Exception) -> object:
        """Goes on with a call that went straight to a member, and failed there."""
        self._settle(member)
        try:
            if not isinstance(error, CallError):
                if isinstance(error, DeclaredError):
                    self._succeeded(call, member)
                raise error
            self._failed(call, member, error)
            course = _Course({member})
            wait = self._wait_after(call, course, member, error)
        finally:
            del error  # it would hold its traceback, that this frame, and this the error
        if wait is not None:
            await self._rest(course, *wait)
        return await self._tried(call, course)

    def _settle(self, member: Member) -> None:
        """Counts what went straight to a member, and did not fail."""
        now = self._now()
        begun, well = member.settle(now)
        if begun and not self._closed:
            self._budget.called(begun)
            self.pool.use(now)
        if well:
            self._budget.succeeded(well)
            member.accrual.succeeded(now, well)

    # -- what became of an attempt

    def _succeeded(self, call: Call, member: Member) -> None:
        self._budget.succeeded()
        if self._might_go_anywhere(call.route):
            member.well += 1
            member.ended += 1
        self._answered(member)

    def _answered(self, member: Member) -> None:
        if member.accrual.succeeded(self._now()):
            log.info("node back", service=self.pool.service, node=member.name)
            self.pool.change()

    def _lost(self, member: Member) -> None:
        if member.accrual.failed(self._now(), self._draw.random()):
            self.pool.ejected(member)

    def _failed(self, call: Call, member: Member, error: CallError) -> None:
        if error.started and error.code not in FAULTS:
            self._succeeded(call, member)
            return
        member.last_error = f"{error.code.name}: {error.message}"
        if error.started or (error.code is Code.UNAVAILABLE and not error.remote):
            if self._might_go_anywhere(call.route):
                member.ended += 1
            if error.code is Code.UNAVAILABLE and not error.remote:
                self._lost(member)
            else:
                self._erred(call, member, error)
            return
        member.accrual.give_back()  # it was not started: that says nothing of how the node does
        if error.code is Code.UNAVAILABLE:
            member.leaving, member.left = error.message, self._now()
            self.pool.change()
        elif error.code in (Code.FAILED_PRECONDITION, Code.UNIMPLEMENTED):
            member.misfits[call.message.name] = error.message
            self.pool.change()
        elif error.code is Code.RESOURCE_EXHAUSTED:
            # It refuses faster than others work: whoever counts calls in flight would take it for the idle one.
            self.pool.spare(member, min(error.retry_after or FULL, LONGEST_REST))

    def _erred(self, call: Call, member: Member, error: CallError) -> None:
        """It has run there, and went wrong: the node's fault, or the call's. (See `comparison`.)"""
        if self._might_go_anywhere(call.route):
            member.failing = call.message.name
        if member.accrual.until is None:
            return
        if member.accrual.outdone or error.code is Code.DEADLINE_EXCEEDED:
            self._lost(member)  # the probe has shown that it is as it was
        else:
            self._answered(member)

    def _might_go_anywhere(self, route: Route) -> bool:
        """Whether another member could have had the call as well: chance alone chose, or the load."""
        policy = route.policy or self._policy
        return policy != "sticky" and (route is ANY or (route.to is None and route.pin is None and route.key is None))

    # -- whom to choose

    def _choose(self, call: Call, tried: Collection[Member]) -> Member | None:
        """A member that has not had the call yet; None if there is none."""
        route = call.route
        if route.to is not None or route.pin is not None:
            return self._named(call, tried)
        pool, now = self.pool, self._now()
        choice = pool.choice(call.message.name)
        if not pool.lent:
            self._lend(choice)
        if pool.suspects and not tried:
            for suspect in pool.suspects:
                if suspect in choice.fitting and suspect.accrual.take_probe(now):
                    pool.suspects.remove(suspect)
                    return suspect
        if not choice.members:
            return None
        if tried:
            return choice.another(tried, self._draw)
        self._turn += 1
        key = route.key
        policy = route.policy or ("sticky" if key is not None else self._policy)
        if policy == "weighted":
            pool.weighted = True
        if policy == "sticky" and key is None:
            key = sticky_key(call)
            if key is None and route.policy is not None:
                text = f'{call.name} names no key to stay with: its protocol would say "sticky": "PARAMETER.FIELD"'
                raise CallError(Code.INVALID_ARGUMENT, text, started=False)
        return choice.pick(policy, key, self._turn, now, self.settings, self._draw)

    def _named(self, call: Call, tried: Collection[Member]) -> Member | None:
        pool, route = self.pool, call.route
        found = [
            member
            for member in asked_for(pool.members, pool.service, route.to, route.pin)
            if member not in tried and not pool.unfit(member, call.message.name)
        ]
        return least_request(found, self._draw.random(), self._draw.random()) if found else None

    async def _wait_for(self, call: Call, tried: Collection[Member], attempts: Sequence[str]) -> Member:
        """The first member that the call may go to, within `patience`."""
        pool = self.pool
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(call.remaining, self.settings.patience))):
                while not self._closed:
                    changed = pool.changed
                    member = self._choose(call, tried)
                    if member is not None:
                        return member
                    await changed.wait()
        raise unavailable(pool, call, attempts, self._now())


class _Course:
    """One call on its way: the members that had it, what came of that, and how often it was put off."""

    __slots__ = ("attempts", "pauses", "tried")

    def __init__(self, tried: set[Member] | None = None) -> None:
        self.tried: set[Member] = tried if tried is not None else set()
        self.attempts: list[str] = []
        self.pauses = 0


def _after(error: CallError, attempts: Sequence[str]) -> CallError:
    """The error of the last attempt, with what came of those before it."""
    told = again(error, started=error.started)
    if len(attempts) > 1:
        told.attempts = tuple(attempts)
    return told
