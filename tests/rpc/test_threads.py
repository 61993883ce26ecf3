import asyncio
import subprocess
import sys
import threading
import weakref
from contextvars import ContextVar
from typing import Any

import pytest

from splnode.errors import CallError, Code
from splnode.rpc import threads
from splnode.rpc.client import Client
from splnode.rpc.server import Server
from splnode.rpc.threads import Threads
from tests.rpc.conftest import PROTOCOL, Inventory

here: ContextVar[str] = ContextVar("here", default="nowhere")


class Hanging:
    """Functions that return when they are told to."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.began = threading.Semaphore(0)

    def __call__(self) -> str:
        self.began.release()
        self.release.wait(30)
        return threading.current_thread().name

    async def running(self, count: int) -> None:
        for _ in range(count):
            assert await asyncio.get_running_loop().run_in_executor(None, self.began.acquire, True, 5)


async def test_gives_what_the_function_gives_in_the_context_of_the_call() -> None:
    pool = Threads("s")
    here.set("in a call")
    assert await pool.run(lambda a, b: (a + b, here.get()), {"a": 1, "b": 2}) == (3, "in a call")

    def failing(kind: type[BaseException]) -> None:
        raise kind("x")

    for kind, comes_as in ((ValueError, ValueError), (SystemExit, SystemExit), (StopIteration, RuntimeError)):
        with pytest.raises(comes_as):
            await pool.run(failing, {"kind": kind})
    pool.close()


async def test_a_thread_is_used_again_and_ends_when_it_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "IDLE", 0.05)
    pool = Threads("s")
    names = set()
    for _ in range(20):
        names.add(await pool.run(threading.current_thread, {}))
        while not pool._free:  # it has handed over its outcome, and is about to wait
            await asyncio.sleep(0)
    assert len(names) == 1
    (thread,) = names
    await asyncio.get_running_loop().run_in_executor(None, thread.join, 5)
    assert not thread.is_alive()
    assert await pool.run(lambda: 1, {}) == 1
    pool.close()


async def test_more_than_it_has_threads_wait_in_turn_and_may_be_cancelled() -> None:
    pool, hanging = Threads("s", most=2), Hanging()
    ran: list[int] = []
    held = [asyncio.create_task(pool.run(hanging, {})) for _ in range(2)]
    await hanging.running(2)

    def note(i: int) -> None:
        ran.append(i)

    waiting = [asyncio.create_task(pool.run(note, {"i": i})) for i in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(pool._jobs) == 2  # what was cancelled is not kept until a thread comes free
    hanging.release.set()
    await asyncio.gather(*held, *waiting, return_exceptions=True)
    assert sorted(ran) == [0, 2]
    pool.close()


async def test_threads_held_by_nobodys_calls_are_counted_and_refuse_at_once() -> None:
    pool, hanging = Threads("com.acme.Slow", most=2), Hanging()
    calls = [asyncio.create_task(pool.run(hanging, {})) for _ in range(2)]
    await hanging.running(2)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    with pytest.raises(CallError, match=r"all 2 threads of com\.acme\.Slow are held") as caught:
        await pool.run(hanging, {})
    assert caught.value.code is Code.RESOURCE_EXHAUSTED
    hanging.release.set()
    while pool._held:
        await asyncio.sleep(0)
    assert await pool.run(lambda: "again", {}) == "again"
    pool.close()


async def test_nothing_of_a_call_is_held_after_it() -> None:
    class Large:
        pass

    pool = Threads("s")
    large = Large()
    gone = weakref.ref(large)
    await pool.run(lambda value: None, {"value": large})
    del large
    while not pool._free:
        await asyncio.sleep(0)
    assert gone() is None
    pool.close()


async def test_a_service_that_hangs_stops_no_other() -> None:
    class Hung(Inventory):
        pass

    hung, well = Hung(), Inventory()
    well.release.set()
    first = Client(Server(PROTOCOL, hung, threads=8), PROTOCOL)
    second = Client(Server(PROTOCOL, well), PROTOCOL)
    calls = [first.call("block", timeout=0.05) for _ in range(50)]
    results: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
    assert {error.code for error in results} == {Code.DEADLINE_EXCEEDED}
    with pytest.raises(CallError) as caught:
        await first.block()
    assert caught.value.code is Code.RESOURCE_EXHAUSTED
    assert isinstance(await second.block(), str)
    hung.release.set()


def test_a_handler_that_never_returns_does_not_keep_the_process() -> None:
    program = """
import asyncio, threading
from splnode.rpc.threads import Threads

async def main():
    try:
        async with asyncio.timeout(0.2):
            await Threads("s").run(threading.Event().wait, {})
    except TimeoutError:
        print("past its deadline")

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "past its deadline\n", "")
