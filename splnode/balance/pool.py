"""The nodes that serve one service: found, connected ahead, probed, left out when they fail, let go when unused."""

import asyncio
import contextlib
import heapq
import math
import random
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine
from contextvars import Context
from typing import Any, Final

import structlog

from splnode.balance.accrual import Standing
from splnode.balance.choice import Choice
from splnode.balance.comparison import Record, outdone, outliers, total_of
from splnode.balance.member import STAGGER, Dial, Member
from splnode.balance.pick import Slots
from splnode.balance.weights import Load
from splnode.config import BalanceConfig, EjectionConfig
from splnode.discovery.following import follow
from splnode.discovery.resolver import Instance, Instances, Resolver
from splnode.errors import CallError
from splnode.wire.message import Contract
from splnode.wire.metadata import LOAD_KEY, PEER_ASKS
from splnode.wire.track import make_track

Misfit = Callable[[Instance, Contract, str], str]
"""Why a message of our contract cannot be called on an instance; empty if it can, or if that is not known."""

IN_USE: Final = 10.0
"""Probe intervals after its last call for which a member is probed."""
LEAVING: Final = 30.0
"""Seconds after which one that said it was leaving, and is still there, is asked again. (A node stops within them.)"""
LOAD_WANTED: Final = {LOAD_KEY: PEER_ASKS}
REASON: Final = 500
"""Characters of an error that reach the log."""

log = structlog.get_logger("splnode.balance")


class Pool:
    """The members of the service of `contract`, as `resolver` finds them.

    `use` begins, also after it has let everything go: `idle_seconds` after the last one. `close` ends it. Where its
    members are `weighted` those that have no calls are probed too, since they tell their load then. `changed` is an
    Event that is set, and replaced by another, when there may be somebody else to choose. `track` has what was lent:
    each change takes it back, until somebody has chosen anew. `lent` says that this was done, or that nothing can be
    lent. `settle` is told of each member, once an interval.
    """

    def __init__(
        self,
        contract: Contract,
        resolver: Resolver,
        dial: Dial,
        misfit: Misfit,
        balance: BalanceConfig,
        ejection: EjectionConfig,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.contract = contract
        self.changed = asyncio.Event()
        self._problem = ""
        self.weighted = False
        self.track = make_track()
        self.lent = False
        self.settle: Callable[[Member], object] = lambda _: None
        self.suspects: list[Member] = []  # left out until now, and reachable: one call of each will tell
        self._resolver = resolver
        self._dial = dial
        self._misfit = misfit
        self._settings = balance
        self._ejection = ejection
        self._now = now
        self._sleep = sleep
        self._chance = random.random
        self._members: dict[str, Member] = {}
        self._choices: dict[str, Choice] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = False
        self._used = 0.0
        self._compared = now()
        self._slots: dict[str, Slots] = {}  # of the choices before: few names change from one to the next

    @property
    def members(self) -> Collection[Member]:
        """The nodes that are known now."""
        return self._members.values()

    @property
    def active(self) -> bool:
        """Whether it watches and connects: somebody has called of late."""
        return self._running

    @property
    def problem(self) -> str:
        """Why fewer are found than there may be, as it was met or as the resolver says; empty where nothing is wrong.

        The last set of one that fails is kept, and it is watched anew.
        """
        return self._problem or str(getattr(self._resolver, "problem", ""))

    @property
    def service(self) -> str:
        """The full name of the service."""
        return self.contract.protocol.name

    def use(self, now: float) -> None:
        """A call comes; it watches and connects from now on."""
        self._used = now
        if not self._running:
            self._running = True
            self._run(self._watch())
            self._run(self._look_after())

    def probes(self, member: Member, now: float) -> bool:
        """Whether the member is asked, once an interval, whether it is there: calls go to it."""
        used = member.in_flight or now - member.used < IN_USE * self._settings.probe_interval
        return member.connected and (self.weighted or bool(used))

    def choice(self, message: str) -> Choice:
        """Who may have a call of that message."""
        choice = self._choices.get(message)
        if choice is None:
            fitting = [member for member in self._members.values() if not self.unfit(member, message)]
            choice = self._choices[message] = Choice(fitting, self._now(), self._slots.get(message))
        return choice

    def unfit(self, member: Member, message: str) -> str:
        """Why the member can never have that message; empty if it may."""
        said = member.instance.problem or member.lie(self.service) or member.misfits.get(message)
        return said or self._misfit(member.instance, self.contract, message)

    def change(self) -> None:
        """Whoever was to choose from may not be the right ones any more."""
        self._slots.update((name, each.slots) for name, each in self._choices.items() if each.slots is not None)
        self._choices.clear()
        self.track.lines, self.lent = (), False
        self.changed.set()
        self.changed = asyncio.Event()

    def eject(self, member: Member, reason: str, *, outdone: bool = False) -> None:
        """Leaves the member out: the reason is its last error. `outdone`: others do better."""
        member.last_error = reason
        member.accrual.eject(self._now(), self._chance(), outdone=outdone)
        self.ejected(member)

    def spare(self, member: Member, seconds: float) -> None:
        """The member is full: it gets nothing for so long, while there are others."""
        member.rests = self._now() + seconds
        self.change()
        asyncio.get_running_loop().call_later(seconds, self.change, context=Context())

    def ejected(self, member: Member) -> None:
        """The member's own record has left it out."""
        seconds = round((member.accrual.until or 0.0) - self._now(), 1)
        reason = member.last_error[:REASON]
        log.warning("node left out", service=self.service, node=member.name, seconds=seconds, reason=reason)
        self.change()

    async def close(self) -> None:
        """Ends everything; calls in flight fail. May be repeated."""
        current = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not current]
        members, self._members = self._members, {}
        self._running, self.weighted, self.suspects, self._problem = False, False, [], ""
        self.change()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(member.close() for member in members.values()))

    # -- who there is

    async def _watch(self) -> None:
        await follow(self._resolver, self.service, self._replace, self._lacks, now=self._now, sleep=self._sleep)

    def _lacks(self, problem: str) -> None:
        """Nothing new can be found just now: those who are known stay."""
        self._problem = problem
        self.change()

    def _replace(self, instances: Instances) -> None:
        self._problem = ""
        before, self._members = self._members, {}
        for key, instance in by_key(instances).items():
            member = before.pop(key, None)
            if member is None:
                member = Member(instance, self._dial, self._ejection, self.change)
            else:
                for line in member.renew(instance):
                    self._run(line.close())
            self._members[key] = member
        for member in before.values():
            self._run(member.dismiss(LEAVING))
        self.suspects = [member for member in self.suspects if member in self._members.values()]
        for member in self._ahead(self._now()):
            if not member.connected and not member.busy:
                self._run(self._connect(member))
        self.change()

    async def _connect(self, member: Member) -> None:
        member.busy = True
        try:
            await member.connect(LEAVING)  # dialling has an end of its own
        finally:
            member.busy = False
            self.change()

    # -- how they are

    async def _look_after(self) -> None:
        """Once an interval, until nobody calls any more."""
        while True:
            await asyncio.sleep(self._settings.probe_interval)
            now = self._now()
            for member in self._members.values():
                self.settle(member)
            if now - self._used > self._settings.idle_seconds and not any(m.in_flight for m in self.members):
                await self.close()
                return
            ahead = self._ahead(now)
            for member in self._members.values():
                if not member.busy:
                    self._look_at(member, now, connect=member in ahead)
            self._compare(now)

    def _ahead(self, now: float) -> Collection[Member]:
        """Those to be connected before there is a call for them. Of many, others in each process, and the good ones."""
        members, most = self._members.values(), self._settings.ahead
        if len(members) <= most:
            return members
        return heapq.nsmallest(most, (each for each in members if each.good(now)), key=lambda each: each.rank)

    def _compare(self, now: float) -> None:
        """Leaves out who does far worse with the same calls than others. A tenth of all at a time, one at least: if
        more were bad the calls would be likelier to blame. (gRPC A50, max_ejection_percent)"""
        members = self._members.values()
        worst = sorted(self._outdone(), key=lambda each: each.well / each.ended)
        room = max(1, len(members) // 10) - sum(each.accrual.outdone for each in members)
        for member in worst[: max(0, room)]:
            bad, last = member.ended - member.well, member.last_error
            member.forget()
            self.eject(member, f"{bad:.0f} calls failed of late, far more than on other nodes; {last}", outdone=True)
        fade = math.exp((self._compared - now) / self._ejection.window)
        self._compared = now
        for member in members:
            member.well *= fade
            member.ended *= fade

    def _outdone(self) -> set[Member]:
        live = {each: Record(each.well, each.ended) for each in self._members.values() if each.accrual.until is None}
        if all(own.well == own.ended for own in live.values()):
            return set()
        found, settings = outliers(live), self._ejection
        totals: dict[str, Record] = {}
        for member in [each for each in live if each.failing]:
            message = member.failing
            if message not in totals:
                fitting = self.choice(message).fitting
                totals[message] = total_of({each: live[each] for each in fitting if each in live})
            if outdone(live[member], totals[message], success=settings.success, least=settings.least):
                found.add(member)
        return found

    def _look_at(self, member: Member, now: float, *, connect: bool) -> None:
        if member.leaving and now - member.left > LEAVING:
            member.leaving = ""
            self.change()
        standing = member.accrual.standing(now)
        if standing is Standing.PROBING:
            if member not in self.suspects:
                self._run(self._suspect(member))
        elif member.connected:
            if member.nearer is not None:  # it was found later, or could not be connected to
                self._run(member.approach())
            if self.probes(member, now):
                self._run(self._probe(member))
        elif standing is Standing.LIVE and connect:
            self._run(self._connect(member))

    async def _probe(self, member: Member) -> None:
        settings, member.busy = self._settings, True
        try:
            told = await member.ping(settings.probe_timeout, LOAD_WANTED)
            member.strikes = 0
            if (load := Load.parse(told.get(LOAD_KEY, b""))) is not None:
                member.reported.heard(load, self._now())
        except CallError as error:
            member.strikes += 1
            if member.strikes >= settings.probe_strikes and member.connected:
                reason = f"no answer to {member.strikes} probes: {error.message}"
                member.strikes = 0
                self.eject(member, reason)
                member.abort(reason)
                if len(member.lines) > 1:
                    await self._go_round(member)
        finally:
            member.busy = False

    async def _go_round(self, member: Member) -> None:
        """The address that it was called at does not answer, and it has others: if one does, only that has changed."""
        timeout = self._settings.probe_timeout
        await member.connect(STAGGER * len(member.lines) + timeout)
        with contextlib.suppress(CallError):
            await member.ping(timeout)
            log.info("node back", service=self.service, node=member.name)
            member.accrual.revive()
            self.change()

    async def _suspect(self, member: Member) -> None:
        """Its time is over. Only if it can be reached a call is given to it; else it is tried again at the next look.

        It is left out for longer only by calls that fail: how soon it is dialled again its channels say, and when the
        network is back it shall not wait for more than that.
        """
        member.busy, timeout = True, self._settings.probe_timeout
        try:
            if not member.connected:
                await member.connect(timeout)
            await member.ping(timeout)
        except CallError as error:
            member.last_error = error.message
        else:
            self.suspects.append(member)
        finally:
            member.busy = False
            self.change()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        # In a context of its own: what it does belongs to no call.
        task = asyncio.get_running_loop().create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def by_key(instances: Instances) -> dict[str, Instance]:
    """Instances by what a member is known by from one set to the next: the node, and the address where two claim it."""
    ordered = sorted(instances, key=lambda instance: (instance.node, str(instance.endpoints[0])))
    claimed = [instance.node for instance in ordered]
    found: dict[str, Instance] = {}
    for instance in ordered:
        alone = instance.node and claimed.count(instance.node) == 1
        found[instance.node if alone else f"{instance.node}@{instance.endpoints[0]}"] = instance
    return found
