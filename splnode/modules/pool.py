"""Which process runs a call: one call at a time each, started when needed, kept for the next call.

A process serves one module, and that module's one text on the disk (its `key`), all its life: what a module
does to its process harms no other module. Rules, decided in `_reserve`:

| there is | then |
|---|---|
| an idle process of the module | it is taken |
| room | a process is started |
| an idle process of another module | the one longest unused makes room |
| none of these, or the module has its share already | the call waits, in order |

The share is half of the pool: calls that hang in one module leave room for the others.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Final

import structlog

from splnode.errors import CallError, Code
from splnode.modules.process import ModuleProcess

log = structlog.get_logger("splnode.modules")

WAITING: Final = 1000
"""Calls that may wait for a process before the next one is refused."""
IDLE_SECONDS: Final = 60.0
"""After this time without a call a process ends, but for the few that are kept."""

Start = Callable[[], Awaitable[ModuleProcess]]


class Pool:
    """At most `size` processes, of which `kept` stay when nothing is called. Whoever made it closes it."""

    def __init__(self, start: Start, size: int, kept: int = 2) -> None:
        self._start = start
        self._size = size
        self._kept = kept
        self._share = max(1, size // 2)
        self._total = 0
        self._busy: Counter[Hashable] = Counter()
        self._idle: OrderedDict[ModuleProcess, tuple[Hashable, float]] = OrderedDict()  # longest unused first
        self._waiting: deque[tuple[Hashable, asyncio.Future[ModuleProcess | None]]] = deque()
        self._working: set[ModuleProcess] = set()
        self._ending: set[asyncio.Task[str]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def is_closed(self) -> bool:
        """True once `close` was called."""
        return self._closed

    async def acquire(self, key: Hashable) -> tuple[ModuleProcess, bool]:
        """A process for one call of the module `key`, and whether it is new (then it has loaded nothing).

        Give it back with `release`. CallError(RESOURCE_EXHAUSTED) where too many wait. Cancelling is safe.
        """
        self._refuse_closed()
        granted, process = self._reserve(key)
        if not granted:
            process = await self._wait(key)
        if process is not None:
            self._working.add(process)
            return process, False
        try:
            process = await self._start()
        except BaseException:
            self._leave(key)
            raise
        self._working.add(process)
        try:
            self._refuse_closed()
        except CallError:
            self.release(process, key, reusable=False)
            raise
        return process, True

    def release(self, process: ModuleProcess, key: Hashable, *, reusable: bool) -> None:
        """The call is over. A process that is not `reusable` is killed."""
        self._working.discard(process)
        if reusable and process.is_alive and not self._closed:
            self._idle[process] = (key, asyncio.get_running_loop().time())
            self._busy -= Counter((key,))
            self._watch()
            self._grant()
        else:
            self._end(process)
            self._leave(key)

    def forget(self, key: Hashable) -> None:
        """The module `key` is not there any more, or has another text: its idle processes end."""
        for process in [each for each, (owner, _) in self._idle.items() if owner == key]:
            self._retire(process)
        self._grant()

    async def close(self) -> None:
        """Kills all, and waits for their end."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(_stopping())
        for process in list(self._idle):
            self._retire(process)
        for process in self._working:
            process.kill()  # its call fails, and releases it
        while self._ending:
            await asyncio.wait(self._ending)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise _stopping()

    def _reserve(self, key: Hashable) -> tuple[bool, ModuleProcess | None]:
        """Whether the call may go on now, and with which process; None: start one."""
        if self._busy[key] >= self._share:
            return False, None
        for process in [each for each in self._idle if not each.is_alive]:
            self._retire(process)
        for process, (owner, _) in reversed(self._idle.items()):
            if owner == key:
                del self._idle[process]
                self._busy[key] += 1
                return True, process
        if self._total >= self._size:
            if not self._idle:
                return False, None
            self._retire(next(iter(self._idle)))
        self._total += 1
        self._busy[key] += 1
        return True, None

    async def _wait(self, key: Hashable) -> ModuleProcess | None:
        if len(self._waiting) >= WAITING:
            text = f"{WAITING} calls wait for one of the {self._size} module processes already"
            raise CallError(Code.RESOURCE_EXHAUSTED, text, retry_after=1.0, started=False)
        future: asyncio.Future[ModuleProcess | None] = asyncio.get_running_loop().create_future()
        entry = (key, future)
        self._waiting.append(entry)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                process = future.result()  # granted and cancelled at once: the next one gets it
                if process is None:
                    self._leave(key)
                else:
                    self.release(process, key, reusable=True)
            raise
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)

    def _grant(self) -> None:
        """Lets go on who can, the longest waiting first."""
        for key, future in list(self._waiting):
            if future.done():
                continue
            granted, process = self._reserve(key)
            if granted:
                self._waiting.remove((key, future))
                future.set_result(process)

    def _leave(self, key: Hashable) -> None:
        self._total -= 1
        self._busy -= Counter((key,))  # which drops zeros: keys come and go
        if not self._closed:
            self._grant()

    def _retire(self, process: ModuleProcess) -> None:
        del self._idle[process]
        self._total -= 1
        self._end(process)

    def _end(self, process: ModuleProcess) -> None:
        process.kill()
        task = asyncio.ensure_future(process.ended())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _watch(self) -> None:
        if self._timer is None and len(self._idle) > self._kept:
            self._timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for process, (_, since) in list(self._idle.items())[: max(0, len(self._idle) - self._kept)]:
            if now - since >= IDLE_SECONDS:
                self._retire(process)
        self._watch()


def _stopping() -> CallError:
    return CallError(Code.UNAVAILABLE, "this node is stopping: it starts no more modules", started=False)
