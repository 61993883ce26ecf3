"""The timer of a client's connection, on a clock that is moved by hand."""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from splnode.config import ChannelsConfig
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code
from splnode.limits import Limits
from splnode.net.connection import ClientConnection
from splnode.rpc.client import Client
from splnode.wire.client import ClientSession
from splnode.wire.directory import ClientProtocols, Directory
from splnode.wire.events import Request
from splnode.wire.message import Contract
from splnode.wire.server import ServerSession
from tests.net.conftest import turns
from tests.rpc.conftest import PROTOCOL

CONTRACT = Contract(PROTOCOL)


class Clock:
    """What the connection needs of a loop; `now` moves only in `run`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[tuple[float, int, Callable[[], None]]] = []
        self.fired = 0
        self._count = itertools.count()

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None], context: Any = None) -> "Clock":
        heapq.heappush(self.timers, (self.now + delay, next(self._count), callback))
        return self

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().create_future()

    def cancel(self) -> None:
        self.timers.clear()

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self.timers and self.timers[0][0] <= until:
            self.now, _, callback = heapq.heappop(self.timers)
            self.fired += 1
            callback()
        self.now = until


class Line(asyncio.Transport):
    """Both ends of a connection. The server answers pings while it is `alive`, calls when it is told to."""

    def __init__(self, framing: str, limits: Limits) -> None:
        super().__init__()
        self.clock = Clock()
        contract = CONTRACT
        self.server = ServerSession(Directory([contract]), ClientProtocols())
        session = ClientSession(contract, framing=framing, limits=limits)
        self.lost: list[str] = []
        self.requests: list[Request] = []
        self.heard: list[float] = []
        self.alive = True
        self.aborted = False
        settings = ChannelsConfig()
        self.connection = ClientConnection(session, Endpoint("tcp", "x", 1), settings, self.lost.append)
        self.connection._loop = self.clock  # type: ignore[assignment]  # so much of a loop
        self.client = Client(self.connection, contract)
        self.connection.connection_made(self)
        self.heard.clear()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def write(self, data: Any) -> None:
        self.heard.append(self.clock.now)
        for event in self.server.receive_data(bytes(data)):
            if isinstance(event, Request):
                self.requests.append(event)
        self.reply()

    def writelines(self, parts: Any) -> None:
        self.write(b"".join(parts))

    def reply(self) -> None:
        if self.alive and (data := b"".join(self.server.data_to_send())):
            self.connection._mouth.heard = self.clock.now
            self.connection.data_received(data)

    def abort(self) -> None:
        self.aborted = True

    close = abort


def line(framing: str = "netty", limits: Limits = Limits()) -> Line:  # noqa: B008 - frozen
    return Line(framing, limits)


async def call(line: Line, seconds: float = 3600) -> "asyncio.Task[object]":
    task = asyncio.create_task(line.client.call("wait", {"name": "x"}, timeout=seconds))
    await turns(5)
    assert not task.done()
    return task


@pytest.mark.parametrize("framing", ["netty", "spec"])
async def test_idle_it_is_asked_once_a_minute_by_few_timers(framing: str) -> None:
    ends = line(framing)
    ends.clock.run(600)
    assert [at - 1000 for at in ends.heard] == [60.0 * minute for minute in range(1, 11)]
    assert ends.clock.fired <= 40
    assert ends.lost == []


async def test_with_a_call_in_flight_after_thirty_seconds() -> None:
    ends = line()
    task = await call(ends)
    ends.heard.clear()
    ends.clock.run(100)
    assert [at - 1000 for at in ends.heard] == [30, 60, 90]
    task.cancel()


async def test_a_call_that_begins_in_silence_is_not_left_alone() -> None:
    ends = line()
    ends.clock.run(45)
    task = await call(ends)
    ends.alive = False
    ends.heard.clear()
    ends.clock.run(60)
    assert [at - 1000 for at in ends.heard] == [60]
    assert ends.lost == ["no answer to a ping within 10 s"]
    assert ends.aborted
    with pytest.raises(CallError, match="the call may have run"):
        await task


async def test_in_order_a_ping_is_not_sent_behind_a_call_that_takes_its_time() -> None:
    ends = line("spec")
    task = await call(ends)
    ends.heard.clear()
    ends.clock.run(300)
    assert ends.heard == []
    assert ends.lost == []
    ends.server.respond(ends.requests[0], "late")
    ends.reply()
    assert await task == "late"
    ends.clock.run(61)
    assert len(ends.heard) == 1  # and idle it is asked as ever


async def test_in_order_nothing_but_silence_after_a_call_was_given_up_is_the_end() -> None:
    ends = line("spec")
    ends.alive = False
    task = await call(ends)
    task.cancel()
    await turns(5)
    behind = await call(ends)
    ends.clock.run(41)
    assert ends.lost == ["no answer to a ping within 10 s"]
    with pytest.raises(CallError) as caught:
        await behind
    assert caught.value.code is Code.UNAVAILABLE


async def test_no_room_for_more_calls_is_no_reason_not_to_ask() -> None:
    ends = line(limits=Limits(calls_per_connection=1))
    ends.alive = False
    task = await call(ends)
    waiting = await call(ends)
    ends.clock.run(41)
    assert ends.lost == ["no answer to a ping within 10 s"]
    with pytest.raises(CallError) as caught:
        await waiting
    assert (caught.value.code, caught.value.started) == (Code.UNAVAILABLE, False)
    with pytest.raises(CallError) as caught:
        await task
    assert caught.value.started


async def test_closed_there_is_no_timer_left() -> None:
    ends = line()
    ends.connection.abort()
    assert ends.clock.timers == []
