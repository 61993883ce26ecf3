"""How many calls run at a time: what the native engine counts without asking Python.

Who waits for a place, and what the rest is told, is `rpc.admission`'s.
"""

import sys
import typing
from collections.abc import Callable

from splnode.wire.engine import native_engine


class Places:
    """`limit` places, of which `running` are taken. `closed`: none is given any more.

    While somebody waits for one, or for none to be taken, `returned` is to be called in the place of what `leave` does
    otherwise: it gives the place to another, or takes one from `running`.
    """

    __slots__ = ("closed", "limit", "returned", "running")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.running = 0
        self.closed = False
        self.returned: Callable[[], object] | None = None

    def enter(self) -> bool:
        """Takes a place for a call that needs no waiting, until `leave`; False if it must come as the others do."""
        if self.closed or self.running >= self.limit:
            return False
        self.running += 1
        return True

    def leave(self) -> None:
        """Gives the place back."""
        if self.returned is not None:
            self.returned()
        else:
            self.running -= 1


def make_places(limit: int) -> Places:
    """Places of the engine that is used here."""
    module: typing.Any = native_engine() or sys.modules[__name__]
    made: Places = module.Places(limit)
    return made
