"""Why a call found no node, in words."""

import pytest

from splnode.balance.explain import left_out
from splnode.errors import CallError
from splnode.rpc.route import Route
from tests.balance.conftest import Mesh, stopping


async def test_unavailable_lists_every_node_and_why(mesh: Mesh):
    mesh.misfits["n3", "buy"] = "sku: string is no int"
    n1, n2, _ = mesh.add("n1", "n2", "n3")
    n1.reachable = False
    n2.answer = stopping
    with pytest.raises(CallError) as caught:
        await mesh.ask()
    text = str(caught.value)
    assert "none of the 3 nodes of com.acme.Shop takes buy" in text
    assert "n1: " in text and "connection refused" in text
    assert "n1: tcp://10.0.0.1:9090: TRANSIENT_FAILURE; UNAVAILABLE: connection refused" in text
    assert "n2: tcp://10.0.0.2:9090: READY; leaving: node is stopping" in text
    assert "n3: tcp://10.0.0.3:9090: READY; does not fit: sku: string is no int" in text


async def test_a_node_that_was_not_asked_for_says_so(mesh: Mesh):
    mesh.add("n1", "n2")
    await mesh.settled()
    with pytest.raises(CallError) as caught:
        await mesh.ask(route=Route(to="n3"))
    assert caught.value.attempts and all("not what was asked for" in told for told in caught.value.attempts)


async def test_the_reasons_for_which_a_member_is_left_out(mesh: Mesh):
    mesh.add("n1")
    await mesh.settled()
    (member,) = mesh.balancer.pool.members
    assert left_out(member, 100.0) == []
    member.rests, member.leaving = 102.5, "node is stopping"
    assert left_out(member, 100.0) == ["leaving: node is stopping", "full, as it said: it rests for 2.5 s more"]
    member.leaving = ""
    member.accrual.eject(100.0, 0.5)  # for 0.1 s
    before, after = left_out(member, 100.0), left_out(member, 105.0)
    assert before == ["left out for 0.1 s more", "full, as it said: it rests for 2.5 s more"]
    assert after == ["left out until a call to it goes well"]
