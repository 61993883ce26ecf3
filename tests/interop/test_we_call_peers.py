"""splnode's client calls stock servers of other implementations."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import splnode
from splnode.avro.protocol import Protocol
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code, DeclaredError
from splnode.rpc.client import Client
from tests.interop.peer import PROTOCOLS, Peer
from tests.interop.service import DEPOT, NEWER, OLDER, WEATHER, OutOfStock, Refused
from tests.interop.test_peers_call_us import ITEM


class Way(NamedTuple):
    """A peer that serves, how it listens, and what that server can do."""

    peer: str
    transport: str
    endpoint: str
    metadata: bool = True
    texts: bool = True  # it says what went wrong in a handler
    strict: bool = False  # it refuses clients with a message that it does not have

    def __str__(self) -> str:
        return f"{self.peer}-{self.transport}"


WAYS = [
    Way("avsc", "netty", "tcp://127.0.0.1:{port}", strict=True),
    Way("avsc", "netty-unix", "unix://{path}", strict=True),
    Way("avsc", "http", "http+avro://127.0.0.1:{port}/any/path", strict=True),
    Way("java", "netty", "tcp://127.0.0.1:{port}"),
    Way("java", "sasl", "tcp://127.0.0.1:{port}?framing=sasl"),
    Way("java", "socket", "tcp://127.0.0.1:{port}?framing=spec"),
    Way("java", "http", "http+avro://127.0.0.1:{port}/"),
    Way("python_avro", "http", "http+avro://127.0.0.1:{port}/", metadata=False),
]


class Callee:
    """A peer that serves a Depot, and clients of it."""

    def __init__(self, way: Way, peer: Peer, endpoint: str) -> None:
        self.way = way
        self.peer = peer
        self.endpoint = endpoint
        self.errors = (OutOfStock, Refused)

    def connect(self, protocol: Protocol = DEPOT) -> Any:
        return splnode.connect(self.endpoint, protocol, timeout=20, errors=self.errors)


@pytest.fixture(params=WAYS, ids=str)
async def callee(
    request: pytest.FixtureRequest, peer_named: Callable[[str], Peer], tmp_path: Path
) -> AsyncIterator[Callee]:
    way: Way = request.param
    peer, path = peer_named(way.peer), str(tmp_path / "p")
    where = {"path": path} if way.transport.endswith("-unix") else {}
    transport = way.transport.removesuffix("-unix")
    answer = await peer.ask("serve", transport=transport, protocol=str(PROTOCOLS / "depot.avpr"), **where)
    yield Callee(way, peer, way.endpoint.format(port=answer["port"], path=path))
    await peer.ask("stop", on=answer["ok"])


async def test_every_type_goes_there_and_back(callee: Callee) -> None:
    async with callee.connect() as client:
        assert await client.reserve(item=ITEM) == ITEM | {"labels": ["heavy", "grün", "reserved"]}
        assert await client.add(a=2**40, b=-(2**33)) == 2**40 - 2**33
        assert await client.add(a=2) == 42


async def test_metadata_both_ways(callee: Callee) -> None:
    async with callee.connect() as client:
        call = client.prepare("seen", metadata={"x-trace": b"abc\0\xff"})
        value = await client.send(call)
    if not callee.way.metadata:
        assert value == {}
        return
    assert isinstance(value, dict)
    assert {key: each for key, each in value.items() if not key.startswith("spl-")} == {"x-trace": b"abc\0\xff"}
    assert 0 < int(value["spl-timeout-ms"]) <= 20000
    assert call.answer_metadata["answered"] == b"yes"


async def test_declared_errors(callee: Callee) -> None:
    async with callee.connect() as client:
        with pytest.raises(OutOfStock) as out:
            await client.reserve(item=ITEM | {"count": 11})
        assert out.value.value == {"sku": "A1", "left": 10}
        with pytest.raises(Refused) as refused:
            await client.reserve(item=ITEM | {"count": 13})
        assert refused.value.reason == "thirteen"
        assert await client.add(a=1, b=2) == 3


async def test_a_system_error(callee: Callee) -> None:
    async with callee.connect() as client:
        with pytest.raises(CallError) as caught:
            await client.fail(how="because")
        assert (caught.value.code, caught.value.remote) == (Code.UNKNOWN, True)
        assert not callee.way.texts or "because" in caught.value.message
        assert await client.add(a=1, b=2) == 3


async def test_a_one_way_message(callee: Callee) -> None:
    async with callee.connect() as client:
        for text in ("first", "second", "third"):
            await client.tell(text=text)
            assert (await callee.peer.event())["text"] == text
        assert await client.add(a=1, b=2) == 3


async def test_our_client_is_older(callee: Callee) -> None:
    async with callee.connect(OLDER) as client:
        item = {"sku": "A1", "labels": [], "note": "old"}
        assert await client.reserve(item=item) == item | {"labels": ["reserved"]}
        assert await client.add(a=2) == 42


async def test_our_client_is_newer(callee: Callee) -> None:
    item = {"weight": 1.0, "grade": "WORN", "sku": "B2", "count": 3, "labels": [], "remark": "new", "parts": []}
    async with callee.connect(NEWER) as client:
        back = await client.reserve(item=item)
        assert back == item | {"weight": 2.5, "remark": "second shelf", "labels": ["reserved"]}
        assert await client.add(a=2, b=5) == 7.0
        with pytest.raises(OutOfStock) as caught:
            await client.reserve(item=item | {"count": 11})
        assert caught.value.value == {"hint": "try again", "left": 10, "sku": "B2"}


async def test_a_message_that_the_server_does_not_have(callee: Callee) -> None:
    """avsc refuses a client as a whole; with others the other messages work."""
    text = DEPOT.text.replace('"seen":', '"burn": {"request": [], "response": "null"}, "seen":')
    if callee.way.strict:
        with pytest.raises(CallError) as refused:
            async with callee.connect(Protocol.parse(text)) as client:
                await client.burn()
        assert refused.value.code in (Code.FAILED_PRECONDITION, Code.UNIMPLEMENTED)
        assert not refused.value.started
        return
    async with callee.connect(Protocol.parse(text)) as client:
        with pytest.raises(CallError) as caught:
            await client.burn()
        assert caught.value.code is Code.UNIMPLEMENTED
        assert await client.add(a=1, b=2) == 3


async def test_another_protocol_than_the_server_speaks(callee: Callee) -> None:
    with pytest.raises(CallError) as caught:
        async with callee.connect(WEATHER) as client:
            await client.forecast(place="Bern")
    assert "Depot" in caught.value.message


async def test_a_large_message(callee: Callee) -> None:
    data = bytes(range(256)) * 1200
    async with callee.connect() as client:
        assert await client.blob(data=data) == data


async def test_a_hundred_calls_at_a_time(callee: Callee) -> None:
    async with callee.connect() as client:
        answers = await asyncio.gather(*(client.add(a=i, b=1) for i in range(100)))
    assert answers == [i + 1 for i in range(100)]


async def test_discovery(callee: Callee) -> None:
    found = await splnode.discover(Endpoint.parse(callee.endpoint), "com.acme.Depot")
    assert found.name == "com.acme.Depot"
    assert set(found.messages) == set(DEPOT.messages)
    async with callee.connect(found) as client:
        assert isinstance(client, Client)
        assert await client.call("add", {"a": 1, "b": 2}) == 3


async def test_errors_without_a_class_of_ours(callee: Callee) -> None:
    async with splnode.connect(callee.endpoint, DEPOT, timeout=20) as client:
        with pytest.raises(DeclaredError) as caught:
            await client.reserve(item=ITEM | {"count": 11})
    assert (caught.value.schema_name, caught.value.sku) == ("com.acme.OutOfStock", "A1")
