"""Real nodes on real sockets: the resolver alone is pretended."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

import splnode
from splnode.avro.protocol import Protocol
from splnode.balance import elsewhere
from splnode.balance.elsewhere import Elsewhere, open_elsewhere
from splnode.config import BalanceConfig, Config, EjectionConfig
from splnode.discovery.resolver import Address, Board, Instance
from splnode.discovery.verdicts import Verdicts
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code, EncodeError
from splnode.net.channel import State
from splnode.rpc.admission import Admission
from splnode.rpc.call import Call
from splnode.rpc.client import Client
from splnode.rpc.route import NODE_KEY, Route
from splnode.wire.engine import native_engine
from splnode.wire.message import Contract

PROTOCOL = Protocol.parse(
    """{"protocol": "Where", "types": [], "messages": {
        "am_i": {"request": [{"name": "x", "type": "int"}], "response": "string"},
        "hold": {"request": [], "response": "string"}}}"""
)
NEWER = Protocol.parse(
    """{"protocol": "Where", "types": [], "messages": {
        "am_i": {"request": [{"name": "x", "type": "long"}, {"name": "more", "type": "int", "default": 1}],
                 "response": "string"},
        "hold": {"request": [], "response": "int"}}}"""
)


class Where:
    def __init__(self, name: str) -> None:
        self.name = name
        self.release = asyncio.Event()

    def am_i(self, x: int) -> str:
        return self.name

    async def hold(self) -> str:
        await self.release.wait()
        return self.name


class Newer(Where):
    def am_i(self, x: int, more: int = 1) -> str:
        return self.name

    async def hold(self) -> int:  # type: ignore[override]  # that is what is newer
        return 1


class Hosts:
    def __init__(self) -> None:
        self.board = Board()
        self.stack = contextlib.AsyncExitStack()
        self.up: dict[str, tuple[Instance, contextlib.AsyncExitStack]] = {}
        self.implementations: list[Any] = []
        self.gates: dict[str, Admission] = {}

    async def start(self, name: str, protocol: Protocol = PROTOCOL, implementation: object = None) -> None:
        own = contextlib.AsyncExitStack()
        serves = implementation or Where(name)
        self.implementations.append(serves)
        gate = self.gates[name] = Admission()
        serving = splnode.listen(["tcp://127.0.0.1:0"], {protocol: serves}, admission=gate)
        server = await own.enter_async_context(serving)
        self.up[name] = (instance(name, server.endpoints[0]), own)
        self.post()

    async def stop(self, name: str, *, tell: bool = True) -> None:
        _, own = self.up.pop(name)
        await own.aclose()
        if tell:
            self.post()

    def post(self) -> None:
        self.board.post(each for each, _ in self.up.values())


def instance(name: str, endpoint: Endpoint) -> Instance:
    return Instance((Address(endpoint, "static"),), node=name)


@pytest.fixture
async def hosts() -> AsyncIterator[Hosts]:
    made = Hosts()
    yield made
    for name in list(made.up):
        await made.stop(name)


@pytest.fixture
async def mesh(hosts: Hosts) -> AsyncIterator[Elsewhere]:
    made = Elsewhere(
        hosts.board, balance=BalanceConfig(patience=1.0, probe_interval=0.05), ejection=EjectionConfig(first=0.1)
    )
    yield made
    await made.close()


async def connected(mesh: Elsewhere, count: int) -> None:
    (balancer,) = mesh.balancers
    async with asyncio.timeout(10):
        while sum(member.connected for member in balancer.pool.members) < count:
            await balancer.pool.changed.wait()


async def test_calls_are_spread_over_the_nodes(hosts: Hosts, mesh: Elsewhere) -> None:
    for name in ("n1", "n2", "n3"):
        await hosts.start(name)
    client = Client(mesh, PROTOCOL)
    await client.am_i(1)
    await connected(mesh, 3)
    seen = Counter([await client.am_i(1) for _ in range(150)])
    assert set(seen) == {"n1", "n2", "n3"}


async def test_a_node_that_goes_costs_only_the_calls_it_was_running(hosts: Hosts, mesh: Elsewhere) -> None:
    held = Where("n1")
    await hosts.start("n1", implementation=held)
    client = Client(mesh, PROTOCOL)
    holding = asyncio.create_task(client.hold())
    assert await client.am_i(1) == "n1"
    await hosts.start("n2")
    await connected(mesh, 2)
    await hosts.stop("n1", tell=False)
    with pytest.raises(CallError, match="may have run"):
        await holding
    assert {await client.am_i(1) for _ in range(50)} == {"n2"}


async def test_the_last_node_back_on_another_port_is_found(hosts: Hosts, mesh: Elsewhere) -> None:
    await hosts.start("n1")
    client = Client(mesh, PROTOCOL)
    assert await client.am_i(1) == "n1"
    await hosts.stop("n1")
    calling = asyncio.create_task(client.am_i(1))
    await asyncio.sleep(0)
    await hosts.start("n1")
    assert await calling == "n1"


async def test_versions_that_resolve_are_called_and_others_say_why_not(hosts: Hosts, mesh: Elsewhere) -> None:
    await hosts.start("old")
    await hosts.start("new", NEWER, Newer("new"))
    client = Client(mesh, PROTOCOL)
    await client.am_i(1)
    await connected(mesh, 2)
    assert {await client.am_i(1) for _ in range(50)} == {"old", "new"}
    await hosts.stop("old")
    while len(mesh.balancers[0].pool.members) > 1:
        await mesh.balancers[0].pool.changed.wait()
    with pytest.raises(CallError, match=r"none of the 1 nodes of Where takes hold(.|\n)*hold does not fit") as caught:
        await client.hold()
    assert not caught.value.started


async def test_one_text_one_pool(hosts: Hosts, mesh: Elsewhere) -> None:
    await hosts.start("n1")
    for _ in range(3):
        assert await Client(mesh, Protocol.parse(PROTOCOL.text)).am_i(1) == "n1"
    assert len(mesh.balancers) == 1
    own = Contract(PROTOCOL, results={"am_i": str})
    assert await Client(mesh, own).am_i(1) == "n1"
    assert len(mesh.balancers) == 2


async def test_who_answered_is_told_to_who_asks(hosts: Hosts, mesh: Elsewhere) -> None:
    await hosts.start("n1")
    client = Client(mesh, PROTOCOL)
    call = client.prepare("am_i", {"x": 1}, route=Route(tell=True))
    assert await client.send(call) == "n1"
    assert call.answer_metadata == {NODE_KEY: b"n1"}


async def test_contracts_of_strangers_are_bounded(mesh: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "MOST", 2)

    def call(number: int) -> Coroutine[Any, Any, object]:
        text = PROTOCOL.text.replace('"types"', f'"version": "{number}", "types"')
        return Client(mesh, Protocol.parse(text)).call("hold", timeout=0.05)

    for number in (1, 2):
        with pytest.raises(CallError, match="no node serves"):
            await call(number)
    with pytest.raises(CallError, match="no room for one more") as caught:
        await call(3)
    assert caught.value.code is Code.RESOURCE_EXHAUSTED
    first = mesh.balancers[0]
    await first.pool.close()  # nobody called it for long
    with pytest.raises(CallError, match="no node serves"):
        await call(3)
    assert first not in mesh.balancers


async def test_closed_it_takes_no_calls(hosts: Hosts, mesh: Elsewhere) -> None:
    await hosts.start("n1")
    client = Client(mesh, PROTOCOL)
    await client.am_i(1)
    (member,) = mesh.balancers[0].pool.members
    await mesh.close()
    assert member.state is State.SHUTDOWN
    with pytest.raises(CallError, match="closing"):
        await client.am_i(1)


# -- calls that go straight into the connections


class Moody(Where):
    """One that fails when it is told to."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.error: Exception | None = None

    def am_i(self, x: int) -> str:
        if self.error is not None:
            raise self.error
        return self.name


@pytest.fixture
async def lent(hosts: Hosts, mesh: Elsewhere) -> Client:
    """A client whose calls go straight to three nodes; those of the plain engine go through the balancer."""
    for name in ("n1", "n2", "n3"):
        await hosts.start(name, implementation=Moody(name))
    client = Client(mesh, PROTOCOL)
    await client.am_i(1)
    await connected(mesh, 3)
    async with asyncio.timeout(20):
        while len(mesh.balancers[0].pool.track.lines) < 3:
            await asyncio.sleep(0.01)  # clock: what was connected in real time has settled
            await client.am_i(1)
    return client


def generally(mesh: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """The calls that the balancer has seen."""
    seen: list[Call] = []
    passed = mesh.balancers[0].call

    def call(call: Call) -> Coroutine[Any, Any, object]:
        seen.append(call)
        return passed(call)

    monkeypatch.setattr(mesh.balancers[0], "call", call)
    return seen


async def test_calls_go_straight_to_the_nodes_and_are_counted(
    lent: Client, mesh: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, pool = generally(mesh, monkeypatch), mesh.balancers[0].pool
    before = sum(member.picks for member in pool.members)
    assert set(Counter([await lent.am_i(1) for _ in range(200)])) == {"n1", "n2", "n3"}
    holding = [asyncio.create_task(lent.hold()) for _ in range(9)]
    await asyncio.sleep(0)
    assert sum(member.in_flight for member in pool.members) == 9
    assert min(member.in_flight for member in pool.members) > 0
    assert seen == [] or native_engine() is None
    seen.clear()
    for task in holding:
        task.cancel()
    await asyncio.wait(holding)
    assert sum(member.picks for member in pool.members) == before + 209
    while any(member.well < 20 for member in pool.members):
        await asyncio.sleep(0.01)  # clock: they are counted each 0.05 s of the real one
    assert [member.in_flight for member in pool.members] == [0, 0, 0]
    await lent.call("am_i", {"x": 1}, metadata={"k": b"v"})
    await lent.call("am_i", {"x": 1}, route=Route(policy="round_robin"))
    assert len(seen) == 2


@pytest.mark.parametrize("full", [False, True])
async def test_a_node_that_stops_or_is_full_costs_nobody_a_call(hosts: Hosts, lent: Client, full: bool) -> None:
    async def calls() -> None:
        for _ in range(100):
            assert await lent.am_i(1) in ("n1", "n2", "n3")
            await asyncio.sleep(0)

    calling = [asyncio.create_task(calls()) for _ in range(8)]
    await asyncio.sleep(0)
    gate = hosts.gates["n1"]
    if full:
        gate.resize(0, 0)
    else:
        gate.close("it stops")
    await asyncio.gather(*calling)
    assert {await lent.am_i(1) for _ in range(50)} == {"n2", "n3"}


async def test_a_node_that_fails_there_is_left_out_and_comes_back(hosts: Hosts, lent: Client, mesh: Elsewhere) -> None:
    pool = mesh.balancers[0].pool
    broken = next(each for each in hosts.implementations if each.name == "n2")
    broken.error = ValueError("broken")

    async def left_out() -> set[str]:
        for _ in range(20):
            with contextlib.suppress(CallError):
                await lent.am_i(1)
        await asyncio.sleep(0.01)  # clock: they are compared each 0.05 s of the real one
        return {member.name for member in pool.members if member.accrual.until is not None}

    async with asyncio.timeout(10):
        while await left_out() != {"n2"}:
            pass
        broken.error = None
        while await left_out():
            pass
        while {await lent.am_i(1) for _ in range(50)} != {"n1", "n2", "n3"}:
            pass


async def test_an_error_there_is_the_one_that_the_balancer_would_give(hosts: Hosts, lent: Client) -> None:
    for each in hosts.implementations:
        each.error = CallError(Code.NOT_FOUND, "no such place")
    with pytest.raises(CallError, match="no such place") as caught:
        await lent.am_i(1)
    assert caught.value.code is Code.NOT_FOUND
    with pytest.raises(EncodeError):
        await lent.am_i("x")
    with pytest.raises(CallError) as caught:
        await lent.call("hold", timeout=0.05)
    assert caught.value.code is Code.DEADLINE_EXCEEDED


async def test_nothing_is_lent_where_not_everybody_takes_every_message(hosts: Hosts, mesh: Elsewhere) -> None:
    await hosts.start("old")
    await hosts.start("new", NEWER, Newer("new"))
    client = Client(mesh, PROTOCOL)
    await client.am_i(1)
    await connected(mesh, 2)
    misfit = mesh.balancers[0].pool
    misfit._misfit = lambda each, _contract, message: "" if each.node == "old" or message == "am_i" else "other type"
    misfit.change()
    assert {await client.am_i(1) for _ in range(50)} == {"old", "new"}
    assert not misfit.track.lines
    assert misfit.lent  # and nobody looks again before something changes


async def test_another_contract_of_the_same_text_goes_through_the_balancer(lent: Client, mesh: Elsewhere) -> None:
    assert mesh.track(lent.contract) is mesh.track(lent.contract)
    other = Client(mesh, Protocol.parse(PROTOCOL.text))
    assert await other.am_i(1) in ("n1", "n2", "n3")
    assert not mesh.track(other.contract).lines


async def test_closed_nothing_is_lent(lent: Client, mesh: Elsewhere) -> None:
    holding = asyncio.create_task(lent.hold())
    await asyncio.sleep(0)
    await mesh.close()
    with pytest.raises(CallError, match="may have run"):
        await holding
    with pytest.raises(CallError, match="closing"):
        await lent.am_i(1)


async def test_it_is_opened_with_what_a_node_knows_of_the_others() -> None:
    async def fetch(instance: Instance, service: str) -> Protocol:
        raise CallError(Code.UNAVAILABLE, f"{instance.node} does not tell of {service}")

    verdicts = Verdicts(fetch)
    opened = open_elsewhere(Config(), Board(), verdicts)
    assert verdicts.changed == opened.change
    with pytest.raises(CallError, match="no node serves"):
        await Client(opened, PROTOCOL, timeout=0.05).call("hold", {})
    await opened.close()
