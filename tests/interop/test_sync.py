"""The client that blocks calls stock servers of other implementations, in every framing that they have."""

import asyncio

import pytest

import splnode.sync
from splnode.errors import CallError, Code
from tests.interop.service import DEPOT, OLDER, OutOfStock, Refused
from tests.interop.test_peers_call_us import ITEM
from tests.interop.test_we_call_peers import Callee, callee

__all__ = ["callee"]  # a fixture


def talk(endpoint: str) -> None:
    """All that a call can be: it blocks, so in a thread."""
    with splnode.sync.connect(endpoint, DEPOT, timeout=20, errors=(OutOfStock, Refused)) as client:
        for _ in range(2):
            assert client.reserve(item=ITEM) == ITEM | {"labels": ["heavy", "grün", "reserved"]}
            assert client.add(a=2**40, b=-(2**33)) == 2**40 - 2**33
            assert client.add(a=2) == 42
            with pytest.raises(OutOfStock) as out:
                client.reserve(item=ITEM | {"count": 11})
            assert out.value.value == {"sku": "A1", "left": 10}
            with pytest.raises(CallError) as failed:
                client.fail(how="because")
            assert (failed.value.code, failed.value.remote) == (Code.UNKNOWN, True)
        client.tell(text="one-way")
        assert client.add(a=1, b=2) == 3
    with splnode.sync.connect(endpoint, OLDER, timeout=20) as client:
        item = {"sku": "A1", "labels": [], "note": "old"}
        assert client.reserve(item=item) == item | {"labels": ["reserved"]}


async def test_we_call_peers_without_a_loop(callee: Callee) -> None:
    await asyncio.to_thread(talk, callee.endpoint)
    assert (await callee.peer.event())["text"] == "one-way"
