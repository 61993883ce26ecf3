"""A module's process as the node sees it: started, called over a socket pair, heard, killed."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from splnode.config import ChannelsConfig
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code
from splnode.modules.contract import Value
from splnode.modules.directory import ModuleFile
from splnode.modules.protocol import ModuleFault, worker_protocol
from splnode.net.connection import ClientConnection
from splnode.rpc.client import Client
from splnode.wire.client import ClientSession
from splnode.wire.message import Contract

log = structlog.get_logger("splnode.modules")

MEMORY: Final = 1024 * 1024 * 1024
"""Bytes of data (heap and anonymous mappings) that a module's process may have."""
LOGGED: Final = 256 * 1024
"""Bytes of what a module prints during one call that reach the log."""
UNLOGGED_PER_SECOND: Final = 8 * 1024 * 1024
"""What it prints beyond that is read no faster: a flood costs the module its time, not the node."""
LINE: Final = 4096
"""Bytes after which a printed line is broken."""
END_SECONDS: Final = 5.0
LAST_SECONDS: Final = 1.0
"""How long what a process printed last is waited for: who left its group may hold the pipe open for ever."""

KEPT: Final = ("HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER")
"""The environment that a module sees, with LC_* and SPL_*; nothing else, since secrets live there."""


class Crashed(Exception):
    """The process ended during a call; the text says how."""


class ModuleProcess:
    """One process, for one module from its first call on. Made by `start`; whoever started it kills it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.module: ModuleFile | None = None
        self._process = process
        self._connection: ClientConnection | None = None
        self._client: Client | None = None
        self._printed = 0
        self._output = asyncio.create_task(self._listen())

    @classmethod
    async def start(
        cls, memory: int = MEMORY, environment: Sequence[str] = (), turn: asyncio.Lock | None = None
    ) -> "ModuleProcess":
        """Starts a process and connects to it. `environment` names further variables that it gets.

        A fork takes some ms: those that share a `turn` do it one after another, and let the loop run in between.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                async with turn or contextlib.nullcontext():
                    process = await asyncio.create_subprocess_exec(
                        sys.executable, "-P", "-u", "-X", "faulthandler", "-m", "splnode.modules.worker",
                        str(theirs.fileno()), str(memory), stdin=DEVNULL, stdout=PIPE, stderr=STDOUT,
                        pass_fds=(theirs.fileno(),), env=_environment(environment), cwd="/", start_new_session=True,
                    )  # fmt: skip
        except OSError as error:
            ours.close()
            text = f"no process for a module can be started: {error.strerror}"
            raise CallError(Code.UNAVAILABLE, text, started=False) from error
        except BaseException:
            ours.close()
            raise
        worker = cls(process)
        try:
            await worker._connect(ours)
        except BaseException:
            worker.kill()
            await worker.ended()
            raise
        return worker

    @property
    def is_alive(self) -> bool:
        """True while it can be called."""
        return self._process.returncode is None and self._connection is not None and self._connection.is_open

    async def load(self, module: ModuleFile, timeout: float) -> None:
        """Makes it the process of `module`. ModuleFault, Crashed, CallError(DEADLINE_EXCEEDED)."""
        self.module = module
        await self._call("load", {"uri": module.uri, "path": module.path, "contract": module.contract}, timeout)

    async def run(self, headers: Mapping[str, str], value: Value, timeout: float) -> dict[str, Any]:
        """Calls the module; gives the Outcome. Errors as of `load`; after each but ModuleFault kill it."""
        self._printed = 0
        outcome: dict[str, Any] = await self._call("run", {"headers": headers, "value": value}, timeout)
        return outcome

    def kill(self) -> None:
        """Ends it now, and the processes that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def ended(self) -> str:
        """Waits until a process that was killed, or whose connection is gone, has ended; says how."""
        for _ in range(2):  # before Python 3.14 it waits for the end of the pipe as well, unless the status is known
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), END_SECONDS)
            self.kill()  # it, or what it left behind in its group
        status = self._process.returncode
        if self._connection is not None:
            await self._connection.close()
        await asyncio.wait([self._output], timeout=LAST_SECONDS)  # since Python 3.14 the end of the process is no EOF
        self._output.cancel()
        await asyncio.wait([self._output])
        self._process._transport.close()  # type: ignore[attr-defined]  # asyncio has no other way to let go of a pipe
        if status is None:
            return "no end, though it was killed"
        if status >= 0:
            return f"exit status {status}"
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(-status).name}"
        return f"signal {-status}"

    async def _connect(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        contract = Contract(worker_protocol(), errors={ModuleFault.schema_name: ModuleFault})
        session = ClientSession(contract, framing="netty")
        endpoint = Endpoint("unix", path=f"/process/{self._process.pid}")
        loop = asyncio.get_running_loop()
        _, self._connection = await loop.create_unix_connection(
            lambda: ClientConnection(session, endpoint, ChannelsConfig(), lambda reason: None), sock=sock
        )
        self._client = Client(self._connection, contract)
        await self._connection.ready()

    async def _call(self, message: str, params: Mapping[str, Any], timeout: float) -> Any:
        assert self._client is not None
        try:
            return await self._client.call(message, params, timeout=timeout)
        except CallError as error:
            if error.code is Code.UNAVAILABLE:
                how = await self.ended()
                if how in ("exit status 0", "signal SIGKILL"):  # it may have ended itself, see worker.py
                    how += f", when its connection broke ({error.message.partition('; ')[0]})"
                raise Crashed(how) from None
            raise

    async def _listen(self) -> None:
        """What the module prints goes to the log, a line at a time."""
        assert self._process.stdout is not None
        held = b""
        while chunk := await self._process.stdout.read(64 * 1024):
            self._printed += len(chunk)
            if self._printed > LOGGED:
                if self._printed - len(chunk) <= LOGGED:
                    self._log("module prints too much: the rest of this call is not logged", held)
                held = b""
                await asyncio.sleep(len(chunk) / UNLOGGED_PER_SECOND)
                continue
            *lines, held = (held + chunk).split(b"\n")
            while len(held) > LINE:
                lines.append(held[:LINE])
                held = held[LINE:]
            for line in lines:
                self._log("module printed", line)
        if held:
            self._log("module printed", held)

    def _log(self, event: str, text: bytes) -> None:
        name = self.module.uri if self.module else "(none yet)"
        log.info(event, module=name, process=self._process.pid, text=text[:LINE].decode("utf-8", "replace"))


def _environment(names: Sequence[str]) -> dict[str, str]:
    kept = {*KEPT, *names}
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in kept or name.startswith(("LC_", "SPL_", "SPLNODE_"))
    }
    # The same splnode, wherever it was imported from.
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    environment["PYTHONUTF8"] = "1"
    return environment
