import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from splnode.avro.fingerprint import resolution_fingerprint
from splnode.avro.protocol import Protocol
from splnode.balance.pool import by_key
from splnode.balance.report import channels
from splnode.config import EjectionConfig
from splnode.discovery.resolver import ALL, Address, Board, Instance, Instances, Service
from splnode.endpoint import Endpoint
from splnode.errors import CallError
from splnode.net.channel import State
from tests.balance.conftest import PROTOCOL, FakeNode, Mesh


def instance(node: str, port: int, epoch: int = 1) -> Instance:
    return Instance((Address(Endpoint.parse(f"tcp://10.0.0.1:{port}"), "mdns"),), node=node, epoch=epoch)


def test_a_node_is_known_by_its_id_wherever_it_is():
    before, after = instance("kitchen", 1), instance("kitchen", 2, epoch=2)
    assert list(by_key(frozenset([before]))) == list(by_key(frozenset([after]))) == ["kitchen"]


def test_two_that_claim_one_id_are_two():
    one, other = instance("kitchen", 1), instance("kitchen", 2)
    assert by_key(frozenset([one, other])) == {"kitchen@tcp://10.0.0.1:1": one, "kitchen@tcp://10.0.0.1:2": other}


def test_without_an_id_it_is_the_address():
    assert list(by_key(frozenset([instance("", 1), instance("", 2)]))) == ["@tcp://10.0.0.1:1", "@tcp://10.0.0.1:2"]


async def test_of_many_nodes_some_are_connected_ahead_and_called():
    mesh = Mesh(ahead=3)
    mesh.add(*(f"n{number}" for number in range(8)))
    await mesh.ask()
    pool = mesh.balancer.pool
    while sum(member.connected for member in pool.members) < 3:
        await asyncio.wait_for(pool.changed.wait(), 2)
    ahead = {member.name for member in sorted(pool.members, key=lambda member: member.rank)[:3]}
    await asyncio.sleep(0.1)  # clock: several intervals, in which nobody else is connected
    connected = {member.name for member in pool.members if member.connected}
    assert ahead <= connected and len(connected) <= 4  # and who had the first call, before there was any
    assert {await mesh.ask() for _ in range(200)} == connected
    gone = mesh.nodes[next(iter(ahead))]
    gone.reachable = False
    gone.lines[0].lose("reset", State.TRANSIENT_FAILURE)
    while sum(member.connected for member in pool.members) < 3:  # another one, or who had the first call
        await asyncio.wait_for(pool.changed.wait(), 2)
    await mesh.balancer.close()


async def test_a_socket_of_this_host_that_is_found_later_is_used_from_then_on():
    mesh = Mesh()
    (node,) = mesh.add("n1")
    assert await mesh.ask() == "n1"
    near = mesh.nodes["near"] = FakeNode("over the socket", 2)
    near.endpoint, near.reachable = Endpoint.parse("unix:///run/n1.sock"), False
    told = node.instance()
    mesh.board.post([msgspec.structs.replace(told, addresses=(Address(near.endpoint, "host"), *told.addresses))])
    pool = mesh.balancer.pool
    while not any(line.last_error for line in near.lines):
        assert await mesh.ask() == "n1"
        await asyncio.wait_for(pool.changed.wait(), 2)
    near.reachable = True
    while near.lines[0].state is not State.READY:
        await asyncio.wait_for(pool.changed.wait(), 2)
    assert await mesh.ask() == "over the socket"
    near.reachable = False
    near.lines[0].lose("gone", State.TRANSIENT_FAILURE)
    assert await mesh.ask() == "n1"
    await mesh.balancer.close()


async def test_one_that_is_far_worse_than_the_others_is_left_out():
    mesh = Mesh()
    nodes = mesh.add("n1", "n2", "n3", "n4", "n5", "n6")
    await mesh.settled()
    members = {member.name: member for member in mesh.balancer.pool.members}
    for member in members.values():
        member.well, member.ended = 198, 200
    members["n3"].well = 170  # too good for its own record to leave it out
    while members["n3"].accrual.until is None:
        await asyncio.wait_for(mesh.balancer.pool.changed.wait(), 2)
    assert "30 calls failed of late, far more than on other nodes" in members["n3"].last_error
    assert all(member.accrual.until is None for name, member in members.items() if name != "n3")
    assert members["n1"].ended < 200
    assert len(nodes) == 6
    await mesh.balancer.close()


class Flaky(Board):
    """A resolver that says one set at each watch and then fails, until it is `mended`."""

    name = "flaky"
    mended = False
    problem = ""

    async def watch(self, service: str = ALL) -> AsyncIterator[Instances]:
        async for instances in super().watch(service):
            yield instances
            if not self.mended:
                raise OSError("the registry is away")


async def test_a_resolver_that_fails_is_watched_again_and_what_it_said_is_kept():
    slept: list[float] = []
    go_on = asyncio.Event()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await go_on.wait()
        go_on.clear()

    async def tried(times: int) -> None:
        while len(slept) < times:
            await asyncio.wait_for(pool.changed.wait(), 2)

    mesh = Mesh()
    mesh.board = Flaky()
    pool = mesh.balancer.pool
    pool._resolver, pool._sleep = mesh.board, sleep
    mesh.add("n1")
    assert await mesh.ask() == "n1"
    await tried(1)
    assert pool.problem == "the registry is away"
    assert await mesh.ask() == "n1"
    (row, _) = channels([mesh.balancer])
    assert (row["nodeId"], row["endpoint"], row["state"]) == ("", "", "TRANSIENT_FAILURE")
    assert row["lastError"] == "fewer are found than there may be: the registry is away"
    mesh.add("n2")
    mesh.nodes.pop("n1")
    mesh.announce()
    go_on.set()
    await tried(2)
    assert {member.name for member in pool.members} == {"n2"}
    mesh.nodes["n2"].reachable = False
    mesh.nodes["n2"].lines[0].lose("gone", State.TRANSIENT_FAILURE)
    with pytest.raises(
        CallError, match=r"none of the 1 nodes.*; fewer are found than there may be: the registry is away"
    ):
        await mesh.ask()
    mesh.board.mended = True
    mesh.nodes["n2"].reachable = True
    go_on.set()
    while pool.problem:
        await asyncio.wait_for(pool.changed.wait(), 2)
    assert await mesh.ask() == "n2"
    assert slept == [0.5, 1.0]
    mesh.board.problem = "it is only half there"
    assert pool.problem == "it is only half there"
    await mesh.balancer.close()
    mesh.board.problem = ""
    assert pool.problem == ""


async def test_one_that_serves_something_else_than_it_announces_is_left_out_with_that_reason():
    mesh = Mesh()
    n1, n2 = mesh.add("n1", "n2")
    true = Service("com.acme.Shop", resolution=resolution_fingerprint(PROTOCOL))
    mesh.announce(services=(true,))
    await mesh.settled()
    n1.lines[0].server = PROTOCOL
    n2.lines[0].server = Protocol.parse('{"protocol": "com.acme.Shop", "types": [], "messages": {}}')
    mesh.balancer.pool.change()
    assert {await mesh.ask() for _ in range(20)} == {"n1"}
    rows = {row["nodeId"]: row for row in channels([mesh.balancer])}
    assert rows["n1"]["leftOut"] == []
    (reason,) = rows["n2"]["leftOut"]
    assert reason.startswith(f"it announces com.acme.Shop with the fingerprint {true.resolution.hex()}, and serves")
    n1.reachable = False
    n1.lines[0].lose("gone", State.TRANSIENT_FAILURE)
    with pytest.raises(CallError) as caught:
        await mesh.ask()
    assert any(reason in attempt for attempt in caught.value.attempts)
    await mesh.balancer.close()


async def test_a_node_whose_address_does_not_answer_is_called_at_another():
    mesh = Mesh()
    mesh.balancer.pool._ejection = EjectionConfig(first=60)
    old, new = (FakeNode(name, number) for number, name in enumerate(("old", "new")))
    mesh.nodes = {"old": old, "new": new}  # one node, at two addresses
    addresses = tuple(Address(each.endpoint, "mdns") for each in (old, new))
    mesh.board.post([Instance(addresses, node="n1", epoch=1)])
    assert await mesh.ask() == "old"
    (member,) = mesh.balancer.pool.members
    old.reachable = old.answers_pings = False
    async with asyncio.timeout(20):
        while await mesh.ask() != "new":
            await asyncio.sleep(0.01)  # clock: it is probed each 0.02 s of the real one
    assert old.lines[0].aborted.startswith("no answer to 3 probes")
    assert member.accrual.until is None
    await mesh.balancer.close()
