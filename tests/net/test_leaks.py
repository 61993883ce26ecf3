"""Nothing is kept of a call or a connection that is over, however it ended."""

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import splnode
from splnode.errors import CallError, DeclaredError, EncodeError
from splnode.rpc.client import Client
from tests.net.conftest import forget_cancelled_timers
from tests.rpc.conftest import PROTOCOL, Inventory

LOOKS = 5
"""How often a machine that is slow is looked at again."""


async def every_way_to_end(client: Client, number: int) -> None:
    """One call: answered, failed, expired, cancelled or never sent."""
    try:
        match number % 6:
            case 0:
                await client.add(1, number)
            case 1:
                await client.fail(how="code")
            case 2:
                await client.reserve(item={"sku": "a", "count": 11})
            case 3:
                await client.call("wait", {"name": str(number)}, timeout=0.003)
            case 4:
                call = asyncio.create_task(client.wait(name=str(number)))
                for _ in range(number % 7):
                    await asyncio.sleep(0)
                call.cancel()
                await call
            case _:
                await client.add("x", 1)
    except (CallError, DeclaredError, EncodeError, asyncio.CancelledError):
        pass


async def grown(work: Callable[[], Awaitable[None]]) -> dict[str, int]:
    """What there is more of after `work` has been done again, and stays."""
    await work()
    before, more = await counted(), {}
    for _ in range(LOOKS):
        await work()
        after = await counted()
        more = {name: count - before[name] for name, count in after.items() if count - before[name] > 20}
        if not more:
            break
        before = after  # some of the work before may not have been over when it was counted: what leaks does so again
    return more


async def counted() -> Counter[str]:
    """What there is, once it has become no less for a while: what was given up is answered meanwhile."""
    await asyncio.sleep(0.02)  # clock: as above
    least = collected()
    for _ in range(LOOKS):
        await asyncio.sleep(0.02)  # clock: as above
        now = collected()
        if now.total() >= least.total() - 20:
            break
        least = now
    return least


def collected() -> Counter[str]:
    forget_cancelled_timers()
    gc.collect()
    return Counter(type(each).__name__ for each in gc.get_objects())


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:0", "unix://{}/s", "http+avro://127.0.0.1:0/"])
async def test_of_calls(endpoint: str, tmp_path: Path) -> None:
    inventory = Inventory()
    async with splnode.listen([endpoint.format(tmp_path)], {PROTOCOL: inventory}) as server:
        async with splnode.connect(server.endpoints[0], PROTOCOL) as client:

            async def work() -> None:
                for start in range(0, 600, 60):
                    await asyncio.gather(*(every_way_to_end(client, start + number) for number in range(60)))
                inventory.waiting.clear()

            assert await grown(work) == {}
        host = server._listener.host
        assert not host._expiry._deadlines


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:0", "unix://{}/s", "http+avro://127.0.0.1:0/"])
async def test_of_connections(endpoint: str, tmp_path: Path) -> None:
    async with splnode.listen([endpoint.format(tmp_path)], {PROTOCOL: Inventory()}) as server:

        async def work() -> None:
            for number in range(100):
                async with splnode.connect(server.endpoints[0], PROTOCOL) as client:
                    if number % 2:
                        await client.add(1, 1)

        def descriptors() -> int:
            return len(list(Path("/proc/self/fd").iterdir()))

        await work()
        before = descriptors()
        assert await grown(work) == {}
        async with asyncio.timeout(20):
            while descriptors() > before:
                await asyncio.sleep(0.01)  # clock: the last of them may be closing still
        host = server._listener.host
        while host.connections:
            await asyncio.sleep(0)
        assert not host.patience._deadlines
