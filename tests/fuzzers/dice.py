"""Dice that fall as bytes say: what makes random things of a seed makes them of a fuzzer's input as well.

So a fuzzer that is guided by coverage changes the decisions of a generator, one by one, instead of its seed.
"""

import random


class Fed(random.Random):
    """Throws what is in `data`, and behind its end always the same."""

    def __init__(self, data: bytes) -> None:
        super().__init__(0)
        self._data = data
        self._place = 0

    def getrandbits(self, k: int, /) -> int:
        """The next bytes, as many as `k` bits need."""
        size = (k + 7) // 8
        part = self._data[self._place : self._place + size]
        if len(part) < size:
            self._place = len(self._data)
            return super().getrandbits(k)
        self._place += size
        return int.from_bytes(part, "little") & ((1 << k) - 1)

    def random(self) -> float:
        """The next byte as a number below 1."""
        if self._place >= len(self._data):
            return super().random()
        return self.getrandbits(8) / 256

    def rest(self) -> bytes:
        """What was not thrown yet."""
        return self._data[self._place :]
