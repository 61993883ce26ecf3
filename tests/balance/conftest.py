"""A service on nodes that are only pretended: what they answer is scripted, and nothing goes over a network."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from splnode.avro.protocol import Protocol
from splnode.balance.balancer import Balancer
from splnode.config import BalanceConfig, EjectionConfig, RetryConfig
from splnode.discovery.resolver import Address, Board, Instance, Service
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code
from splnode.net.channel import State
from splnode.rpc.call import Call
from splnode.rpc.route import ANY, Route
from splnode.wire.message import Contract

PROTOCOL = Protocol.parse(
    """{"protocol": "Shop", "namespace": "com.acme", "types": [], "messages": {
        "buy": {"request": [{"name": "sku", "type": "string"}], "response": "string"},
        "look": {"request": [{"name": "sku", "type": "string"}], "response": "string", "idempotent": true},
        "keep": {"request": [{"name": "sku", "type": "string"}], "response": "string", "sticky": "sku"}}}"""
)
Answer = Callable[[Call], Any]


def lost(_call: Call) -> Any:
    """The connection went in the middle of the call."""
    raise CallError(Code.UNAVAILABLE, "connection lost; the call may have run")


def stopping(_call: Call) -> Any:
    raise CallError(Code.UNAVAILABLE, "node is stopping", remote=True, started=False)


def fails(code: Code, **more: Any) -> Answer:
    def answer(_call: Call) -> Any:
        raise CallError(code, f"it is {code.name}", remote=True, **more)

    return answer


class FakeLine:
    """A Channel to one endpoint of a pretended node."""

    def __init__(self, node: "FakeNode", changed: Callable[[], None]) -> None:
        self.node = node
        self.changed = changed
        self.state = State.IDLE
        self.last_error = ""
        self.server: Protocol | None = None
        self.forgotten = 0
        self.closed = False
        self.aborted = ""

    async def call(self, call: Call) -> object:
        if self.state is not State.READY:
            await self.connect()
        self.node.calls.append(call)
        result = self.node.answer(call)
        return await result if asyncio.iscoroutine(result) else result

    async def connect(self) -> None:
        if not self.node.reachable:
            self.lose("connection refused", State.TRANSIENT_FAILURE)
            raise CallError(Code.UNAVAILABLE, self.last_error, started=False)
        self.state, self.last_error = State.READY, ""
        self.changed()

    def lose(self, error: str, state: State = State.IDLE) -> None:
        self.state, self.last_error = state, error
        self.changed()

    async def ping(self, timeout: float, metadata: Mapping[str, bytes] | None = None) -> Mapping[str, bytes]:
        self.node.pinged.set()
        self.node.asked = metadata
        if not self.node.answers_pings:
            raise CallError(Code.DEADLINE_EXCEEDED, f"no answer within {timeout} s")
        return self.node.tells if metadata else {}

    def forget(self) -> None:
        self.forgotten += 1

    def abort(self, reason: str) -> None:
        self.aborted = reason
        self.lose(reason)

    async def close(self) -> None:
        self.closed = True
        self.state = State.SHUTDOWN


class FakeNode:
    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.endpoint = Endpoint.parse(f"tcp://10.0.0.{number}:9090")
        self.reachable = self.answers_pings = True
        self.answer: Answer = lambda _call: name
        self.calls: list[Call] = []
        self.lines: list[FakeLine] = []
        self.pinged = asyncio.Event()
        self.asked: Mapping[str, bytes] | None = None
        self.tells: Mapping[str, bytes] = {}

    def instance(self, **more: Any) -> Instance:
        more = {"services": (Service("com.acme.Shop", wire=self.name.encode() * 8),), "epoch": 1} | more
        return Instance((Address(self.endpoint, "static"),), node=self.name, **more)


class Mesh:
    """Pretended nodes, a Board that announces them, and the Balancer that is tested."""

    def __init__(self, **settings: Any) -> None:
        self.board = Board()
        self.nodes: dict[str, FakeNode] = {}
        self.misfits: dict[tuple[str, str], str] = {}
        balance = BalanceConfig(**{"patience": 0.2, "probe_interval": 0.02, "probe_timeout": 0.01} | settings)
        self.contract = Contract(PROTOCOL)
        self.balancer = Balancer(
            self.contract,
            self.board,
            self.dial,
            misfit=lambda instance, _contract, message: self.misfits.get((instance.node, message), ""),
            balance=balance,
            ejection=EjectionConfig(first=0.1, jitter=0),
            retry=RetryConfig(first=0.001, jitter=0),
        )

    def dial(self, endpoint: Endpoint, changed: Callable[[], None]) -> FakeLine:
        node = next(node for node in self.nodes.values() if node.endpoint == endpoint)
        line = FakeLine(node, changed)
        node.lines.append(line)
        return line

    def add(self, *names: str) -> list[FakeNode]:
        for name in names:
            self.nodes[name] = FakeNode(name, len(self.nodes) + 1)
        self.announce()
        return [self.nodes[name] for name in names]

    def announce(self, **more: Any) -> None:
        self.board.post(node.instance(**more) for node in self.nodes.values())

    def call(self, message: str = "buy", timeout: float = 5.0, route: Route = ANY, sku: str = "A1") -> Call:
        found = PROTOCOL.messages[message]
        return Call(self.contract, found, {"sku": sku}, time.monotonic() + timeout, route=route)

    async def ask(self, message: str = "buy", **more: Any) -> object:
        return await self.balancer.call(self.call(message, **more))

    async def settled(self) -> None:
        """Returns when all nodes that can be reached are connected."""
        await self.balancer.call(self.call())
        while not all(m.connected for m in self.balancer.pool.members if self.nodes[m.name].reachable):
            await asyncio.wait_for(self.balancer.pool.changed.wait(), 2)
        for node in self.nodes.values():
            node.calls.clear()


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    made = Mesh()
    yield made
    await made.balancer.close()
    assert all(line.closed for node in made.nodes.values() for line in node.lines)
