"""What a steady caller on another host saw of a fault."""

import asyncio
import contextlib
import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.hosts.node import PATIENCE, ROOT

Call = dict[str, Any]
LATE = 0.4
"""Seconds: no node that does well takes as long."""


class Calls:
    """`async with`: a caller at `rate` calls a second, started by `command`; what it said is read as it comes."""

    def __init__(
        self, command: Sequence[str], folder: Path, *, rate: float = 200, message: str = "where", policy: str = ""
    ) -> None:
        self.command = command
        self.folder = folder / f"caller-{message}-{policy}"
        self.rate = rate
        self.message = message
        self.policy = policy
        self.said: list[Call] = []
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    async def __aenter__(self) -> "Calls":
        self.folder.mkdir(parents=True, exist_ok=True)
        words = ["-m", "tests.hosts.caller", "--rate", str(self.rate), "--message", self.message]
        words += ["--policy", self.policy] if self.policy else []
        env = {**os.environ, "HOME": str(self.folder), "PYTHONPATH": str(ROOT)}
        with (self.folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.command, *words,
                env=env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, limit=1 << 20,
            )  # fmt: skip
        self._reading = asyncio.ensure_future(self._read(self._process))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._reading is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await asyncio.wait([self._reading], timeout=PATIENCE)

    async def until(self, fits: Callable[[list[Call]], bool], since: float = 0.0, within: float = PATIENCE) -> float:
        """The moment at which that is true of the calls that began after `since`."""
        try:
            async with asyncio.timeout(within):
                while not fits(self.since(since)):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            log = (self.folder / "log").read_text()[-2000:]
            raise AssertionError(f"not within {within} s; the last calls: {self.said[-3:]}\n{log}") from None
        return time.monotonic()

    async def answered_by(self, *names: str, since: float = 0.0, within: float = PATIENCE) -> float:
        """The moment at which each of these has answered a call that began after `since`."""
        return await self.until(lambda calls: set(names) <= {str(call.get("node")) for call in calls}, since, within)

    async def rest(self, seconds: float) -> None:
        """Lets it call for so long."""
        await asyncio.sleep(seconds)  # clock: the callers' rate is in real time

    def since(self, moment: float) -> list[Call]:
        return [call for call in self.said if call["began"] >= moment]

    def failed(self, since: float = 0.0) -> list[Call]:
        return [call for call in self.since(since) if "error" in call]

    def lost(self, since: float) -> list[Call]:
        """Those that failed from then on, whenever they began."""
        return [call for call in self.failed() if call["ended"] >= since]

    def gap(self, since: float = 0.0) -> float:
        """The longest time without an answer."""
        ends = sorted(call["ended"] for call in self.said if "node" in call and call["ended"] >= since)
        return max((later - before for before, later in zip([since, *ends], ends, strict=False)), default=0.0)

    def last_failure(self, since: float) -> float:
        """Seconds from then until the last call began that failed; 0 where none did."""
        return max((call["began"] - since for call in self.failed(since)), default=0.0)

    def evicted(self, since: float) -> float:
        """Seconds from then until the last call began that the fault has touched: that failed, or took LATE."""
        touched = [call for call in self.since(since) if "error" in call or call["ended"] - call["began"] > LATE]
        return max((call["began"] - since for call in touched), default=0.0)

    def shares(self, since: float = 0.0) -> dict[str, float]:
        counted = Counter(str(call["node"]) for call in self.since(since) if "node" in call)
        return {name: number / counted.total() for name, number in sorted(counted.items())}

    def p99(self, since: float = 0.0) -> float:
        took = sorted(call["ended"] - call["began"] for call in self.since(since) if "node" in call)
        return took[int(len(took) * 0.99)] if took else 0.0

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            with contextlib.suppress(json.JSONDecodeError):  # the last line of one that was killed
                self.said.append(json.loads(line))
            self._news.set()
