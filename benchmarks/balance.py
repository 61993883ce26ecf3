"""How the policies do among 1,000 uneven nodes, some of which fail: a simulation; and what a pick costs.

    python -m benchmarks.balance [--members 1000] [--calls 300000] [--load 0.7]

The nodes are pretended and time is counted, not waited for; who may be chosen, the picks, the records and the ejections
are splnode's own. A node works on one call at a time. Of ten nodes seven take 100 ms a call, two 200 ms and one 1 s
(times an exponential draw); 2 in 100 refuse each call at once, and 1 in 100 never answers (the caller gives up after
ten seconds). Calls come at random, so many that `load` of what the nodes can do is asked for.

Prints a table: calls that failed, the time of the others, and how evenly the nodes are used: the busiest one's work
against the mean (1 is even), and the share of calls that went to the slow tenth (its fair share is in the heading).
"""

import argparse
import heapq
import itertools
import json
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.measure import percentile
from splnode.balance.accrual import Accrual, Standing
from splnode.balance.choice import Choice
from splnode.balance.comparison import Record, outdone, outliers, total_of
from splnode.balance.weights import Load, Reported
from splnode.config import BalanceConfig, EjectionConfig
from splnode.discovery.resolver import Address, Instance
from splnode.endpoint import Endpoint

POLICIES = ("random", "round_robin", "weighted", "least_request", "sticky")
GIVES_UP = 10.0
TICK = 0.5
"""Seconds of the simulation between two looks at who may be chosen."""
WINDOW = 5.0
"""Seconds after which a call counts 1/e in what a node says of itself."""
SETTINGS = BalanceConfig()


@dataclass
class Node:
    """A pretended node; it has what `Choice` asks of a Member."""

    instance: Instance
    seconds: float
    kind: str
    accrual: Accrual = field(default_factory=Accrual)
    reported: Reported = field(default_factory=Reported)
    in_flight: int = 0
    leaving: str = ""
    connected: bool = True
    free_at: float = 0.0
    worked: float = 0.0
    calls: int = 0
    well: float = 0.0
    ended: float = 0.0
    done: float = 0.0  # calls of late
    busy: float = 0.0  # seconds of late

    @property
    def name(self) -> str:
        return self.instance.node

    def good(self, now: float) -> bool:
        return self.accrual.standing(now) is Standing.LIVE


def nodes(count: int) -> list[Node]:
    made = []
    for number in range(count):
        kind = "refuses" if number % 100 in (7, 57) else "hangs" if number % 100 == 23 else "works"
        seconds = 1.0 if number % 10 == 9 else 0.2 if number % 10 in (3, 6) else 0.1
        where = Address(Endpoint("tcp", host=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", port=1), "static")
        made.append(Node(Instance((where,), node=f"n{number}"), seconds, kind))
    return made


@dataclass
class Outcome:
    """What a run of one policy gave; times in milliseconds."""

    policy: str
    failed: float
    p50: float
    p99: float
    busiest: float
    slow: float


def simulate(policy: str, members: list[Node], calls: int, load: float, seed: int = 1) -> Outcome:
    """Runs one policy over the nodes."""
    draw = random.Random(seed)
    capacity = sum(1 / node.seconds for node in members if node.kind == "works")
    rate, now, counter = capacity * load, 0.0, itertools.count()
    ends: list[tuple[float, int, Node, bool]] = []  # when a call is over, and whether it went well
    taken: list[float] = []
    failed = 0
    looked, choice = -1.0, Choice(members, 0.0)  # type: ignore[arg-type]  # they have what it asks for
    for turn in range(calls):
        now += draw.expovariate(rate)
        while ends and ends[0][0] <= now:
            at, _, node, well = heapq.heappop(ends)
            node.in_flight -= 1
            node.ended += 1
            if well:
                node.well += 1
                node.accrual.succeeded(at)
            elif node.kind == "refuses" or node.accrual.until is not None:
                node.accrual.failed(at, draw.random())  # the network says it; of what takes too long only a probe
        if now - looked >= TICK:
            _report(members, now, now - looked)
            _compare(members, now, now - looked, draw)
            looked, choice = now, Choice(members, now)  # type: ignore[arg-type]  # they have what it asks for
        node = _suspect(members, turn, now) or _pick(choice, policy, turn, now, draw)
        node.in_flight += 1
        node.calls += 1
        if node.kind == "works":
            work = draw.expovariate(1 / node.seconds)
            begin = max(now, node.free_at)
            node.free_at = end = begin + work
            node.worked += work
            node.busy += work
            node.done += 1
            well = end - now < GIVES_UP
            if not well:
                end = now + GIVES_UP
        else:
            well, end = False, now + (0.0005 if node.kind == "refuses" else GIVES_UP)
        failed += not well
        if well and turn > calls // 5:  # the first fifth warms up
            taken.append(end - now)
        heapq.heappush(ends, (end, next(counter), node, well))
    working = [node for node in members if node.kind == "works"]
    mean = sum(node.worked for node in working) / len(working)
    slow = sum(node.calls for node in working if node.seconds == 1.0) / calls
    ordered = sorted(int(each * 1e6) for each in taken)
    busiest = max(node.worked for node in working) / mean
    return Outcome(
        policy, failed / calls, percentile(ordered, 0.5) / 1e3, percentile(ordered, 0.99) / 1e3, busiest, slow
    )


def _pick(choice: Choice, policy: str, turn: int, now: float, draw: random.Random) -> Node:
    if policy == "random":
        return draw.choice(choice.members)  # type: ignore[return-value]  # our own nodes
    key = b"%d" % draw.randrange(1_000_000) if policy == "sticky" else None
    return choice.pick(policy, key, turn, now, SETTINGS, draw)  # type: ignore[return-value]  # our own nodes


def _suspect(members: list[Node], number: int, now: float) -> Node | None:
    """One node after the other is looked at: if its time is over, this call is its probe."""
    node = members[number % len(members)]
    return node if node.accrual.take_probe(now) else None


def _report(members: list[Node], now: float, seconds: float) -> None:
    fade = math.exp(-seconds / WINDOW)
    for node in members:
        node.done *= fade
        node.busy *= fade
        if node.done > 1:
            node.reported.heard(Load(node.done / WINDOW, 0.0, max(0.01, min(1.0, node.busy / WINDOW))), now)


def _compare(members: list[Node], now: float, seconds: float, draw: random.Random) -> None:
    """Leaves out who does worse with the same calls, as a pool does."""
    live = {node.name: Record(node.well, node.ended) for node in members if node.accrual.until is None}
    total, settings = total_of(live), EjectionConfig()
    found = outliers(live) | {
        name for name, own in live.items() if outdone(own, total, success=settings.success, least=settings.least)
    }
    room = max(1, len(members) // 10) - sum(node.accrual.outdone for node in members)
    for node in [node for node in members if node.name in found][: max(0, room)]:
        node.accrual.eject(now, draw.random(), outdone=True)
        node.well = node.ended = 0.0
    fade = math.exp(-seconds / settings.window)
    for node in members:
        node.well *= fade
        node.ended *= fade


def cost(policy: str, count: int, picks: int = 20_000) -> float:
    """Nanoseconds of one pick among `count` members, the fastest of five times."""
    draw, choice = random.Random(2), Choice(nodes(count), 0.0)  # type: ignore[arg-type]  # they have what it asks for
    key = b"some-key" if policy == "sticky" else None
    pick: Callable[..., object] = choice.pick
    pick(policy, key, 0, 0.0, SETTINGS, draw)  # builds what is built once
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter_ns()
        for turn in range(picks):
            pick(policy, key, turn, 0.0, SETTINGS, draw)
        best = min(best, (time.perf_counter_ns() - start) / picks)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--members", type=int, default=1000)
    parser.add_argument("--calls", type=int, default=300_000)
    parser.add_argument("--load", type=float, default=0.7, help="of what the nodes can do (default: %(default)s)")
    parser.add_argument("--json", action="store_true")
    order = parser.parse_args()
    outcomes = [simulate(policy, nodes(order.members), order.calls, order.load) for policy in POLICIES]
    picks = {policy: {count: cost(policy, count) for count in (3, 1000)} for policy in POLICIES if policy != "random"}
    if order.json:
        print(json.dumps({"policies": [vars(each) for each in outcomes], "pick_ns": picks}))
        return
    working = [node for node in nodes(order.members) if node.kind == "works"]
    capacity = sum(1 / node.seconds for node in working)
    fair = sum(1 / node.seconds for node in working if node.seconds == 1.0) / capacity
    print(f"{order.members} nodes, {order.calls} calls, load {order.load:g}; the slow tenth can take {fair:.1%}")
    print(f"{'policy':<14} {'failed':>7} {'p50 ms':>8} {'p99 ms':>8} {'busiest':>8} {'slow':>6}   pick ns, 3 and 1,000")
    for each in outcomes:
        costs = picks.get(each.policy)
        shown = f"{costs[3]:>6.0f} {costs[1000]:>6.0f}" if costs else ""
        print(
            f"{each.policy:<14} {each.failed:>7.2%} {each.p50:>8.1f} {each.p99:>8.1f} {each.busiest:>8.2f} "
            f"{each.slow:>6.1%}   {shown}"
        )


if __name__ == "__main__":
    main()
