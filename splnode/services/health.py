"""splnode.Health: whether the node and each of its services can be called.

The states and their use are gRPC's (grpc/doc/health-checking.md): what starts a service says so here, and
a node that drains says NOT_SERVING for all before it refuses anything.
"""

import asyncio
import time
from typing import Any, Literal

from splnode.services.watching import seconds_to_wait

Status = Literal["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"]


class HealthService:
    """Implements splnode.Health. `set` says how a service is; the node's own name is the empty string.

    Revisions begin with the time of the start, so that a watcher of a node that was restarted does not
    take an old revision for the present one.
    """

    def __init__(self) -> None:
        self._first = time.time_ns() // 1000
        self._states: dict[str, tuple[Status, int]] = {}
        self._changed = asyncio.Event()
        self._leaving = False
        self._ended = False

    def set(self, service: str, status: Status) -> None:
        """Says how `service` is; watchers are told if that is new. After `leave` nothing is SERVING again."""
        if self._leaving and status == "SERVING":
            return
        before, revision = self._states.get(service, ("SERVICE_UNKNOWN", self._first))
        if before != status:
            self._states[service] = (status, revision + 1)
            self._tell()

    def remove(self, service: str) -> None:
        """The service is no longer here."""
        if service in self._states:
            self.set(service, "SERVICE_UNKNOWN")

    def leave(self) -> None:
        """The node drains: NOT_SERVING for all, for good."""
        self._leaving = True
        for service, (status, _) in list(self._states.items()):
            if status != "SERVICE_UNKNOWN":
                self.set(service, "NOT_SERVING")

    def end(self) -> None:
        """Nothing changes any more: whoever watches is answered now, and keeps no node from stopping."""
        self._ended = True
        self._tell()

    def check(self, service: str = "") -> dict[str, Any]:
        """The state at once."""
        status, revision = self._states.get(service, ("SERVICE_UNKNOWN", self._first))
        return {"status": status, "revision": revision}

    async def watch(
        self,
        service: str = "",
        revision: int | None = None,
        timeoutMs: int = 10_000,  # noqa: N803 - the protocol's word
    ) -> dict[str, Any]:
        """The state once it is another than `revision`, or when the time is over."""
        until = time.monotonic() + seconds_to_wait(timeoutMs)
        while (state := self.check(service))["revision"] == revision and not self._ended:
            changed = self._changed
            left = until - time.monotonic()
            if left <= 0:
                break
            try:
                async with asyncio.timeout(left):
                    await changed.wait()
            except TimeoutError:
                break
        return state

    def list(self) -> dict[str, dict[str, Any]]:
        """All states by name."""
        return {service: self.check(service) for service in self._states}

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()  # the next change has an event of its own
