"""What somebody waits for on a connection past its pipeline: pings, and calls where answers come in order."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from splnode.errors import CallError, Code
from splnode.rpc.call import Call
from splnode.rpc.expiry import Expiry
from splnode.wire.events import Response


class Pending:
    """By their serials. `forget` is told those whose answer nobody waits for any more; `fail` ends it, and comes once.

    Its length is the number of calls.
    """

    __slots__ = ("_calls", "_expiry", "_forget", "_loop", "_pings")

    def __init__(self, forget: Callable[[int], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._forget = forget
        self._calls: dict[int, tuple[asyncio.Future[object], Call]] = {}
        self._pings: dict[int, asyncio.Future[Mapping[str, bytes]]] = {}
        self._expiry: Expiry[int] = Expiry(self._expire)

    def __len__(self) -> int:
        return len(self._calls)

    def call(self, serial: int, call: Call) -> Awaitable[object]:
        """What gives the answer to a call that was sent, or CallError at its deadline. Cancelling is safe."""
        future: asyncio.Future[object] = self._loop.create_future()
        self._calls[serial] = (future, call)
        self._expiry.add(serial, call.deadline)
        return self._answer(serial, future)

    def ping(self, serial: int) -> "asyncio.Future[Mapping[str, bytes]]":
        """What gives the metadata of the answer to a ping that was sent. Whoever waits calls `unping` in the end."""
        future = self._pings[serial] = self._loop.create_future()
        return future

    def unping(self, serial: int) -> None:
        """Nobody waits for it any more."""
        self._pings.pop(serial, None)

    def take(self, response: Response) -> None:
        """An answer has come, to whomever."""
        entry = self._calls.pop(response.serial, None)
        if entry is None:
            pinged = self._pings.get(response.serial)
            if pinged is not None and not pinged.done():
                pinged.set_result(response.metadata)
            return
        self._expiry.discard(response.serial)
        future, call = entry
        call.answer_metadata = response.metadata
        if future.done():
            return
        if response.error is None:
            future.set_result(response.value)
        else:
            future.set_exception(response.error)

    def fail(self, text: str) -> None:
        """The connection has gone, for that reason: whoever waits is told, each by an error of its own."""
        self._expiry.close()
        for pinged in self._pings.values():
            if not pinged.done():
                pinged.set_exception(CallError(Code.UNAVAILABLE, text))
        calls, self._calls = self._calls, {}
        for future, _ in calls.values():
            if not future.done():
                future.set_exception(CallError(Code.UNAVAILABLE, f"{text}; the call may have run"))

    async def _answer(self, serial: int, future: "asyncio.Future[object]") -> object:
        try:
            return await future
        except asyncio.CancelledError:
            if self._calls.pop(serial, None) is not None:
                self._expiry.discard(serial)
                self._forget(serial)
            raise
        finally:
            del future  # an error would hold its traceback, that this frame, and this the error

    def _expire(self, serial: int) -> None:
        future, call = self._calls.pop(serial)
        if not future.done():
            future.set_exception(call.expired())
        self._forget(serial)
