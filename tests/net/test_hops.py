"""A handler that calls another node: what it inherits from the call it serves, and what it passes on."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

import splnode
from splnode.errors import CallError, Code
from splnode.rpc.call import current_call
from splnode.rpc.client import Client
from tests.rpc.conftest import PROTOCOL, Inventory


class Front(Inventory):
    """Passes `wait`, `remaining` and `seen` on to the node behind it."""

    def __init__(self, behind: Client) -> None:
        super().__init__()
        self.behind = behind

    async def wait(self, name: str) -> str:
        try:
            return str(await self.behind.call("wait", {"name": name}, timeout=20))
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def remaining(self) -> float:  # type: ignore[override]  # async where the other is not
        return float(await self.behind.call("remaining", timeout=20))  # type: ignore[arg-type]  # a double

    async def seen(self) -> dict[str, bytes]:
        current_call().answer_metadata = {}
        return dict(await self.behind.call("seen"))  # type: ignore[call-overload]  # a map


@dataclass
class Chain:
    client: Client
    front: Front
    back: Inventory


@pytest.fixture
async def chain() -> AsyncIterator[Chain]:
    back = Inventory()
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: back}) as far:
        async with splnode.connect(far.endpoints[0], PROTOCOL) as behind:
            front = Front(behind)
            async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: front}) as near:
                async with splnode.connect(near.endpoints[0], PROTOCOL) as client:
                    yield Chain(client, front, back)


async def test_the_smaller_deadline_wins_two_hops_away(chain: Chain) -> None:
    left = await chain.client.call("remaining", timeout=9)
    assert isinstance(left, float)
    assert 3 < left <= 9


async def test_at_the_deadline_every_handler_of_the_chain_is_cancelled(chain: Chain) -> None:
    for timeout in (0.3, 3.0, 15.0):  # a busy machine may need longer to get to the end of the chain
        with pytest.raises(CallError) as caught:
            await chain.client.call("wait", {"name": "x"}, timeout=timeout)
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        if chain.back.began.is_set():
            break
    await asyncio.wait_for(chain.back.cancelled.wait(), 20)


async def test_cancelling_goes_all_the_way(chain: Chain) -> None:
    call = asyncio.create_task(chain.client.call("wait", {"name": "x"}))
    await asyncio.wait_for(chain.back.began.wait(), 20)
    call.cancel()
    await asyncio.wait_for(chain.front.cancelled.wait(), 20)
    await asyncio.wait_for(chain.back.cancelled.wait(), 20)
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_client_that_dies_ends_the_whole_chain(chain: Chain) -> None:
    call = asyncio.create_task(chain.client.call("wait", {"name": "x"}))
    await asyncio.wait_for(chain.back.began.wait(), 20)
    channel = chain.client._proceed.__self__  # type: ignore[attr-defined]  # the channel behind the client
    channel._connection._transport.abort()
    await asyncio.wait_for(chain.back.cancelled.wait(), 20)
    with pytest.raises(CallError, match="the call may have run"):
        await call


async def test_the_trace_travels_on_and_secrets_do_not(chain: Chain) -> None:
    call = chain.client.prepare("seen", metadata={"traceparent": b"00-abc", "authorization": b"secret"})
    assert await chain.client.send(call) == {"traceparent": b"00-abc"}
