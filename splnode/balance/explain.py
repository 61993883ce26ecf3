"""Why a call found no node, and why a node gets no calls, in the words that a person reads."""

from collections.abc import Sequence

from splnode.balance.choice import is_named, is_pinned
from splnode.balance.member import Member
from splnode.balance.pool import Pool
from splnode.errors import CallError, Code
from splnode.rpc.call import Call
from splnode.rpc.route import NOT_ASKED_FOR


def unavailable(
    pool: Pool, call: Call, attempts: Sequence[str], now: float, last: CallError | None = None
) -> CallError:
    """Why no node took the call: every one that is known, and what is wrong with it.

    `attempts` are the nodes that had it, each as `NAME: WHAT IT SAID`, and `last` what the last of them said.
    """
    had = {name: said for name, _, said in (attempt.partition(": ") for attempt in attempts)}
    known = sorted(pool.members, key=lambda each: each.name not in had)
    lines = [f"{each.name}: {_told(pool, call, each, had.pop(each.name, ''), now)}" for each in known]
    lines += [f"{name}: {said}" for name, said in had.items()]  # those that are not known any more
    if pool.members:
        text = f"none of the {len(pool.members)} nodes of {pool.service} takes {call.message.name}"
    else:
        text = f"no node serves {pool.service}"
    if pool.problem:
        text = f"{text}; fewer are found than there may be: {pool.problem}"
    delay = last.retry_after if last is not None else None
    return CallError(Code.UNAVAILABLE, text, attempts=lines, retry_after=delay, started=False)


def left_out(member: Member, now: float) -> list[str]:
    """Why the member gets no calls while there are others, whatever they ask for; empty if it gets some."""
    until, reasons = member.accrual.until, []
    if member.leaving or member.instance.state != "up":
        reasons.append(f"leaving: {member.leaving or 'it says so'}")
    if until is not None:
        left = f"for {until - now:.1f} s more" if now < until else "until a call to it goes well"
        reasons.append(f"left out {left}")
    if now < member.rests:
        reasons.append(f"full, as it said: it rests for {member.rests - now:.1f} s more")
    if not member.instance.weight:
        reasons.append("its weight is 0")
    return reasons


def _told(pool: Pool, call: Call, member: Member, said: str, now: float) -> str:
    """How one is, and why the call was not given to it, or what it `said` to that."""
    route = call.route
    asked = is_named(member, route.to) and is_pinned(member, pool.service, route.pin)
    unfit, problem = pool.unfit(member, call.message.name), member.instance.problem
    if member.leaving and member.leaving in said:
        said = ""  # which is the reason for which it is left out
    reasons = [
        member.state.name,
        problem or (f"does not fit: {unfit}" if unfit else ""),
        "" if asked else NOT_ASKED_FOR,
        *left_out(member, now),
        said or ("" if problem else member.why()),
    ]
    endpoints = ", ".join(str(endpoint) for endpoint in member.lines)
    told = "; ".join(reason for reason in reasons if reason)
    return told if endpoints == member.name else f"{endpoints}: {told}"
