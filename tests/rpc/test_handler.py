"""What becomes of a call once its handler was called."""

import asyncio

import pytest

from splnode.errors import CallError, Code, DeclaredError
from splnode.rpc.admission import Admission
from splnode.rpc.call import Call
from splnode.rpc.handler import Inline, counted, tell
from splnode.rpc.tally import Tally
from splnode.wire.message import Contract
from tests.rpc.conftest import PROTOCOL


def a_call(*, begun: bool = True) -> Call:
    call = Call(Contract(PROTOCOL), PROTOCOL.messages["add"], {}, 0.0)
    call.begun = begun
    return call


def inline(admission: Admission | None = None) -> Inline:
    gate = None if admission is None else admission.places
    return Inline(lambda a, b: a + b, ("a", "b"), ("a", "b"), gate, Tally())


def test_what_may_be_told() -> None:
    call = a_call()
    mine, declared, exits = CallError(Code.NOT_FOUND, "x"), DeclaredError(), KeyboardInterrupt()
    for error in (mine, declared, exits):
        assert tell(call, error, asked=False) is error
    for error in (
        ValueError("s3cret"),
        SystemExit(3),
        BaseException("s3cret"),
        CallError(Code.NOT_FOUND, "s3cret", remote=True),
    ):
        told = tell(call, error, asked=False)
        assert isinstance(told, CallError)
        assert told.code is Code.INTERNAL
        assert "s3cret" not in str(told)
    late = tell(call, CallError(Code.DEADLINE_EXCEEDED, "elsewhere", remote=True), asked=False)
    assert isinstance(late, CallError)
    assert (late.code, late.remote) == (Code.DEADLINE_EXCEEDED, False)


def test_a_circle_is_told_at_each_node_in_its_own_words() -> None:
    told = tell(a_call(), CallError(Code.FAILED_PRECONDITION, "s3cret", remote=True, hops=16), asked=False)
    assert isinstance(told, CallError)
    assert (told.code, told.remote, told.hops) == (Code.FAILED_PRECONDITION, False, 16)
    assert "Inventory.add: nodes call one another in a circle" in str(told)
    assert "16 hops" in str(told)
    assert "s3cret" not in str(told)


@pytest.mark.parametrize("begun", [True, False])
def test_what_comes_out_of_a_handler_was_started(begun: bool) -> None:
    told = tell(a_call(begun=begun), CallError(Code.UNAVAILABLE, "x", started=False), asked=False)
    assert isinstance(told, CallError)
    assert told.started is begun


def test_a_cancelling_that_nobody_asked_for_is_a_fault() -> None:
    error = asyncio.CancelledError()
    assert tell(a_call(), error, asked=True) is error
    told = tell(a_call(), error, asked=False)
    assert isinstance(told, CallError)
    assert told.code is Code.INTERNAL


async def test_counted() -> None:
    tally, call = Tally(), a_call()

    async def fails(_: Call) -> None:
        assert tally.in_flight == 1
        raise ValueError

    async def works(_: Call) -> int:
        return 5

    assert await counted(call, tally, works) == 5
    with pytest.raises(CallError):
        await counted(call, tally, fails)
    assert (tally.calls, tally.in_flight, tally.failures) == (2, 0, {"INTERNAL": 1})


async def test_what_is_awaited_keeps_its_place() -> None:
    admission, call = Admission(running=1), a_call()
    handler, ready = inline(admission), asyncio.get_running_loop().create_future()
    work = asyncio.ensure_future(handler.finish(call, ready))
    await asyncio.sleep(0)
    assert (admission.running, handler.tally.in_flight) == (1, 1)
    assert not call.ended
    ready.set_result(7)
    assert await work == 7
    assert call.ended
    assert (admission.running, handler.tally.calls) == (0, 1)


def test_a_copy_is_withdrawn_alone() -> None:
    one = inline()
    other = one.copy()
    other.withdrawn = True
    assert not one.withdrawn
    assert other.counts is one.counts
    assert other.ended(a_call(), None, 0.0) is None
    assert one.tally.calls == 1
