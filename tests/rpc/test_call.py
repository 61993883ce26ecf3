import time

import pytest

from splnode.rpc.call import Call, Peer, current_call, deadline, deadline_for, inherited_metadata, running
from splnode.wire.message import Contract
from tests.rpc.conftest import PROTOCOL

CONTRACT = Contract(PROTOCOL)


def serving(seconds: float, metadata: dict[str, bytes] | None = None) -> Call:
    return Call(CONTRACT, PROTOCOL.messages["add"], {}, time.monotonic() + seconds, metadata or {})


def test_current_call_is_for_handlers() -> None:
    with pytest.raises(LookupError, match="for handlers"):
        current_call()
    call = serving(1)
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
        token = running.set(serving(3))
        assert deadline_for(30) == 1003
        running.reset(token)
    assert deadline_for(30) == 1030


def test_a_handlers_calls_carry_its_trace_and_nothing_else() -> None:
    assert inherited_metadata(None) == {}
    token = running.set(serving(1, {"traceparent": b"00-1", "authorization": b"secret"}))
    assert inherited_metadata(None) == {"traceparent": b"00-1"}
    assert inherited_metadata({"traceparent": b"own", "k": b"v"}) == {"traceparent": b"own", "k": b"v"}
    running.reset(token)


def test_a_call_says_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    call = serving(2)
    assert call.name == "com.acme.Inventory.add"
    assert call.protocol is PROTOCOL
    assert call.remaining == 2
    assert "com.acme.Inventory.add" in str(call.expired())
    assert str(Peer("tcp://1.2.3.4:5")) == "tcp://1.2.3.4:5"
    assert str(Peer("unix", 1000)) == "unix (uid 1000)"
