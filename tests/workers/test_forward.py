import asyncio

import pytest

from splnode.errors import CallError, Code, DeclaredError
from splnode.rpc.client import Client
from splnode.rpc.server import Server
from splnode.workers.forward import Forward
from tests.rpc.conftest import PROTOCOL, Inventory
from tests.workers.conftest import Link


@pytest.fixture
def owner() -> Inventory:
    return Inventory()


@pytest.fixture
async def client(link: Link, owner: Inventory) -> Client:
    """A caller of a worker that passes everything on to `owner`."""
    return Client(Server(PROTOCOL, Forward(await link(PROTOCOL, owner))), PROTOCOL)


async def test_values_and_declared_errors_pass(client: Client) -> None:
    assert await client.add(1, 2) == 3
    assert (await client.reserve(item={"sku": "A", "count": 1, "tags": []}))["tags"] == ["reserved"]
    with pytest.raises(DeclaredError) as caught:
        await client.reserve(item={"sku": "A", "count": 99, "tags": []})
    assert caught.value.value == {"sku": "A", "left": 10}


async def test_errors_keep_what_they_say(client: Client) -> None:
    with pytest.raises(CallError) as caught:
        await client.fail("code")
    assert (caught.value.code, caught.value.message, caught.value.retry_after) == (Code.NOT_FOUND, "no such thing", 1.5)
    with pytest.raises(CallError) as caught:
        await client.fail("exception")
    assert caught.value.code is Code.INTERNAL
    assert "s3cret" not in str(caught.value)


async def test_metadata_and_the_deadline_go_with_it(client: Client) -> None:
    seen = await client.call("seen", metadata={"traceparent": b"00-1", "own": b"x"})
    assert isinstance(seen, dict)
    assert {key: seen[key] for key in ("traceparent", "own")} == {"traceparent": b"00-1", "own": b"x"}
    left = await client.call("remaining", timeout=5)
    assert isinstance(left, float)
    assert 0 < left <= 5


async def test_cancelling_reaches_the_owner(client: Client, owner: Inventory) -> None:
    call = asyncio.create_task(client.call("wait", {"name": "a"}))
    await owner.began.wait()
    call.cancel()
    async with asyncio.timeout(20):
        await owner.cancelled.wait()


async def test_one_way(client: Client, owner: Inventory) -> None:
    await client.tell("hello")
    async with asyncio.timeout(20):
        await owner.heard.wait()


async def test_some_messages_may_be_answered_here(link: Link, owner: Inventory) -> None:
    closed = asyncio.Event()

    async def close() -> None:
        closed.set()

    here = Forward(await link(PROTOCOL, owner), {"add": lambda a, b: a * b}, close)
    server = Server(PROTOCOL, here)
    client = Client(server, PROTOCOL)
    assert await client.add(3, 4) == 12
    assert await client.echo("there") == "there"
    await server.close()
    assert closed.is_set()
