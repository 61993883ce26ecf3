"""Two nodes in a thread, of which the second knows the first; another version of a contract on each."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from splnode.avro.protocol import Protocol
from splnode.config import BalanceConfig, Config, DiscoveryConfig, NodeConfig
from splnode.errors import DeclaredError
from splnode.node import Node
from splnode.rpc.call import current_call
from splnode.services import peers

LONG = 30.0
"""Seconds that the nodes are given by each other: they share a thread, and the machine may be busy."""


class Shop:
    def __init__(self, answer: object) -> None:
        self.answer = answer

    def ask(self) -> object:
        return self.answer


def shop(response: str) -> Protocol:
    messages = {"ask": {"request": [], "response": response, "idempotent": True}}
    return Protocol.parse(json.dumps({"protocol": "test.Shop", "version": response, "types": [], "messages": messages}))


class Empty(DeclaredError):
    pass


class Till:
    """What only the first node serves."""

    def __init__(self) -> None:
        self.calls = 0

    def count(self, coins: list[int]) -> int:
        self.calls += 1
        return sum(coins)

    def open(self) -> None:
        raise Empty(since=7)

    def who(self) -> dict[str, str]:
        return {key: value.decode() for key, value in current_call().metadata.items() if key == "who"}

    async def hang(self) -> None:
        await asyncio.Event().wait()


TILL = Protocol.parse(
    """{"protocol": "test.Till", "types": [{"type": "error", "name": "Empty", "fields": [
        {"name": "since", "type": "int"}]}], "messages": {
        "count": {"request": [{"name": "coins", "type": {"type": "array", "items": "long"}}], "response": "long"},
        "open": {"request": [], "response": "null", "errors": ["Empty"]},
        "who": {"request": [], "response": {"type": "map", "values": "string"}, "idempotent": true},
        "hang": {"request": [], "response": "null"}}}"""
)


class Mesh:
    """`one` and `two` are their Unix sockets; `two` has `one` and nobody as its peers."""

    def __init__(self, folder: Path) -> None:
        self.one, self.two = f"unix://{folder}/1", f"unix://{folder}/2"
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._started, self._stop = threading.Event(), asyncio.Event()
        self._nodes: list[Node] = []
        self._thread = threading.Thread(target=self._run, name="mesh")

    def begin(self) -> None:
        self._thread.start()
        assert self._started.wait(20)

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    def change(self) -> None:
        """Something that those who watch are to hear of: the first node serves one protocol more."""
        self._loop.call_soon_threadsafe(self._nodes[0].serve, Protocol.parse('{"protocol": "More"}'), object())

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        async with Node(self._config("one")) as one, Node(self._config("two", self.one, "tcp://127.0.0.1:1")) as two:
            one.serve(shop("string"), Shop("a"))
            one.serve(TILL, Till())
            two.serve(shop("long"), Shop(1))
            self._nodes = [one, two]
            async for found in two.mesh.roster.watch():
                if any(each.service("test.Till") for each in found):
                    break
            self._started.set()
            await self._stop.wait()

    def _config(self, name: str, *peers: str) -> Config:
        endpoint = self.one if name == "one" else self.two
        node = NodeConfig(id=name, directory=str(self._folder / name), listen=(endpoint,), drain_seconds=0.0)
        balance, discovery = BalanceConfig(patience=1.0, probe_timeout=LONG), DiscoveryConfig(peers=peers)
        return msgspec.structs.replace(Config(), node=node, balance=balance, discovery=discovery)


@contextmanager
def running(folder: Path) -> Iterator[Mesh]:
    mesh = Mesh(folder)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ASKING", "REACHING"):
            patch.setattr(peers, name, LONG)
        mesh.begin()
        try:
            yield mesh
        finally:
            mesh.end()
