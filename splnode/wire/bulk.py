"""Parameters of more values than are read at once: they are read aside, and weigh what they take in memory."""

import sys
from typing import Any, Final

from splnode.collector import CollectorPaused
from splnode.errors import DataError, DecodeError, LimitExceeded
from splnode.wire.declared import Decode
from splnode.wire.message import ServerCall

BLOCK: Final = 64
"""Bytes of a Python object, about."""
POINTER: Final = 8
"""What a list needs for an item that was there already: null, a small number."""


def unfolding(error: DataError, call: ServerCall) -> Decode | None:
    """What reads the parameters that `error` gave up on; None where that would not help."""
    return call.decode_all() if type(error) is LimitExceeded and error.limit == "nodes" else None


class Bulk:
    """The parameters of one request, read by `run`, which may take long: then `params` and their `weight`, or `error`.

    Runs in any thread.
    """

    __slots__ = ("_body", "_decode", "_nodes", "_start", "error", "params", "weight")

    def __init__(self, decode: Decode, body: bytes, start: int, nodes: int) -> None:
        self._decode = decode
        self._body = body
        self._start = start
        self._nodes = nodes
        self.params: dict[str, Any] = {}
        self.weight = 0
        self.error: DataError | None = None

    def run(self) -> None:
        """Reads them."""
        before = sys.getallocatedblocks()
        try:
            with CollectorPaused():
                self.params, end = self._decode(self._body, self._start)
        except DataError as caught:
            self.error = caught.with_traceback(None)  # whose frames hold all that was read
        else:
            if end != len(self._body):
                self.error = left_over(len(self._body) - end)
        self.weight = max(0, sys.getallocatedblocks() - before) * BLOCK + self._nodes * POINTER


def left_over(count: int) -> DecodeError:
    """What is said of bytes behind the parameters."""
    return DecodeError(f"{count} bytes behind the parameters")
