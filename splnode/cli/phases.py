"""What a call spends its time on, for -v and -vv: discover, dial, handshake, call."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Phases:
    """Tells on stderr what happens (level 1), and how long each phase took (level 2)."""

    def __init__(self, level: int = 0) -> None:
        self.level = level
        self._start = time.perf_counter()

    def note(self, text: str, level: int = 1) -> None:
        """One line, from that level on."""
        if self.level >= level and sys.stderr is not None:
            print(f"* {text}", file=sys.stderr, flush=True)

    @contextmanager
    def phase(self, name: str, detail: str = "") -> Iterator[None]:
        """A phase: told when it is over, also when it failed."""
        start = time.perf_counter()
        failed = " failed"
        try:
            yield
            failed = ""
        finally:
            now = time.perf_counter()
            took, since = (now - start) * 1000, (now - self._start) * 1000
            self.note(f"{name:9} {took:8.2f} ms  (at {since:.2f} ms){failed}  {detail}".rstrip(), 2)
