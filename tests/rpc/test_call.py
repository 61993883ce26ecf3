import asyncio
import math
import time

import pytest

from splnode.identity import NODE, Identity
from splnode.rpc.call import (
    LONGEST,
    Call,
    Peer,
    as_node,
    current_call,
    deadline,
    deadline_for,
    inherited_metadata,
    outside,
    running,
    serving,
    terms_for,
)
from splnode.wire.message import Contract
from tests.rpc.conftest import PROTOCOL

CONTRACT = Contract(PROTOCOL)


def a_call(seconds: float, metadata: dict[str, bytes] | None = None) -> Call:
    return Call(CONTRACT, PROTOCOL.messages["add"], {}, time.monotonic() + seconds, metadata or {})


def test_current_call_is_for_handlers() -> None:
    with pytest.raises(LookupError, match="for handlers"):
        current_call()
    call = a_call(1)
    token = running.set(call)
    assert current_call() is call
    running.reset(token)


def test_the_nearest_deadline_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    assert deadline_for(30) == 1030
    with deadline(10) as until:
        assert until == 1010
        assert deadline_for(30) == 1010
        assert deadline_for(5) == 1005
        with deadline(20):
            assert deadline_for(30) == 1010
        token = running.set(a_call(3))
        assert deadline_for(30) == 1003
        running.reset(token)
    assert deadline_for(30) == 1030


def test_a_handlers_calls_carry_its_trace_and_hops_and_nothing_else() -> None:
    assert inherited_metadata(None) == {}
    token = running.set(a_call(1, {"traceparent": b"00-1", "spl-hops": b"3", "authorization": b"secret"}))
    passed = {"traceparent": b"00-1", "spl-hops": b"3"}
    assert inherited_metadata(None) == passed
    assert inherited_metadata({"traceparent": b"own", "k": b"v"}) == {**passed, "traceparent": b"own", "k": b"v"}
    running.reset(token)


def test_terms_are_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    assert terms_for(30) == (1030, {})
    assert terms_for(30, {"a": b"1"}) == (1030, {"a": b"1"})
    assert terms_for(1e9) == (1000 + LONGEST, {})
    with deadline(5):
        assert terms_for(30) == (1005, {})
    token = running.set(a_call(10, {"traceparent": b"00-1"}))
    assert terms_for(30, {"a": b"1"}) == (1010, {"traceparent": b"00-1", "a": b"1"})
    running.reset(token)


def test_a_call_says_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    call = a_call(2)
    assert call.name == "com.acme.Inventory.add"
    assert call.protocol is PROTOCOL
    assert call.remaining == 2
    assert "com.acme.Inventory.add" in str(call.expired())
    assert str(Peer("tcp://1.2.3.4:5")) == "tcp://1.2.3.4:5"
    assert str(Peer("unix", 1000)) == "unix (uid 1000)"


@pytest.mark.parametrize("timeout", [math.inf, math.nan, 1e300, LONGEST + 1])
def test_nothing_waits_for_ever(monkeypatch: pytest.MonkeyPatch, timeout: float) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    assert deadline_for(timeout) == 1000 + LONGEST


async def test_async_with_does_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    async with deadline(10) as until:
        assert until == deadline_for(30) == 1010
    assert deadline_for(30) == 1030


async def test_a_call_that_has_ended_binds_nothing_that_it_left_running(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    call = a_call(1, {"traceparent": b"00-1"})
    token = running.set(call)

    async def in_background() -> tuple[object, ...]:
        return serving(), deadline_for(30), dict(inherited_metadata(None)), current_call()

    assert await asyncio.create_task(in_background()) == (call, 1001, {"traceparent": b"00-1"}, call)
    call.ended = True
    assert await asyncio.create_task(in_background()) == (None, 1030, {}, call)
    running.reset(token)
    assert serving() is None


async def test_a_block_that_has_ended_limits_nothing_that_it_left_running(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    go = asyncio.Event()

    async def in_background() -> tuple[float, float]:
        await go.wait()
        with deadline(20):
            return deadline_for(5), deadline_for(30)

    with deadline(3):
        task = asyncio.create_task(in_background())
        await asyncio.sleep(0)
    go.set()
    assert await task == (1005, 1020)


ANN = Identity("uid:7", ("unix",), "unix")


def a_call_of(who: Identity, metadata: dict[str, bytes] | None = None) -> Call:
    return Call(CONTRACT, PROTOCOL.messages["add"], {}, time.monotonic() + 9, metadata or {}, Peer("there", None, who))


def test_a_call_is_for_its_peer() -> None:
    call = a_call_of(ANN)
    assert call.identity is call.peer.identity is ANN
    assert a_call(1).identity is NODE
    assert Peer("somewhere").identity.groups == {"anyone"}


def test_what_a_handler_calls_is_for_whom_it_serves() -> None:
    token = running.set(a_call_of(ANN))
    assert inherited_metadata(None) == {"spl-identity": b"uid:7 anyone unix"}
    assert inherited_metadata({"spl-identity": b"node own", "k": b"v"}) == {"spl-identity": ANN.text, "k": b"v"}
    with as_node():
        assert inherited_metadata(None) == {}
        assert inherited_metadata({"k": b"v"}) == {"k": b"v"}
    assert inherited_metadata(None)
    running.reset(token)


def test_what_a_handler_left_running_is_still_for_whom_it_served_and_nothing_more() -> None:
    call = a_call_of(ANN, {"traceparent": b"00-1"})
    token = running.set(call)
    call.ended = True
    assert inherited_metadata(None) == {"spl-identity": ANN.text}
    with as_node():
        assert inherited_metadata({"k": b"v"}) == {"k": b"v"}
    running.reset(token)


def test_handlers_of_a_server_made_as_the_node_serve_whom_they_serve() -> None:
    with as_node():
        context = outside()
    context.run(running.set, a_call_of(ANN))
    assert context.run(inherited_metadata, None) == {"spl-identity": ANN.text}


def test_an_identity_passes_through_a_call_in_process() -> None:
    token = running.set(a_call_of(ANN))
    nested = a_call(1, dict(inherited_metadata(None)))
    running.reset(token)
    assert nested.peer.identity is NODE
    assert (nested.identity.name, nested.identity.groups) == (ANN.name, ANN.groups)
