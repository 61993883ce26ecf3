"""Parameters of more values than are read at once."""

import gc
import json

import pytest

from splnode.avro.protocol import Protocol
from splnode.errors import DecodeError, LimitExceeded
from splnode.limits import Limits
from splnode.wire.bulk import BLOCK, Bulk, left_over, unfolding
from splnode.wire.message import QUICK_NODES, Contract, ServerCall
from tests.wire.conftest import long

ITEMS = {"name": "items", "type": {"type": "array", "items": "null"}}
MANY = Protocol.parse(json.dumps({"protocol": "Many", "messages": {"take": {"request": [ITEMS], "response": "null"}}}))


def a_call(limits: Limits) -> ServerCall:
    found = Contract(MANY, limits=limits).serving(MANY).prepare(b"take")
    assert isinstance(found, ServerCall)
    return found


def read(count: int, limits: Limits, behind: bytes = b"") -> Bulk:
    call, body = a_call(limits), long(count) + b"\0" + behind
    with pytest.raises(LimitExceeded) as caught:
        call.decode(body, 0)
    decode = unfolding(caught.value, call)
    assert decode is not None
    bulk = Bulk(decode, body, 0, limits.nodes)
    bulk.run()
    assert gc.isenabled()
    return bulk


def test_read_to_the_limit() -> None:
    bulk = read(QUICK_NODES + 5, Limits())
    assert bulk.error is None
    assert bulk.params == {"items": [None] * (QUICK_NODES + 5)}
    assert bulk.weight >= BLOCK


def test_over_the_limit() -> None:
    bulk = read(QUICK_NODES * 3, Limits(nodes=QUICK_NODES * 2))
    assert isinstance(bulk.error, LimitExceeded)
    assert bulk.error.__traceback__ is None


def test_bytes_behind_them() -> None:
    assert str(read(QUICK_NODES + 5, Limits(), b"\0\0").error) == str(left_over(2))


def test_another_error_is_final() -> None:
    call = a_call(Limits())
    assert unfolding(DecodeError("no"), call) is None
    assert unfolding(LimitExceeded("depth", 1, "too deep"), call) is None
    assert unfolding(LimitExceeded("nodes", 1, "too many"), a_call(Limits(nodes=10))) is None
