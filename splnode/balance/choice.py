"""Who may have a call, and who of them gets it.

Who may is worked out when something changes, and kept for each message; a pick from there costs the same with three
members and with a thousand.
"""

import random
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from splnode.balance.accrual import usable
from splnode.balance.member import Member
from splnode.balance.pick import Shares, Slots, least_request, round_robin, weighted
from splnode.balance.weights import shares_of
from splnode.config import BalanceConfig
from splnode.errors import CallError, Code
from splnode.rpc.call import Call


class Choice:
    """The members that fit one message, and those of them to choose from as they stand now.

    `fitting` have the message in a version that resolves. `members` leaves out those that are leaving, ejected or not
    reachable, and while some are connected those that are not: a call that has to wait for a connection waits for a
    node that may be gone. Where too few are good, all of them are back. A sticky call waits all the same: else where
    it goes would depend on who is connected. `slots` are who the keys belong to, once there was one; given those of the
    choice `before` they are made quickly.
    """

    __slots__ = ("_before", "_by_name", "_shares", "_stale", "_sticking", "fitting", "members", "slots")

    def __init__(self, fitting: Sequence[Member], now: float, before: Slots | None = None) -> None:
        self.fitting = fitting
        staying = [member for member in fitting if not member.leaving and member.instance.state == "up"] or fitting
        weighty = [member for member in staying if member.instance.weight > 0] or staying
        chosen = usable([member for member in weighty if member.good(now)], weighty)
        self.members = [member for member in chosen if member.connected] or chosen
        self._shares: Shares | None = None
        self._stale = 0.0
        self.slots: Slots | None = None
        self._before = before
        self._sticking = chosen
        self._by_name: dict[str, Member] = {}

    def pick(
        self, policy: str, key: bytes | None, turn: int, now: float, settings: BalanceConfig, draw: random.Random
    ) -> Member:
        """The member that the policy gives the call to. There has to be one. A sticky call needs a key."""
        members = self.members
        if policy == "sticky" and key is not None:
            if self.slots is None:
                self._by_name = {member.name: member for member in self._sticking}
                before = self._before
                self.slots = before if before and before.names == self._by_name.keys() else Slots(self._by_name, before)
            return self._by_name[self.slots.at(key)]
        if policy == "weighted":
            shares = self._weigh(now, settings)
            if shares is not None:
                return weighted(members, shares, draw.random())
        if policy in ("round_robin", "weighted"):
            return round_robin(members, turn)
        return least_request(members, draw.random(), draw.random())

    def another(self, tried: Collection[Member], draw: random.Random) -> Member | None:
        """A member that has not had the call yet, the likely ones first; None if there is none."""
        rest = [each for each in self.members if each not in tried] or [e for e in self.fitting if e not in tried]
        return least_request(rest, draw.random(), draw.random()) if rest else None

    def _weigh(self, now: float, settings: BalanceConfig) -> Shares | None:
        if now >= self._stale:
            self._stale = now + settings.weight_update
            reported = [member.reported.weight(now, settings) for member in self.members]
            weights = shares_of(reported, [member.instance.weight for member in self.members])
            self._shares = Shares(weights) if weights is not None else None
        return self._shares


def asked_for(members: Iterable[Member], service: str, to: str | None, pin: str | None) -> list[Member]:
    """The members that a call names: by `to`, the node, by `pin`, the contract, or by both.

    CallError(INVALID_ARGUMENT) for a beginning of an id that several nodes have, and for a pin that says too little.
    """
    if pin is not None and len(pin) < 8:
        text = f"{pin!r} is too short for a fingerprint: give 8 hexadecimal digits of it at least"
        raise CallError(Code.INVALID_ARGUMENT, text, started=False)
    found = [member for member in members if is_named(member, to) and is_pinned(member, service, pin)]
    if to is not None and len(found) > 1:
        exact = [member for member in found if member.name == to]
        names = sorted({member.name for member in found})
        if not exact and len(names) > 1:
            raise CallError(Code.INVALID_ARGUMENT, f"{to!r} may be each of {', '.join(names)}", started=False)
        found = exact or found
    return found


def is_named(member: Member, to: str | None) -> bool:
    """Whether the member is the one that `to` names: by its id, the beginning of it, or an endpoint."""
    return to is None or (bool(to) and (member.instance.node.startswith(to) or to in map(str, member.lines)))


def is_pinned(member: Member, service: str, pin: str | None) -> bool:
    """Whether its contract is said to be the one that `pin` names: by its wire fingerprint, or the beginning of it."""
    known = member.instance.service(service)
    return pin is None or (known is not None and known.wire.hex().startswith(pin.lower()))


def sticky_key(call: Call) -> bytes | None:
    """The key of a call whose message names one: `"sticky": "request.primaryKey"` in its protocol."""
    path = call.message.properties.get("sticky")
    if not isinstance(path, str):
        return None
    value: Any = call.params
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else getattr(value, step, None)
    if value is None:
        return None
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")
