"""Threads for handlers that block: every server has its own, so that a service that hangs stops no other.

A thread cannot be stopped from outside. A call that is past its deadline is answered and leaves its place to
others; its thread goes on until the handler returns, and counts here as long. When every thread is held in this way
new calls are refused at once, and say why. The threads are daemons: a handler that never returns does not keep the
process from ending, and Python's own executor, where names are resolved, is not used for handlers.
"""

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

import structlog

from splnode.errors import CallError, Code

THREADS: Final = 64
"""Blocking handlers of one service that run at a time: a thread costs some 20 kB, and what the handler holds."""
IDLE: Final = 10.0
"""Seconds after which a thread that has nothing to do ends."""

log = structlog.get_logger("splnode.rpc")


class _Job:
    """One call of a blocking handler."""

    __slots__ = ("abandoned", "context", "function", "future", "params")

    def __init__(self, function: Callable[..., Any], params: dict[str, Any]) -> None:
        self.function = function
        self.params = params
        self.context = contextvars.copy_context()
        self.future: Future[Any] = Future()
        self.abandoned = False

    def run(self) -> None:
        """Calls the function and hands its outcome over; from here on nothing of the call is held."""
        try:
            result = self.context.run(self.function, **self.params)
        except StopIteration as error:  # a future cannot carry it
            outcome = RuntimeError("a blocking handler raised StopIteration")
            outcome.__cause__ = error
            self.future.set_exception(outcome)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is its caller's
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class Threads:
    """Runs functions in at most `most` threads, started when they are needed. `name` is the service, for the log."""

    def __init__(self, name: str, most: int = THREADS) -> None:
        self._name = name
        self._most = most
        self._changed = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._threads = 0
        self._free = 0
        self._held = 0  # threads whose caller has gone
        self._warned = False
        self._closed = False

    async def run(self, function: Callable[..., Any], params: dict[str, Any]) -> Any:
        """Gives what `function(**params)` gives in a thread, in a copy of the present context.

        Cancelling is safe: the function is not called if no thread has taken it yet, else its outcome is dropped.
        CallError(RESOURCE_EXHAUSTED) if all threads are held by calls that nobody waits for any more.
        """
        job = _Job(function, params)
        self._submit(job)
        try:
            return await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:
            self._abandon(job)
            raise

    def close(self) -> None:
        """Ends the threads as they become free."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _submit(self, job: _Job) -> None:
        with self._changed:
            if self._held >= self._most:
                self._say_once()
                text = f"all {self._most} threads of {self._name} are held by calls past their deadline"
                raise CallError(Code.RESOURCE_EXHAUSTED, text)
            self._jobs.append(job)
            if self._free >= len(self._jobs):
                self._changed.notify()
            elif self._threads < self._most:
                self._threads += 1
                try:
                    threading.Thread(target=self._work, name=f"{self._name} {self._threads}", daemon=True).start()
                except BaseException:
                    self._threads -= 1
                    self._jobs.remove(job)
                    raise

    def _say_once(self) -> None:
        if not self._warned:
            self._warned = True
            log.warning("blocking handlers hang", service=self._name, threads=self._most)

    def _abandon(self, job: _Job) -> None:
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
            elif not job.future.done():
                job.abandoned = True
                self._held += 1

    def _work(self) -> None:
        while True:
            job = self._take()
            if job is None:
                return
            if job.future.set_running_or_notify_cancel():
                job.run()
            with self._changed:
                if job.abandoned:
                    self._held -= 1
                    self._warned = False
            del job  # nothing of it is held while the next one is waited for

    def _take(self) -> _Job | None:
        """The next job; None when this thread is to end."""
        with self._changed:
            while not self._jobs:
                self._free += 1
                awake = self._changed.wait(IDLE)
                self._free -= 1
                if not self._jobs and (self._closed or not awake):
                    self._threads -= 1
                    return None
            return self._jobs.popleft()
