"""What the balancers know of the nodes that they call: what `splnode channels` shows."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from splnode.avro.fingerprint import wire_fingerprint
from splnode.balance.accrual import Standing
from splnode.balance.balancer import Balancer
from splnode.balance.explain import left_out
from splnode.balance.member import Line, Member
from splnode.endpoint import Endpoint


def channels(balancers: Iterable[Balancer]) -> list[dict[str, Any]]:
    """A ChannelInfo of SPLNodeService for each endpoint of each node, by service and node.

    Where fewer are found than there may be there is one more, of no node and endpoint, whose error says why.
    """
    now, clock = time.monotonic(), time.time()
    rows = []
    for balancer in balancers:
        common = {"service": balancer.pool.service, "wire": wire_fingerprint(balancer.contract.protocol).hex()}
        if balancer.pool.problem:
            rows.append({**common, **_nowhere(balancer.pool.problem)})
        for member in balancer.pool.members:
            told = _node(balancer, member, now, clock)
            rows += [{**common, **told, **_line(endpoint, line)} for endpoint, line in member.lines.items()]
    return sorted(rows, key=lambda row: (row["service"], row["nodeId"]))  # endpoints stay as they are tried


def loads(balancers: Iterable[Balancer]) -> Mapping[str, float]:
    """The share of its capacity that each node says is in use, by its id; of those that have said so."""
    found = {}
    for balancer in balancers:
        for member in balancer.pool.members:
            if member.reported.last is not None and member.connected:
                found[member.instance.node] = member.reported.last.utilization
    return found


def in_use(balancers: Iterable[Balancer]) -> frozenset[str]:
    """The ids of the nodes that calls go to, and that answer: they are probed once an interval."""
    now = time.monotonic()
    return frozenset(
        member.instance.node
        for balancer in balancers
        for member in balancer.pool.members
        if balancer.pool.probes(member, now) and not member.strikes
    )


def _node(balancer: Balancer, member: Member, now: float, clock: float) -> dict[str, Any]:
    accrual, last = member.accrual, member.reported.last
    ejected = accrual.until is not None and accrual.standing(now) is not Standing.LIVE
    return {
        "nodeId": member.instance.node,
        "inFlight": member.in_flight,
        "picks": member.picks,
        "ejectedUntil": int((clock + accrual.until - now) * 1000) if ejected and accrual.until is not None else 0,
        "weight": member.instance.weight,
        "reported": member.reported.weight(now, balancer.settings),
        "load": None if last is None else last.utilization,
        "leftOut": [*_unfit(balancer, member), *left_out(member, now)],
        "lastError": member.last_error,
    }


def _nowhere(problem: str) -> dict[str, Any]:
    text = f"fewer are found than there may be: {problem}"
    return {"nodeId": "", "endpoint": "", "state": "TRANSIENT_FAILURE", "lastError": text, "leftOut": []}


def _line(endpoint: Endpoint, line: Line) -> dict[str, Any]:
    told = {"endpoint": str(endpoint), "state": line.state.name}
    return {**told, "lastError": line.last_error} if line.last_error else told


def _unfit(balancer: Balancer, member: Member) -> list[str]:
    """Why it cannot have messages; said once if it is the same for all."""
    reasons = {name: balancer.pool.unfit(member, name) for name in balancer.contract.protocol.messages}
    if reasons and all(reasons.values()) and len(set(reasons.values())) == 1:
        return list(set(reasons.values()))
    return [f"{name}: {reason}" for name, reason in reasons.items() if reason]
