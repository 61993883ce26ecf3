"""Plans whose every datum is too large, found before a byte is read.

A record of two records of two records ... takes 2 kB of schema and no data at all: each datum of it has 2^60
values. The limit of nodes ends it, but only after as many values as are allowed. So a record whose smallest datum
no limit can allow is made to charge too much at once.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable
from itertools import count
from typing import Final

from splnode.avro.codec.plan import Op, ReadNode

TOO_MANY: Final = 2**31
"""More values than `limits.nodes` may ever allow."""


def mark_hopeless(nodes: Iterable[ReadNode]) -> None:
    """Sets the cost of each record that has no datum of less than TOO_MANY values. `nodes` are all of a plan."""
    nodes = list(nodes)
    smallest = _smallest(nodes)
    for node in nodes:
        if node.op == Op.RECORD and smallest.get(id(node), TOO_MANY) >= TOO_MANY:
            node.cost = TOO_MANY


def _smallest(nodes: list[ReadNode]) -> dict[int, int]:
    """What the smallest datum of each node charges; nodes that have none under TOO_MANY are not in it.

    Of what holds no record it is known at once, and of a union with such a branch: no record charges less. Of the
    others the smallest are found first: a record when all its parts are, a union with its first branch. (Knuth, "A
    generalization of Dijkstra's algorithm", 1977)
    """
    found = _flat(nodes)
    users: defaultdict[int, list[ReadNode]] = defaultdict(list)
    sums: dict[int, int] = {}
    missing: dict[int, int] = {}
    order = count()  # so that equal values need no comparison of nodes
    heap: list[tuple[int, int, ReadNode]] = []
    for node in nodes:
        if id(node) in found:
            continue
        parts = [child for _, child, _ in node.steps] if node.op == Op.RECORD else node.branches
        open_parts = [part for part in parts if id(part) not in found]
        for part in open_parts:
            users[id(part)].append(node)
        sums[id(node)] = node.cost + sum(found[id(part)] for part in parts if id(part) in found)
        missing[id(node)] = len(open_parts)
        if node.op == Op.RECORD and not open_parts:
            heapq.heappush(heap, (sums[id(node)], next(order), node))
    while heap:
        value, _, node = heapq.heappop(heap)
        if id(node) in found:
            continue
        found[id(node)] = value
        for user in users[id(node)]:
            sums[id(user)] += value
            missing[id(user)] -= 1
            total = value if user.op == Op.UNION else sums[id(user)]
            if total < TOO_MANY and (user.op == Op.UNION or not missing[id(user)]):
                heapq.heappush(heap, (total, next(order), user))
    return found


def _flat(nodes: list[ReadNode]) -> dict[int, int]:
    """What the nodes charge whose smallest datum holds no record."""
    found = {id(node): node.cost for node in nodes if node.op not in (Op.RECORD, Op.UNION, Op.FAIL)}
    for node in nodes:
        charges = [found[id(branch)] for branch in node.branches if id(branch) in found]
        if charges or (node.op == Op.UNION and not node.branches):
            found[id(node)] = min(charges, default=0)
    return found
