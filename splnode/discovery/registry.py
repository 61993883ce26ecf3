"""Nodes that have said themselves that they are there: registered, and kept by their heartbeats."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Final

from splnode.discovery.resolver import ALL, Board, Instance, Instances

EXPIRY: Final = 30.0
"""Seconds after its last heartbeat in which a node stays known."""
MOST: Final = 1000
"""Nodes that may be registered."""


class Registry:
    """A Resolver of the registered nodes. Whoever made it closes it."""

    name = "registered"

    def __init__(self) -> None:
        self._board = Board()
        self._nodes: dict[str, tuple[Instance, float]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def register(self, instance: Instance) -> bool:
        """Makes a node known, or known anew, by its id. False: there are MOST others."""
        if instance.node not in self._nodes and len(self._nodes) >= MOST:
            return False
        self._nodes[instance.node] = (instance, time.monotonic())
        self._post()
        return True

    def heartbeat(self, node: str) -> bool:
        """The node is still there; False if it is not registered."""
        found = self._nodes.get(node)
        if found is None:
            return False
        self._nodes[node] = (found[0], time.monotonic())
        return True

    def watch(self, service: str = ALL) -> AsyncIterator[Instances]:
        """Those whose last heartbeat is not too old."""
        return self._board.watch(service)

    def close(self) -> None:
        """Ends every watch."""
        if self._timer is not None:
            self._timer.cancel()
        self._board.close()

    def _post(self) -> None:
        self._board.post(instance for instance, _ in self._nodes.values())
        if self._timer is None and self._nodes:
            oldest = min(seen for _, seen in self._nodes.values())
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, oldest + EXPIRY - time.monotonic()), self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = time.monotonic()
        self._nodes = {node: each for node, each in self._nodes.items() if now - each[1] < EXPIRY}
        self._post()
