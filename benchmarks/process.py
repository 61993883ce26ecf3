"""The processes that take part in a benchmark, from the side that started them."""

import contextlib
import json
import os
import select
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from benchmarks.measure import WARM_UP, Order

ROOT = Path(__file__).parent.parent
ANSWER_TIMEOUT = 20.0
"""Seconds for a process to start, or to answer beyond the time a round takes; then it has failed."""


class PeerError(Exception):
    """A process of a stack ended, hung or answered nonsense; says what its stderr said last."""


class Peer:
    """A process that says JSON lines on stdout: a line in, a line out. Whoever started it closes it."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env={**os.environ, **(env or {})},
            cwd=ROOT,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def answer(self, timeout: float = ANSWER_TIMEOUT) -> dict[str, Any]:
        """The next line of the process. PeerError if there is none within `timeout` seconds."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], timeout)
        line = self.process.stdout.readline() if ready else b""
        if not line:
            raise PeerError(self._last_words() if ready else f"no answer in {timeout:.0f} s; {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, order: Order) -> dict[str, Any]:
        """One round."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(vars(order)).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise PeerError(self._last_words()) from None
        return self.answer(order.seconds * (1 + WARM_UP) + ANSWER_TIMEOUT)

    def close(self) -> None:
        """Ends the process: politely, then not."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()

    def _last_words(self) -> str:
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"
