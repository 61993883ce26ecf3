"""A node as a process of its own, for tests that stop, kill and restart it."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Self

START: float = 40
"""Seconds for a node to say that it serves, and for one that was told to stop to be gone."""


def closed(process: asyncio.subprocess.Process) -> None:
    """Lets go of the pipes of a process that has ended: the loop may be closed before it reads their ends."""
    process._transport.close()  # type: ignore[attr-defined]  # its maker has no other face for that


class Daemon:
    """`splnode serve` in `directory`, on a Unix socket and a TCP port of its own.

    `async with` starts it and kills it in the end if it still runs; `start` again after it has ended.
    """

    def __init__(self, directory: Path, *options: str, config: str = "drain_seconds = 0.0") -> None:
        self.directory = directory
        self.options = options
        self.endpoints: list[str] = []
        self.node = ""
        self._process: asyncio.subprocess.Process | None = None
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "test.toml").write_text(f'[node]\ndirectory = "state"\n{config}\n')

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._process is not None and self._process.returncode is None:
            await self.kill()

    @property
    def unix(self) -> str:
        """The endpoint of its Unix socket."""
        return f"unix://{self.directory}/s"

    @property
    def tcp(self) -> str:
        """The endpoint of its TCP port."""
        return next(endpoint for endpoint in self.endpoints if endpoint.startswith("tcp://"))

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """Everything on its stderr, of all its lives."""
        return (self.directory / "log").read_text()

    async def start(self) -> None:
        """Returns when it serves; AssertionError, with its log, if it does not."""
        with (self.directory / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "splnode", "serve", "--config", str(self.directory / "test.toml"),
                "--listen", self.unix, "--listen", "tcp://127.0.0.1:0", *self.options,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=log,
                env={**os.environ, "HOME": str(self.directory), "PYTHONPATH": str(Path(__file__).parents[1])},
            )  # fmt: skip
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), START)
        if not line:
            await self.ended()
            raise AssertionError(f"the node did not start:\n{self.log}")
        said = json.loads(line)
        self.endpoints, self.node = said["listen"], said["node"]

    def send(self, number: signal.Signals) -> None:
        """A signal to the node alone."""
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Its exit code, once it has gone; negative for a signal."""
        assert self._process is not None
        code = await asyncio.wait_for(self._process.wait(), START)
        closed(self._process)
        return code

    async def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self.send(signal.SIGKILL)
        await self.ended()
