import asyncio
import time

import pytest

from splnode.errors import CallError, Code
from splnode.rpc.admission import Admission
from splnode.rpc.call import Call, running
from splnode.wire.message import Contract
from tests.rpc.conftest import PROTOCOL

CONTRACT = Contract(PROTOCOL)


def a_call(seconds: float = 10) -> Call:
    return Call(CONTRACT, PROTOCOL.messages["block"], {}, time.monotonic() + seconds)


class Handler:
    """Runs until it is let go; counts."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.ran = 0

    async def __call__(self, call: Call) -> object:
        self.ran += 1
        await self.gate.wait()
        return "done"


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_lets_in_up_to_its_limit_and_the_rest_in_turn() -> None:
    admission, handler = Admission(2, 10), Handler()
    calls = [asyncio.create_task(admission(a_call(), handler)) for _ in range(5)]
    await turns()
    assert (admission.running, admission.waiting, handler.ran) == (2, 3, 2)
    handler.gate.set()
    assert await asyncio.gather(*calls) == ["done"] * 5
    assert (admission.running, admission.waiting) == (0, 0)


async def test_refuses_what_finds_no_room_as_not_started() -> None:
    admission, handler = Admission(1, 1), Handler()
    calls = [asyncio.create_task(admission(a_call(), handler)) for _ in range(2)]
    await turns()
    with pytest.raises(CallError) as caught:
        await admission(a_call(), handler)
    assert caught.value.code is Code.RESOURCE_EXHAUSTED
    assert caught.value.retry_after
    assert not caught.value.started
    handler.gate.set()
    await asyncio.gather(*calls)


async def test_a_late_call_in_the_queue_makes_room() -> None:
    admission, handler = Admission(1, 1), Handler()
    first = asyncio.create_task(admission(a_call(), handler))
    late = asyncio.create_task(admission(a_call(-1), handler))
    await turns()
    third = asyncio.create_task(admission(a_call(), handler))
    await turns()
    with pytest.raises(CallError) as caught:
        await late
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    handler.gate.set()
    assert await asyncio.gather(first, third) == ["done", "done"]
    assert handler.ran == 2


async def test_a_late_call_does_not_run_when_its_turn_comes() -> None:
    admission, handler = Admission(1, 5), Handler()
    first = asyncio.create_task(admission(a_call(), handler))
    late = asyncio.create_task(admission(a_call(-1), handler))
    await turns()
    handler.gate.set()
    await first
    with pytest.raises(CallError):
        await late
    assert (admission.running, handler.ran) == (0, 1)


async def test_a_cancelled_one_gives_its_place_away() -> None:
    admission, handler = Admission(1, 5), Handler()
    calls = [asyncio.create_task(admission(a_call(), handler)) for _ in range(3)]
    await turns()
    calls[1].cancel()  # while it waits
    await turns()
    calls[0].cancel()  # while it runs: its place goes to the third
    await turns()
    assert admission.running == 1
    handler.gate.set()
    assert await calls[2] == "done"
    assert (admission.running, admission.waiting) == (0, 0)


async def test_cancelled_in_the_moment_its_turn_comes() -> None:
    admission, handler = Admission(1, 5), Handler()
    handler.gate.set()
    first = asyncio.create_task(admission(a_call(), handler))
    second = asyncio.create_task(admission(a_call(), handler))
    await asyncio.sleep(0)
    await first
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert admission.running == 0
    assert await admission(a_call(), handler) == "done"


async def test_a_call_of_a_handler_never_waits_for_itself() -> None:
    admission = Admission(1, 0)

    async def innermost(call: Call) -> object:
        return "inner"

    async def handler(call: Call) -> object:
        token = running.set(call)
        try:
            return await admission(a_call(), innermost)
        finally:
            running.reset(token)

    assert await admission(a_call(), handler) == "inner"


async def test_closed_it_refuses_and_becomes_idle() -> None:
    admission, handler = Admission(1, 5), Handler()
    calls = [asyncio.create_task(admission(a_call(), handler)) for _ in range(2)]
    await turns()
    admission.close("node x is stopping")
    with pytest.raises(CallError, match="node x is stopping") as caught:
        await admission(a_call(), handler)
    assert (caught.value.code, caught.value.started) == (Code.UNAVAILABLE, False)
    idle = asyncio.create_task(admission.idle())
    await turns()
    assert not idle.done()
    handler.gate.set()
    await asyncio.gather(*calls, idle)


async def test_resize_takes_effect_for_the_next() -> None:
    admission, handler = Admission(1, 0), Handler()
    first = asyncio.create_task(admission(a_call(), handler))
    await turns()
    admission.resize(2, 0)
    second = asyncio.create_task(admission(a_call(), handler))
    await turns()
    assert admission.running == 2
    handler.gate.set()
    await asyncio.gather(first, second)


async def test_places_that_are_new_go_to_those_that_wait() -> None:
    admission, handler = Admission(1, 5), Handler()
    calls = [asyncio.create_task(admission(a_call(), handler)) for _ in range(4)]
    await turns()
    admission.resize(3, 5)
    await turns()
    assert (admission.running, admission.waiting, handler.ran) == (3, 1, 3)
    handler.gate.set()
    await asyncio.gather(*calls)
    assert (admission.running, admission.waiting) == (0, 0)


async def test_fewer_places_are_fewer_although_others_wait() -> None:
    admission = Admission(3, 5)
    gates = [asyncio.Event() for _ in range(5)]

    async def handler(call: Call) -> object:
        await call.params["gate"].wait()
        return None

    calls = []
    for gate in gates:
        call = a_call()
        call.params = {"gate": gate}
        calls.append(asyncio.create_task(admission(call, handler)))
    await turns()
    admission.resize(1, 5)
    gates[0].set()
    await turns()
    assert (admission.running, admission.waiting) == (2, 2)
    gates[1].set()
    await turns()
    assert (admission.running, admission.waiting) == (1, 2)
    for gate in gates:
        gate.set()
    await asyncio.gather(*calls)


async def test_what_gives_up_waiting_leaves_no_trace() -> None:
    admission, handler = Admission(1, 1000), Handler()
    first = asyncio.create_task(admission(a_call(), handler))
    waiting = [asyncio.create_task(admission(a_call(), handler)) for _ in range(100)]
    await turns()
    for call in waiting:
        call.cancel()
    await turns()
    assert admission.waiting == 0
    handler.gate.set()
    await first


async def test_a_full_queue_is_not_searched_for_each_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    admission, handler = Admission(1, 100), Handler()
    calls = [asyncio.create_task(admission(a_call(), handler)) for _ in range(101)]
    await turns()
    looked = 0

    def counting(queue: object) -> object:
        nonlocal looked
        looked += 1
        raise AssertionError

    class Queue(type(admission._waiting)):  # type: ignore[misc]  # an OrderedDict
        items = values = counting

    admission._waiting = Queue(admission._waiting)
    for _ in range(10):
        with pytest.raises(CallError, match="100 calls wait already"):
            await admission(a_call(), handler)
    assert looked == 0
    handler.gate.set()
    await asyncio.gather(*calls)


async def test_what_never_ran_says_so() -> None:
    admission, handler = Admission(1, 1), Handler()
    first = asyncio.create_task(admission(a_call(), handler))
    late = asyncio.create_task(admission(a_call(-1), handler))
    await turns()
    handler.gate.set()
    await first
    with pytest.raises(CallError) as caught:
        await late
    assert (caught.value.code, caught.value.started) == (Code.DEADLINE_EXCEEDED, False)


async def test_a_task_that_outlives_its_handler_is_let_in_like_anybody() -> None:
    admission, handler = Admission(1, 0), Handler()
    served = a_call()
    served.ended = True
    token = running.set(served)
    first = asyncio.create_task(admission(a_call(), handler))
    await turns()
    with pytest.raises(CallError) as caught:
        await admission(a_call(), handler)
    assert caught.value.code is Code.RESOURCE_EXHAUSTED
    running.reset(token)
    handler.gate.set()
    await first
