"""A worker as its supervisor sees it: started, told, heard of, killed."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code, ConfigError
from splnode.limits import Limits
from splnode.net.connection import ClientConnection
from splnode.observe.metrics import Family
from splnode.rpc.client import Client
from splnode.workers.link import BOOT_SECONDS, linked, within
from splnode.workers.protocol import WorkerFault, worker_protocol

SAY_SECONDS: Final = 2.0
"""Seconds that a worker has to take a word; it is slow only where it hangs."""
MANAGERS: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
"""What a service manager says to the supervisor alone. (sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3))"""

Listening = Sequence[tuple[Endpoint, list[socket.socket]]]
Links = Sequence[tuple[str, socket.socket]]


class WorkerProcess:
    """One process, from `start` to `ended`. Whoever started it kills it, or tells it to stop."""

    def __init__(self, process: asyncio.subprocess.Process, connection: ClientConnection, client: Client) -> None:
        self._process = process
        self._connection = connection
        self._client = client
        self._hand: socket.socket | None = None

    @property
    def pid(self) -> int:
        """The number that the system gave it."""
        return self._process.pid

    @classmethod
    async def start(cls, number: int, config: str, listening: Listening, links: Links) -> Self:
        """Starts worker `number` and returns when it serves on `listening`. ConfigError says why it does not.

        It inherits the sockets; those of `links` (with the text of the protocol spoken there) are closed here.
        """
        descriptors = [(text, sock.fileno()) for text, sock in links]
        ours, theirs = socket.socketpair()
        hand, handed = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        place = handed.fileno()
        try:
            passed = [handed, *(sock for _, each in listening for sock in each), *(sock for _, sock in links)]
            process = await _spawn(number, theirs, passed)
        except BaseException as error:
            ours.close()
            hand.close()
            if isinstance(error, OSError):
                raise ConfigError(f"worker {number} cannot be started: {error.strerror}") from error
            raise
        finally:
            for sock in (theirs, handed, *(sock for _, sock in links)):
                sock.close()
        worker: Self | None = None
        try:
            async with asyncio.timeout(BOOT_SECONDS):
                worker = await cls._meet(process, ours)
                await worker._serve(config, listening, place, descriptors)
        except BaseException as error:
            hand.close()
            if worker is not None:
                worker._connection.abort()
            gone = isinstance(error, CallError) and error.code is Code.UNAVAILABLE
            status = await _end(process, SAY_SECONDS if gone else 0.0)
            if gone and status is not None:
                raise ConfigError(f"worker {number} ended before it served: {_how(status)}") from error
            if isinstance(error, WorkerFault | CallError):
                raise ConfigError(f"worker {number}: {error.message}") from error
            if isinstance(error, TimeoutError):
                raise ConfigError(f"worker {number} did not serve within {BOOT_SECONDS:g} s") from None
            raise
        hand.setblocking(False)
        worker._hand = hand
        return worker

    @classmethod
    async def _meet(cls, process: asyncio.subprocess.Process, sock: socket.socket) -> Self:
        name = f"worker/{process.pid}"
        connection, contract = await linked(
            sock, worker_protocol(), name, within(Limits()), lambda reason: None, [WorkerFault]
        )
        return cls(process, connection, Client(connection, contract))

    async def _serve(self, config: str, listening: Listening, handed: int, links: Sequence[tuple[str, int]]) -> None:
        await self._client.call(
            "serve",
            {
                "config": config,
                "listening": [
                    {"endpoint": str(endpoint), "descriptors": [sock.fileno() for sock in sockets]}
                    for endpoint, sockets in listening
                ],
                "handed": handed,
                "links": [{"protocol": text, "descriptor": descriptor} for text, descriptor in links],
            },
            timeout=BOOT_SECONDS,
        )

    async def reload(self, config: str) -> None:
        """Other settings. CallError if it does not take them."""
        await self._client.call("reload", {"config": config}, timeout=SAY_SECONDS)

    async def metrics(self) -> tuple[list[Family], list[Family]]:
        """What it has counted since it started, and what it uses. CallError if it does not answer at once."""
        told: Any = await self._client.call("metrics", {}, timeout=SAY_SECONDS)
        return msgspec.json.decode(told["counted"]), msgspec.json.decode(told["process"])

    async def stop(self) -> None:
        """Asks it to end once its calls have. One that does not listen goes on."""
        with contextlib.suppress(CallError):
            await self._client.call("stop", {}, timeout=SAY_SECONDS)

    def hand(self, place: int, sock: socket.socket) -> bool:
        """Hands a connection over that has come to the endpoint at that place of `listening`; the caller closes it.

        False if the worker has many to take in already, or is gone.
        """
        if self._hand is None:
            return False
        try:
            socket.send_fds(self._hand, [bytes([place])], [sock.fileno()])
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """Ends it now."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def ended(self) -> str:
        """Waits until the process has ended; says how."""
        status = await self._process.wait()
        self._connection.abort()
        if self._hand is not None:
            self._hand.close()
            self._hand = None
        return _how(status)


async def _spawn(number: int, control: socket.socket, others: Sequence[socket.socket]) -> asyncio.subprocess.Process:
    passed = [control, *others]
    return await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "splnode", "worker", str(number), str(control.fileno()), str(os.getpid()),
        stdin=DEVNULL, stdout=DEVNULL, pass_fds=[sock.fileno() for sock in passed], env=_environment(os.environ),
    )  # fmt: skip


async def _end(process: asyncio.subprocess.Process, seconds: float) -> int | None:
    """The status of a process that ends by itself in so many seconds; None for one that had to be killed."""
    with contextlib.suppress(TimeoutError):
        return await asyncio.wait_for(process.wait(), seconds)
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()
    return None


def _environment(here: Mapping[str, str]) -> dict[str, str]:
    """Ours, without what the service manager says to us, and with the same splnode wherever it was imported from."""
    kept = {name: value for name, value in here.items() if name not in MANAGERS}
    places = [str(Path(__file__).parents[2]), kept.get("PYTHONPATH", "")]
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, places))}


def _how(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(-status).name}"
    return f"signal {-status}"
