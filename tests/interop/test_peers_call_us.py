"""Stock clients of other implementations call a splnode service."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.interop.peer import PROTOCOLS, Peer, Remote, RemoteFailure
from tests.interop.service import DEPOT, Depot, Served

ITEM: dict[str, Any] = {
    "sku": "A1",
    "count": 3,
    "grade": "USED",
    "tag": b"\xde\xad\xbe\xef",
    "labels": ["heavy", "grün"],
    "prices": {"EUR": 1.5, "USD": -2.25},
    "note": "fragile",
}
PART = {**ITEM, "sku": "A1-1", "note": None, "parts": []}
ITEM["parts"] = [PART, PART]


class Way(NamedTuple):
    """A peer and one of its transports, and what that peer can do."""

    peer: str
    transport: str
    metadata: bool = True
    pings: bool = True
    aliases: bool = True
    one_way: bool = True  # False: it waits for an answer even so

    def __str__(self) -> str:
        return f"{self.peer}-{self.transport}"


WAYS = [
    Way("avsc", "netty"),
    Way("avsc", "netty-unix"),
    Way("avsc", "function"),
    Way("avsc", "function-unix"),
    Way("avsc", "http"),
    Way("java", "netty", pings=False),
    Way("java", "sasl", pings=False),
    Way("java", "socket", pings=False),
    Way("java", "http", pings=False),
    Way("python_avro", "http", metadata=False, pings=False, aliases=False, one_way=False),
]


class Caller:
    """Opens clients of one way to one node."""

    def __init__(self, way: Way, peer: Peer, node: Served) -> None:
        self.way = way
        self.peer = peer
        self.node = node
        self.opened: list[Remote] = []

    @property
    def depot(self) -> Depot:
        return self.node.depot

    async def open(self, protocol: str | Path = "depot") -> Remote:
        """`protocol` is the name of one of ours, or a file."""
        path = PROTOCOLS / f"{protocol}.avpr" if isinstance(protocol, str) else protocol
        answer = await self.peer.ask("open", protocol=str(path), **self.node.where(self.way.transport))
        self.opened.append(Remote(self.peer, answer["ok"]))
        return self.opened[-1]


def add_burn(directory: Path) -> Path:
    """Depot with one more message."""
    path = directory / "burn.avpr"
    path.write_text(DEPOT.text.replace('"seen":', '"burn": {"request": [], "response": "null"}, "seen":'))
    return path


@contextlib.asynccontextmanager
async def calling(way: Way, peer: Peer, node: Served) -> AsyncIterator[Caller]:
    caller = Caller(way, peer, node)
    yield caller
    for remote in caller.opened:
        await remote.ask("close")


@pytest.fixture(params=WAYS, ids=str)
async def caller(
    request: pytest.FixtureRequest, peer_named: Callable[[str], Peer], node: Served, tmp_path: Path
) -> AsyncIterator[Caller]:
    async with calling(request.param, peer_named(request.param.peer), node) as found:
        yield found


async def test_every_type_goes_there_and_back(caller: Caller) -> None:
    client = await caller.open()
    assert await client.call("reserve", {"item": ITEM}) == ITEM | {"labels": ["heavy", "grün", "reserved"]}
    assert caller.depot.reserved == [ITEM]
    assert await client.call("add", {"a": 2**40, "b": -(2**33)}) == 2**40 - 2**33


@pytest.mark.parametrize("caller", [way for way in WAYS if way.pings], ids=str, indirect=True)
async def test_a_ping(caller: Caller) -> None:
    client = await caller.open()
    assert await client.ask("ping") | {"id": 0} == {"id": 0, "value": None}


async def test_metadata_both_ways(caller: Caller) -> None:
    client = await caller.open()
    if not caller.way.metadata:
        assert await client.call("seen", {}) == {}
        return
    value, metadata = await client.full_call("seen", {}, {"x-trace": b"abc\0\xff", "y": b""})
    assert value == {"x-trace": b"abc\0\xff", "y": b""}
    assert metadata["answered"] == b"yes"


async def test_declared_errors(caller: Caller) -> None:
    client = await caller.open()
    with pytest.raises(RemoteFailure) as caught:
        await client.call("reserve", {"item": ITEM | {"count": 11}})
    assert caught.value.declared == {"name": "com.acme.OutOfStock", "fields": {"sku": "A1", "left": 10}}
    with pytest.raises(RemoteFailure) as caught:
        await client.call("reserve", {"item": ITEM | {"count": 13}})
    assert caught.value.declared == {"name": "com.acme.Refused", "fields": {"reason": "thirteen"}}
    assert await client.call("add", {"a": 1, "b": 2}) == 3


async def test_system_errors(caller: Caller) -> None:
    client = await caller.open()
    with pytest.raises(RemoteFailure) as caught:
        await client.call("fail", {"how": "code"})
    assert "no such thing" in (caught.value.system or "")
    if caller.way.metadata:
        assert caught.value.metadata["spl-code"] == b"NOT_FOUND"
    with pytest.raises(RemoteFailure) as caught:
        await client.call("fail", {"how": "s3cret"})
    assert caught.value.system and "s3cret" not in caught.value.system
    assert await client.call("add", {"a": 1, "b": 2}) == 3


async def test_a_one_way_message(caller: Caller) -> None:
    client = await caller.open()
    for text in ("first of its connection", "second", "third"):
        await client.call("tell", {"text": text})
        assert await caller.depot.told.get() == text
    assert await client.call("add", {"a": 1, "b": 2}) == 3


async def test_an_older_client(caller: Caller) -> None:
    client = await caller.open("depot-older")
    item = {"sku": "A1", "labels": [], "note": "old"}
    assert await client.call("reserve", {"item": item}) == item | {"labels": ["reserved"]}
    assert caller.depot.reserved[0]["grade"] == "NEW"
    assert caller.depot.reserved[0]["tag"] == b"\0\1\2\x7f"
    assert await client.call("add", {"a": 2}) == 42


async def test_a_newer_client(caller: Caller) -> None:
    client = await caller.open("depot-newer")
    sent = {"weight": 1.0, "grade": "WORN", "sku": "B2", "count": 3, "labels": [], "remark": "new", "parts": []}
    back = await client.call("reserve", {"item": sent})
    remark = "second shelf" if caller.way.aliases else None
    assert back == sent | {"weight": 2.5, "remark": remark, "labels": ["reserved"]}
    assert caller.depot.reserved[0]["grade"] == "WORN"
    assert await client.call("add", {"a": 2, "b": 5}) == 7
    with pytest.raises(RemoteFailure) as caught:
        await client.call("reserve", {"item": sent | {"count": 11}})
    assert caught.value.declared is not None
    assert caught.value.declared["fields"] == {"hint": "try again", "left": 10, "sku": "B2"}


@pytest.mark.parametrize("caller", [way for way in WAYS if way.peer != "avsc"], ids=str, indirect=True)
async def test_a_message_that_we_do_not_have(caller: Caller, tmp_path: Path) -> None:
    """It fails alone. (avsc refuses such a server by itself, as a whole.)"""
    client = await caller.open(add_burn(tmp_path))
    for _ in range(2):
        assert await client.call("add", {"a": 1, "b": 2}) == 3
        with pytest.raises(RemoteFailure, match="burn"):
            await client.call("burn", {})


async def test_a_message_that_does_not_fit(caller: Caller, tmp_path: Path) -> None:
    """It fails alone, and no handler runs; avsc refuses the server for it."""
    protocol = tmp_path / "unfit.avpr"
    reserve = '"response": "Item", "errors": ["OutOfStock", "Refused"]}'
    text = DEPOT.text.replace(reserve, reserve.replace('"Item"', '"long"', 1))
    protocol.write_text(text)
    client = await caller.open(protocol)
    with pytest.raises(RemoteFailure):
        await client.call("reserve", {"item": ITEM})
    assert caller.depot.reserved == []
    if caller.way.peer != "avsc":
        assert await client.call("add", {"a": 1, "b": 2}) == 3


async def test_a_large_message(caller: Caller) -> None:
    client = await caller.open()
    data = bytes(range(256)) * 1200
    assert await client.call("blob", {"data": data}) == data


async def test_a_hundred_calls_at_a_time(caller: Caller) -> None:
    client = await caller.open()
    answer = await client.ask("burst", message="add", list=[{"a": i, "b": 1} for i in range(100)])
    assert [each["value"] for each in answer["answers"]] == [i + 1 for i in range(100)]


async def test_many_clients_at_a_time(caller: Caller) -> None:
    clients = [await caller.open() for _ in range(8)]
    for i, client in enumerate(clients):
        assert await client.call("add", {"a": i, "b": 1}) == i + 1
