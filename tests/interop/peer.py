"""Driving a program in another language: JSON lines on its stdin and stdout, each wait with a deadline.

A command is an object with `do` and an `id`; the answer bears the same `id`. An object with `event` instead is
something that happened (a one-way call came in). Bytes are `{"$bytes": base64}`, in both directions.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import queue
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

DEADLINE = 20.0
"""Seconds for one answer; a JVM starts within one."""

HERE = Path(__file__).parent
PROTOCOLS = HERE / "protocols"


class PeerError(Exception):
    """The peer failed at its command: its own report, and what it said on stderr."""


class Peer:
    """One program, started when it is made and ended by `end`; commands may overlap."""

    def __init__(self, argv: Sequence[str], cwd: Path = HERE) -> None:
        self._name = " ".join(argv)
        self._errors: list[str] = []
        self._answers: dict[int, Future[dict[str, Any]]] = {}
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._ids = itertools.count()
        self._process = subprocess.Popen(
            argv, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._threads = [threading.Thread(target=self._read_answers), threading.Thread(target=self._read_errors)]
        for thread in self._threads:
            thread.start()

    async def ask(self, do: str, **what: Any) -> dict[str, Any]:
        """One command and its answer. PeerError: it could not do it, died, or is late."""
        number = next(self._ids)
        future = self._answers[number] = Future()
        line = json.dumps(pack({"id": number, "do": do, **what}))
        if self._process.poll() is not None:
            raise self._failed(f"has ended with {self._process.returncode}")
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        try:
            answer = await asyncio.wait_for(asyncio.wrap_future(future), DEADLINE)
        except TimeoutError:
            raise self._failed(f"did not answer {line[:200]} within {DEADLINE:g} s") from None
        finally:
            del self._answers[number]
        if "broken" in answer:
            raise self._failed(f"cannot {do}: {answer['broken']}")
        return answer

    async def event(self) -> dict[str, Any]:
        """The next thing that happened."""
        try:
            return await asyncio.to_thread(self._events.get, True, DEADLINE)
        except queue.Empty:
            raise self._failed("reported nothing") from None

    def end(self) -> None:
        """Closes its stdin, which ends it; kills it if it does not."""
        assert self._process.stdin is not None and self._process.stdout is not None and self._process.stderr is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            thread.join()
        self._process.stdout.close()
        self._process.stderr.close()

    def _read_answers(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                said = unpack(json.loads(line))
            except ValueError:
                self._errors.append(f"(stdout) {line}")
                continue
            if "event" in said:
                self._events.put(said)
            elif (future := self._answers.get(said["id"])) is not None and not future.done():
                future.set_result(said)
        for future in list(self._answers.values()):
            if not future.done():
                future.set_result({"broken": "it has ended"})

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        self._errors.extend(self._process.stderr)

    def _failed(self, what: str) -> PeerError:
        return PeerError(f"{self._name} {what}\n{''.join(self._errors[-40:])}")


class Remote:
    """A client that a peer opened to us."""

    def __init__(self, peer: Peer, handle: int) -> None:
        self._peer = peer
        self._handle = handle

    async def ask(self, do: str, **what: Any) -> dict[str, Any]:
        """A command about this client."""
        return await self._peer.ask(do, on=self._handle, **what)

    async def call(self, message: str, params: dict[str, Any], metadata: dict[str, bytes] | None = None) -> Any:
        """The value, or a RemoteFailure."""
        return (await self.full_call(message, params, metadata))[0]

    async def full_call(
        self, message: str, params: dict[str, Any], metadata: dict[str, bytes] | None = None
    ) -> tuple[Any, dict[str, bytes]]:
        """The value and the response's metadata, or a RemoteFailure."""
        answer = await self.ask("call", message=message, params=params, metadata=metadata or {})
        if "value" not in answer:
            raise RemoteFailure(answer)
        return answer["value"], answer.get("metadata", {})


class RemoteFailure(Exception):
    """What the peer's client raised: `declared` (name and fields) or `system` (a text)."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__(str(answer))
        self.declared: dict[str, Any] | None = answer.get("declared")
        self.system: str | None = answer.get("system")
        self.metadata: dict[str, bytes] = answer.get("metadata", {})


def pack(value: Any) -> Any:
    """JSON for a value that may hold bytes."""
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {key: pack(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [pack(each) for each in value]
    return value


def unpack(value: Any) -> Any:
    """The value that `pack` made JSON of."""
    if isinstance(value, dict):
        if set(value) == {"$bytes"}:
            return base64.b64decode(value["$bytes"])
        return {key: unpack(each) for key, each in value.items()}
    if isinstance(value, list):
        return [unpack(each) for each in value]
    return value
