"""The calls of one connection that are not answered yet: how many, how heavy, under which serials."""

from splnode.limits import Limits
from splnode.wire.events import Request


class OpenCalls:
    """`count` of them; `serials` is None until the client has shown that it cancels. `full`: of the most weight."""

    __slots__ = ("_most_weight", "_weight", "count", "full", "serials")

    def __init__(self, limits: Limits) -> None:
        self.count = 0
        self.serials: set[int] | None = None
        self.full = False
        self._weight = 0
        self._most_weight = max(limits.connection_bytes, limits.message_bytes)  # one message is always taken

    def hold(self, serial: int) -> None:
        """One more."""
        self.count += 1
        if self.serials is not None:
            self.serials.add(serial)

    def release(self, serial: int) -> None:
        """It was answered."""
        self.count -= 1
        if self.serials is not None:
            self.serials.discard(serial)

    def add(self, request: Request, weight: int = 0) -> None:
        """One more; `weight` in bytes, if it is to count."""
        self.hold(request.serial)
        if weight:
            request.weight = weight
            self._weight += weight
            self.full = self._weight >= self._most_weight

    def settle(self, request: Request) -> None:
        """It was answered."""
        request.open = False
        self.release(request.serial)
        if request.weight:
            self._weight -= request.weight
            self.full = self._weight >= self._most_weight
