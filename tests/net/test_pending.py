"""splnode.net.pending: who is told what, and who is forgotten."""

import asyncio
import time

import pytest

from splnode.errors import CallError, Code
from splnode.net.pending import Pending
from splnode.rpc.call import Call
from splnode.wire.events import Response
from splnode.wire.message import Contract
from tests.rpc.conftest import PROTOCOL


def adding(seconds: float = 5) -> Call:
    return Call(Contract(PROTOCOL), PROTOCOL.messages["add"], {"a": 1, "b": 2}, time.monotonic() + seconds)


async def test_each_answer_goes_to_its_call() -> None:
    pending, calls = Pending(lambda _: None), [adding(), adding()]
    answers = [pending.call(serial, call) for serial, call in enumerate(calls)]
    assert len(pending) == 2
    pending.take(Response(1, None, CallError(Code.NOT_FOUND, "gone")))
    pending.take(Response(0, 3, metadata={"k": b"v"}))
    pending.take(Response(7, "nobody asked"))
    assert await answers[0] == 3
    assert calls[0].answer_metadata == {"k": b"v"}
    with pytest.raises(CallError, match="gone"):
        await answers[1]
    assert len(pending) == 0


async def test_who_gives_up_is_forgotten() -> None:
    forgotten: list[int] = []
    pending = Pending(forgotten.append)
    waiting = asyncio.ensure_future(pending.call(4, adding()))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    late = pending.call(5, adding(0.0))
    with pytest.raises(CallError) as expired:
        await late
    assert expired.value.code is Code.DEADLINE_EXCEEDED
    assert forgotten == [4, 5]
    pending.take(Response(4, 3))  # too late, and nobody's


async def test_a_ping_gives_the_metadata_of_its_answer() -> None:
    pending = Pending(lambda _: None)
    answer = pending.ping(1)
    pending.take(Response(1, None, metadata={"spl-load": b"1"}))
    assert await answer == {"spl-load": b"1"}
    pending.unping(1)
    pending.unping(1)
    pending.take(Response(1, None))


async def test_when_the_connection_goes_all_are_told() -> None:
    pending = Pending(lambda _: None)
    call, ping = pending.call(1, adding()), pending.ping(2)
    pending.fail("tcp://h:1: gone")
    with pytest.raises(CallError, match="gone; the call may have run") as failed:
        await call
    assert failed.value.started
    with pytest.raises(CallError, match=r"gone$"):
        await ping
    assert len(pending) == 0
