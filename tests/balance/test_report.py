import time

import pytest

from splnode.balance.report import channels, in_use, loads
from splnode.errors import CallError
from tests.balance.conftest import Mesh, stopping


async def test_nothing_was_called_yet(mesh: Mesh):
    mesh.add("n1")
    assert channels([mesh.balancer]) == []


async def test_how_the_nodes_are(mesh: Mesh):
    n1, n2 = mesh.add("n1", "n2")
    n1.tells = {"spl-load": b"100,0,0.25"}
    n2.reachable = False
    await mesh.settled()
    while not loads([mesh.balancer]):
        n1.pinged.clear()
        await n1.pinged.wait()
    await mesh.ask()
    one, two = channels([mesh.balancer])
    assert (one["service"], one["nodeId"], one["endpoint"]) == ("com.acme.Shop", "n1", str(n1.endpoint))
    assert (one["state"], one["inFlight"], one["lastError"], one["leftOut"]) == ("READY", 0, "", [])
    assert one["picks"] >= 1
    assert (one["load"], one["reported"], one["ejectedUntil"]) == (0.25, None, 0)  # a report counts after a while
    assert (two["state"], two["lastError"], two["load"]) == ("TRANSIENT_FAILURE", "connection refused", None)
    assert loads([mesh.balancer]) == {"n1": 0.25}


async def test_which_nodes_calls_go_to(mesh: Mesh):
    assert in_use([mesh.balancer]) == frozenset()
    _, _, n3 = mesh.add("n1", "n2", "n3")
    n3.reachable = False
    await mesh.settled()
    members = {member.name: member for member in mesh.balancer.pool.members}
    for member in members.values():
        member.used = time.monotonic()
    assert in_use([mesh.balancer]) == {"n1", "n2"}
    members["n1"].strikes = 1  # it did not answer just now
    members["n2"].used -= 100
    assert in_use([mesh.balancer]) == frozenset()
    mesh.balancer.pool.weighted = True  # all of them are asked for their load
    assert in_use([mesh.balancer]) == {"n2"}


async def test_why_a_node_is_left_out(mesh: Mesh):
    *_, n3 = mesh.add("n1", "n2", "n3")
    await mesh.settled()
    mesh.misfits = {("n1", "buy"): "no such message", **{("n2", name): "old" for name in ("buy", "look", "keep")}}
    n3.answer = stopping
    mesh.balancer.pool.change()
    with pytest.raises(CallError):
        await mesh.ask()
    (third,) = (member for member in mesh.balancer.pool.members if member.name == "n3")
    third.instance = n3.instance(weight=0.0)
    rows = {row["nodeId"]: row for row in channels([mesh.balancer])}
    assert rows["n1"]["leftOut"] == ["buy: no such message"]
    assert rows["n2"]["leftOut"] == ["old"]
    assert rows["n3"]["leftOut"] == ["leaving: node is stopping", "its weight is 0"]
    pool = mesh.balancer.pool
    pool.spare(third, 60.0)
    pool.eject(third, "it fails")
    (row,) = (row for row in channels([mesh.balancer]) if row["nodeId"] == "n3")
    assert [reason.partition(" ")[0] for reason in row["leftOut"]] == ["leaving:", "left", "full,", "its"]
    assert row["ejectedUntil"] > time.time() * 1000  # clock: it lies a minute ahead
    assert row["lastError"] == "it fails"
