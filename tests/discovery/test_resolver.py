import asyncio
import json
from pathlib import Path

import pytest

from splnode.avro.protocol import Protocol
from splnode.config import Config, NodeConfig, load
from splnode.discovery.resolver import ALL, Address, Board, Instance, Service, serving
from splnode.endpoint import Endpoint
from splnode.node import Node

A, B = Endpoint("tcp", "10.0.0.1", 1), Endpoint("tcp", "10.0.0.2", 1)


def instance(*endpoints: Endpoint, source: str = "static", **others: object) -> Instance:
    return Instance(tuple(Address(each, source) for each in endpoints), **others)  # type: ignore[arg-type]  # a test's own


def test_an_instance_is_plain_data() -> None:
    one = Instance((Address(A, "mdns"), Address(A, "file"), Address(B, "file")), "n", 1, (Service("a.B"),))
    again = Instance((Address(A, "mdns"), Address(A, "file"), Address(B, "file")), "n", 1, (Service("a.B"),))
    assert one == again and hash(one) == hash(again)
    assert one.endpoints == (A, B)
    assert one.sources == ("mdns", "file")
    assert one.service("a.B") == Service("a.B")
    assert one.service("a.C") is None
    with pytest.raises(AttributeError):
        one.node = "other"  # type: ignore[misc]  # that is the test


def test_who_may_serve() -> None:
    told, silent = instance(A, services=(Service("a.B"),)), instance(B)
    every = frozenset({told, silent})
    assert serving(every, "a.B") == every
    assert serving(every, "a.C") == {silent}
    assert serving(every, ALL) == every


async def test_a_board_gives_whole_sets_and_only_those_that_changed() -> None:
    board = Board()
    seen: list[int] = []

    async def follow(service: str) -> None:
        async for found in board.watch(service):
            seen.append(len(found))

    watching = asyncio.ensure_future(follow("a.B"))
    await asyncio.sleep(0)
    assert board.post([instance(A)])
    await asyncio.sleep(0)
    assert not board.post([instance(A)])
    board.post([instance(A), instance(B, services=(Service("a.C"),))])  # not of this service
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert seen == [0, 1]
    board.post([])
    await asyncio.sleep(0)
    assert seen == [0, 1, 0]
    board.close()
    await asyncio.wait_for(watching, 20)


async def test_what_is_posted_while_a_watcher_is_busy_is_not_lost() -> None:
    board = Board()
    sets = board.watch()
    assert await anext(sets) == frozenset()
    board.post([instance(A)])
    board.post([instance(A), instance(B)])
    assert len(await asyncio.wait_for(anext(sets), 20)) == 2


FOLDER = """
import asyncio
import json
import os
from pathlib import Path

from splnode.discovery.resolver import Address, Instance, Service
from splnode.endpoint import Endpoint


class Folder:
    name = "folder"

    def __init__(self):
        self.path = Path(os.environ["TEST_FOLDER"])
        self.own = None

    async def announce(self, instance):
        endpoint = next(str(each) for each in instance.endpoints if each.scheme == "tcp")
        services = [each.name for each in instance.services]
        self.own = self.path / f"{instance.node}.json"
        self.own.write_text(json.dumps([endpoint, instance.node, instance.epoch, services, instance.state]))

    async def withdraw(self):
        self.own.unlink()

    async def watch(self, service=""):
        while True:
            yield frozenset(map(self._read, self.path.glob("*.json")))
            await asyncio.sleep(0.01)

    def _read(self, file):
        endpoint, node, epoch, services, state = json.loads(file.read_text())
        address = Address(Endpoint.parse(endpoint), self.name)
        return Instance((address,), node, epoch, tuple(map(Service, services)), state)
"""
"""A registry that is a folder with a file for each node: all that it takes for one that is Consul, or etcd."""


class Echo:
    def say(self, text: str) -> str:
        return text


SAY = {"say": {"request": [{"name": "text", "type": "string"}], "response": "string", "idempotent": True}}
ECHO = Protocol.parse(json.dumps({"protocol": "test.Echo", "types": [], "messages": SAY}))


async def test_a_new_way_to_find_nodes_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "consul.py").write_text(FOLDER)
    folder = tmp_path / "registered"
    folder.mkdir()
    monkeypatch.setenv("TEST_FOLDER", str(folder))

    def node(name: str) -> Node:
        text = f"""
            [node]
            id = "{name}"
            directory = "{name}"
            listen = ["tcp://127.0.0.1:0"]
            drain_seconds = 0
            [discovery]
            mdns = "off"
            resolvers = ["consul.py:Folder"]
        """
        file = tmp_path / f"{name}.toml"
        file.write_text(text)
        return Node(load(file))

    async with asyncio.timeout(20), node("one") as one:
        async with node("two") as two:
            two.serve(ECHO, Echo())
            assert await one.client(ECHO).say(text="found") == "found"
            (found,) = (each for each in one.mesh.roster.present if each.node == "two")
            assert found.sources == ("folder",)
            assert sorted(each.name for each in folder.iterdir()) == ["one.json", "two.json"]
        assert [each.name for each in folder.iterdir()] == ["one.json"]
        async for present in one.mesh.roster.watch():
            if not present:
                break


async def test_so_is_one_that_a_program_brings(tmp_path: Path) -> None:
    there = Board()
    there.name = "mine"  # type: ignore[attr-defined]  # that makes it a Resolver
    plain = NodeConfig(directory=str(tmp_path / "one"), listen=("tcp://127.0.0.1:0",), drain_seconds=0)
    other = NodeConfig(directory=str(tmp_path / "two"), listen=("tcp://127.0.0.1:0",), drain_seconds=0)
    async with (
        asyncio.timeout(20),
        Node(Config(node=plain), resolvers=[there]) as one,  # type: ignore[list-item]  # see above
        Node(Config(node=other)) as two,
    ):
        two.serve(ECHO, Echo())
        there.post([Instance((Address(two.endpoints[0], "mine"),))])
        assert await one.client(ECHO).say(text="found") == "found"
