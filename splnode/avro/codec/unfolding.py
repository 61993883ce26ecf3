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

    The smallest are found first: a record when all its parts are, a union with its first branch. (Knuth, "A
    generalization of Dijkstra's algorithm", 1977)
    """
    users: defaultdict[int, list[ReadNode]] = defaultdict(list)
    sums: dict[int, int] = {}
    missing: dict[int, int] = {}
    found: dict[int, int] = {}
    order = count()  # so that equal values need no comparison of nodes
    heap: list[tuple[int, int, ReadNode]] = []
    for node in nodes:
        parts = [child for _, child, _ in node.steps] if node.op == Op.RECORD else list(node.branches)
        for part in parts:
            users[id(part)].append(node)
        sums[id(node)], missing[id(node)] = node.cost, len(parts)
        if not parts and node.op != Op.FAIL:
            heapq.heappush(heap, (node.cost, next(order), node))
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
