"""What the plain engine charges to the limits while it reads, writes or conforms one datum."""

from splnode.errors import LimitExceeded
from splnode.limits import Limits


class Budget:
    """What one datum may still cost. (limits `depth`, `nodes`)"""

    __slots__ = ("depth", "limits", "nodes")

    def __init__(self, limits: Limits, weight: int = 1) -> None:
        """LimitExceeded if the datum's own weight is too much."""
        self.limits = limits
        self.depth = limits.depth
        self.nodes = limits.nodes
        self.spend(weight)

    def spend(self, nodes: int) -> None:
        """Charges for values. LimitExceeded when they are too many."""
        self.nodes -= nodes
        if self.nodes < 0:
            raise LimitExceeded("nodes", self.limits.nodes, "too many values in one datum")

    def enter(self, cost: int) -> None:
        """Charges a level, which who leaves it gives back, and then nodes. LimitExceeded when there are too many."""
        self.depth -= 1
        if self.depth < 0:
            raise LimitExceeded("depth", self.limits.depth, "records, arrays or maps nested too deep")
        self.spend(cost)

    def length(self, size: int) -> None:
        """Checks the length of a bytes, string or fixed."""
        if size > self.limits.message_bytes:
            raise LimitExceeded("message_bytes", self.limits.message_bytes, f"a bytes, string or fixed of {size}")


def check_size(size: int, limits: Limits) -> None:
    """Checks the size of a whole encoding. LimitExceeded when it is too large."""
    if size > limits.message_bytes:
        raise LimitExceeded("message_bytes", limits.message_bytes, "the encoded value is too long")


def too_deep(limits: Limits) -> LimitExceeded:
    """What a RecursionError becomes."""
    return LimitExceeded("depth", limits.depth, "nested deeper than the interpreter's stack")


def nothing() -> None:
    """The native engine calls it now and then: as a function of Python's begins, whoever waits for his turn has it."""
