import time
from typing import Any

from splnode.errors import Code
from splnode.identity import LOOPBACK, Identity
from splnode.limits import Limits
from splnode.net.allowance import Allowance
from splnode.net.ledger import Scales
from splnode.net.rates import Rates
from splnode.net.reached import Reached
from splnode.rpc.call import Call, Peer
from splnode.wire.message import Contract
from tests.rpc.conftest import PROTOCOL

PEER = Peer("x", None, Identity(LOOPBACK, (LOOPBACK,), "tcp"))


def a_call(who: Identity | None = None) -> Call:
    contract: Any = Contract(PROTOCOL)
    peer = PEER if who is None else Peer("y", None, who)
    return Call(contract, PROTOCOL.messages["add"], {}, time.monotonic() + 1, {}, peer, True)


def allowance(**limits: float) -> Allowance:
    return Allowance(Scales(100), Rates(Limits(**limits), Reached()), PEER, "10.0.0.1")


def test_large_calls_are_weighed() -> None:
    one = allowance()
    assert one.meter is None
    assert one.refusal(a_call(), 0) is None
    assert one.refusal(a_call(), 80) is None
    error = one.refusal(a_call(), 80)
    assert error is not None
    assert (error.code, error.started) == (Code.RESOURCE_EXHAUSTED, False)
    assert "held_bytes = 50" in error.message
    one.scales.take(80)
    assert one.refusal(a_call(), 80) is None


def test_a_call_counts_for_whom_it_is() -> None:
    one = allowance(calls_per_second=0.001)
    assert one.meter is not None
    assert one.meter.name == "10.0.0.1"
    assert one.refusal(a_call(), 0) is None
    error = one.refusal(a_call(), 50)
    assert error is not None
    assert "10.0.0.1 has sent its calls" in error.message
    assert one.scales.total == 0
    who = Identity("token:a", (), "token")
    assert one.refusal(a_call(who), 0) is None
    error = one.refusal(a_call(who), 0)
    assert error is not None
    assert "token:a has sent its calls" in error.message


def test_answers_that_nobody_reads() -> None:
    error = allowance(connection_bytes=5).unread()
    assert (error.code, error.started) == (Code.RESOURCE_EXHAUSTED, True)
    assert "connection_bytes = 5" in error.message
