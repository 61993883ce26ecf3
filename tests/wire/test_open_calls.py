"""The calls of one connection that are not answered yet."""

from typing import Any

from splnode.limits import Limits
from splnode.wire.events import Request
from splnode.wire.open_calls import OpenCalls


def a_request(serial: int) -> Request:
    call: Any = None  # nothing here asks what is called
    return Request(serial, call, {}, {}, False, b"")


def test_counts_and_remembers_serials_of_clients_that_cancel() -> None:
    calls = OpenCalls(Limits())
    before, behind = a_request(1), a_request(2)
    calls.add(before)
    calls.serials = set()
    calls.add(behind)
    assert (calls.count, calls.serials) == (2, {2})
    calls.settle(behind)
    calls.settle(before)
    assert (calls.count, calls.serials) == (0, set())
    assert not before.open
    assert not behind.open


def test_full_of_weight() -> None:
    calls = OpenCalls(Limits(message_bytes=1000, connection_bytes=4000))
    heavy = [a_request(serial) for serial in range(5)]
    for request in heavy:
        assert not calls.full
        calls.add(request, 900)
    assert calls.full
    calls.add(a_request(9))
    assert calls.full
    calls.settle(heavy[0])
    assert not calls.full
