import asyncio
import contextlib
import random
from collections import Counter
from typing import Any

import pytest

from splnode.balance.accrual import Standing
from splnode.balance.explain import left_out as left_out_of
from splnode.errors import CallError, Code, DeclaredError
from splnode.net.channel import State
from splnode.rpc.call import Call
from splnode.rpc.route import Route
from tests.balance.conftest import Answer, FakeNode, Mesh, fails, lost, stopping


async def test_a_call_goes_to_the_node_that_there_is(mesh: Mesh):
    (node,) = mesh.add("n1")
    assert await mesh.ask() == "n1"
    assert node.calls[0].params == {"sku": "A1"}


async def test_calls_are_spread(mesh: Mesh):
    mesh.add("n1", "n2", "n3")
    await mesh.settled()
    seen = Counter([await mesh.ask() for _ in range(300)])
    assert set(seen) == {"n1", "n2", "n3"}
    assert min(seen.values()) > 50


async def test_of_busy_nodes_the_less_busy_one_is_taken(mesh: Mesh):
    n1, n2 = mesh.add("n1", "n2")
    await mesh.settled()
    over = asyncio.Event()
    n1.answer = n2.answer = lambda _call: over.wait()
    calls = [asyncio.create_task(mesh.ask()) for _ in range(20)]
    while len(n1.calls) + len(n2.calls) < 20:
        await asyncio.sleep(0)
    assert len(n1.calls) == len(n2.calls) == 10
    over.set()
    await asyncio.gather(*calls)


async def test_round_robin_takes_turns():
    mesh = Mesh(policy="round_robin")
    mesh.add("n1", "n2", "n3")
    await mesh.settled()
    seen = [await mesh.ask() for _ in range(6)]
    assert seen[:3] == seen[3:]
    assert set(seen) == {"n1", "n2", "n3"}
    await mesh.balancer.close()


async def test_static_weights_without_reports(mesh: Mesh):
    n1, n2 = mesh.add("n1", "n2")
    mesh.board.post([n1.instance(weight=3.0), n2.instance(weight=1.0)])
    await mesh.settled()
    seen = Counter([await mesh.ask(route=Route(policy="weighted")) for _ in range(400)])
    assert 250 < seen["n1"] < 350


async def test_weight_zero_gets_nothing_while_there_are_others(mesh: Mesh):
    n1, n2 = mesh.add("n1", "n2")
    mesh.board.post([n1.instance(weight=0.0), n2.instance()])
    await mesh.settled()
    assert {await mesh.ask() for _ in range(20)} == {"n2"}
    mesh.board.post([n1.instance(weight=0.0)])
    await asyncio.sleep(0)
    assert await mesh.ask() == "n1"


async def test_a_key_stays_with_its_node(mesh: Mesh):
    mesh.add("n1", "n2", "n3")
    await mesh.settled()
    by_key = {key: {await mesh.ask(route=Route(key=key)) for _ in range(5)} for key in (b"a", b"b", b"c", b"d", b"e")}
    assert all(len(nodes) == 1 for nodes in by_key.values())
    assert len(set.union(*by_key.values())) > 1


async def test_the_protocol_may_name_the_key():
    mesh = Mesh(policies={"com.acme.Shop": "sticky"})
    mesh.add("n1", "n2", "n3")
    await mesh.settled()
    seen = {sku: {await mesh.ask("keep", sku=sku) for _ in range(5)} for sku in "abcdefg"}
    assert all(len(nodes) == 1 for nodes in seen.values())
    assert len({await mesh.ask("buy") for _ in range(50)}) == 3  # no key: spread as usual
    await mesh.balancer.close()


# -- what fails


async def test_what_was_not_started_goes_to_the_next_node(mesh: Mesh):
    n1, _ = mesh.add("n1", "n2")
    await mesh.settled()
    n1.answer = stopping
    assert {await mesh.ask() for _ in range(20)} == {"n2"}
    assert len(n1.calls) == 1  # it has said that it leaves: it is not asked again


async def test_what_may_have_run_is_not_tried_again(mesh: Mesh):
    for node in mesh.add("n1", "n2"):
        node.answer = lost
    with pytest.raises(CallError, match="may have run") as caught:
        await mesh.ask()
    assert caught.value.started
    assert sum(len(node.calls) for node in mesh.nodes.values()) == 1


async def test_what_may_run_twice_is_tried_again_elsewhere(mesh: Mesh):
    n1, _ = mesh.add("n1", "n2")
    await mesh.settled()
    n1.answer = lost
    assert {await mesh.ask("look") for _ in range(3)} == {"n2"}


async def test_three_attempts_and_their_story(mesh: Mesh):
    for node in mesh.add("n1", "n2", "n3", "n4"):
        node.answer = lost
    with pytest.raises(CallError) as caught:
        await mesh.ask("look")
    assert sum(len(node.calls) for node in mesh.nodes.values()) == 3
    assert len(caught.value.attempts) == 3
    assert all("UNAVAILABLE: connection lost" in attempt for attempt in caught.value.attempts)


async def test_a_single_node_is_asked_once_more(mesh: Mesh):
    (node,) = mesh.add("n1")
    await mesh.settled()
    node.answer = lambda call: lost(call) if len(node.calls) == 1 else "well"
    assert await mesh.ask("look") == "well"


async def test_push_back_longer_than_the_deadline_is_an_answer(mesh: Mesh):
    (node,) = mesh.add("n1")
    node.answer = fails(Code.RESOURCE_EXHAUSTED, started=False, retry_after=60.0)
    with pytest.raises(CallError) as caught:
        await mesh.ask(timeout=1)
    assert caught.value.code is Code.RESOURCE_EXHAUSTED
    assert len(node.calls) == 1


async def test_a_full_node_leaves_the_call_to_another(mesh: Mesh):
    n1, _ = mesh.add("n1", "n2")
    await mesh.settled()
    n1.answer = fails(Code.RESOURCE_EXHAUSTED, started=False, retry_after=60.0)
    assert {await mesh.ask(timeout=90) for _ in range(20)} == {"n2"}
    assert len(n1.calls) <= 1  # it said when to ask again


async def test_when_the_budget_is_spent_errors_are_answers(mesh: Mesh):
    (node,) = mesh.add("n1")
    node.answer = lost
    for _ in range(10):
        with pytest.raises(CallError):
            await mesh.ask("look")
    node.calls.clear()
    with pytest.raises(CallError):
        await mesh.ask("look")
    assert len(node.calls) == 1


@pytest.mark.parametrize("code", [Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.PERMISSION_DENIED])
async def test_what_a_node_thinks_of_a_call_does_not_speak_against_it(mesh: Mesh, code: Code):
    (node,) = mesh.add("n1")
    node.answer = fails(code)
    for _ in range(20):
        with pytest.raises(CallError):
            await mesh.ask()
    (member,) = mesh.balancer.pool.members
    assert member.accrual.success == 1


async def test_declared_errors_are_answers(mesh: Mesh):
    class SoldOut(DeclaredError):
        pass

    (node,) = mesh.add("n1")

    def answer(_call: object) -> None:
        raise SoldOut(sku="A1")

    node.answer = answer
    for _ in range(6):
        with pytest.raises(SoldOut):
            await mesh.ask()
    (member,) = mesh.balancer.pool.members
    assert member.accrual.success == 1


# -- who is left out


async def test_five_failures_in_a_row_leave_a_node_out_and_a_probe_brings_it_back(mesh: Mesh):
    n1, _ = mesh.add("n1", "n2")
    await mesh.settled()
    n1.answer = lost
    member = next(member for member in mesh.balancer.pool.members if member.name == "n1")
    while member.accrual.standing(0) is Standing.LIVE:
        with contextlib.suppress(CallError):
            await mesh.ask()
    assert len(n1.calls) <= 5
    assert {await mesh.ask() for _ in range(30)} == {"n2"}
    assert member.accrual.standing(0) is Standing.EJECTED
    n1.answer = lambda _call: "n1 again"
    async with asyncio.timeout(20):
        while await mesh.ask() != "n1 again":
            await asyncio.sleep(0.005)  # clock: its ejection lasts 0.1 s of the real one
    assert member.accrual.standing(1e9) is Standing.LIVE


async def test_when_most_are_bad_all_are_used(mesh: Mesh):
    mesh.add("n1", "n2", "n3")
    await mesh.settled()
    for member in mesh.balancer.pool.members:
        if member.name != "n3":
            member.accrual.eject(1e9, 0.5)
    mesh.balancer.pool.change()
    assert {await mesh.ask() for _ in range(60)} == {"n1", "n2", "n3"}


async def test_a_node_that_answers_no_probes_is_cut_off(mesh: Mesh):
    n1, _ = mesh.add("n1", "n2")
    await mesh.settled()
    n1.answers_pings = False
    async with asyncio.timeout(20):
        while not n1.lines[0].aborted:
            await mesh.ask()
            await asyncio.sleep(0.005)  # clock: probes come each 0.02 s of the real one
    assert n1.lines[0].aborted == "no answer to 3 probes: no answer within 0.01 s"
    assert {await mesh.ask() for _ in range(20)} == {"n2"}


async def test_nodes_that_are_not_connected_wait_for_nobody(mesh: Mesh):
    n1, _ = mesh.add("n1", "n2")
    await mesh.settled()
    n1.reachable = False
    n1.lines[0].lose("connection lost")
    assert {await mesh.ask() for _ in range(20)} == {"n2"}


async def test_a_node_that_drains_gets_nothing_new(mesh: Mesh):
    n1, n2 = mesh.add("n1", "n2")
    await mesh.settled()
    mesh.board.post([n1.instance(state="drain"), n2.instance()])
    await asyncio.sleep(0)
    assert {await mesh.ask() for _ in range(20)} == {"n2"}


async def test_a_message_is_balanced_over_the_nodes_that_fit_it(mesh: Mesh):
    mesh.misfits["n1", "buy"] = "sku: string is no int"
    mesh.add("n1", "n2")
    await mesh.settled()
    assert {await mesh.ask("buy") for _ in range(20)} == {"n2"}
    assert {await mesh.ask("look") for _ in range(40)} == {"n1", "n2"}


async def test_a_misfit_that_shows_in_the_handshake_is_remembered_until_the_node_starts_anew(mesh: Mesh):
    n1, _ = mesh.add("n1", "n2")
    await mesh.settled()
    n1.answer = fails(Code.FAILED_PRECONDITION, started=False)
    assert {await mesh.ask() for _ in range(20)} == {"n2"}
    assert len(n1.calls) == 1
    n1.answer = lambda _call: "n1"
    mesh.announce(epoch=2)
    await asyncio.sleep(0)
    assert {await mesh.ask() for _ in range(40)} == {"n1", "n2"}
    assert n1.lines[0].forgotten == 1


# -- who is left out though it answers


def poisoned(name: str) -> Answer:
    """A node whose handler fails on one sku."""

    def answer(call: Call) -> str:
        if call.params["sku"] == "poison":
            raise CallError(Code.INTERNAL, "internal error", remote=True)
        return name

    return answer


async def outcomes(mesh: Mesh, calls: int, *skus: str, **more: Any) -> Counter[object]:
    """So many calls, of these skus by chance, over several looks at who does worse."""
    seen: Counter[object] = Counter()
    draw = random.Random(7)
    for number in range(calls):
        try:
            seen[await mesh.ask(sku=draw.choice(skus), **more)] += 1
        except CallError as error:
            seen[error.code] += 1
        if number % 10 == 0:
            await asyncio.sleep(0.005)  # clock: nodes are compared each 0.02 s of the real one
    return seen


def left_out(mesh: Mesh) -> set[str]:
    return {member.name for member in mesh.balancer.pool.members if member.accrual.until is not None}


@pytest.mark.parametrize("skus", [("poison",), ("poison", "A1"), ("poison", "A1", "A1")])
@pytest.mark.parametrize("policy", ["least_request", "round_robin", "weighted", "sticky"])
async def test_a_client_that_sends_poison_has_nobody_left_out(mesh: Mesh, skus: tuple[str, ...], policy: str):
    for node in mesh.add("n1", "n2", "n3"):
        node.answer = poisoned(node.name)
    await mesh.settled()
    seen = await outcomes(mesh, 300, *skus, message="keep" if policy == "sticky" else "buy", route=Route(policy=policy))
    assert seen[Code.INTERNAL] > 200 // len(skus)
    assert left_out(mesh) == set()


@pytest.mark.parametrize("route", [Route(to="n1"), Route(key=b"k"), Route(pin=(b"n1" * 8).hex())])
async def test_poison_for_one_node_alone_does_not_compare(mesh: Mesh, route: Route):
    for node in mesh.add("n1", "n2", "n3"):
        node.answer = poisoned(node.name)
    await mesh.settled()
    await outcomes(mesh, 60, "A1")
    await outcomes(mesh, 60, "poison", route=route)
    assert left_out(mesh) == set()


@pytest.mark.parametrize(
    "code", [Code.INTERNAL, Code.UNKNOWN, Code.DATA_LOSS, Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED]
)
async def test_a_node_that_is_broken_while_others_are_not_is_left_out(mesh: Mesh, code: Code):
    n1, *_ = mesh.add("n1", "n2", "n3")
    await mesh.settled()
    n1.answer = fails(code)
    async with asyncio.timeout(20):
        while left_out(mesh) != {"n1"}:
            await outcomes(mesh, 10, "A1")
    (member,) = (member for member in mesh.balancer.pool.members if member.name == "n1")
    assert "calls failed of late, far more than on other nodes" in member.last_error
    assert f"it is {code.name}" in member.last_error
    n1.answer = lambda _call: "n1 again"
    async with asyncio.timeout(20):
        while left_out(mesh):
            await outcomes(mesh, 10, "A1")


async def test_of_two_broken_nodes_one_is_left_out_at_a_time(mesh: Mesh):
    """More of them, and the calls are likelier to blame."""
    nodes = mesh.add("n1", "n2", "n3", "n4", "n5")
    await mesh.settled()
    for node in nodes[:2]:
        node.answer = fails(Code.INTERNAL)
    out = set()
    for _ in range(20):
        await outcomes(mesh, 20, "A1")
        assert len(left_out(mesh)) <= 1
        out |= left_out(mesh)
    assert out & {"n1", "n2"}
    assert out <= {"n1", "n2"}


async def test_those_that_have_not_that_message_are_no_measure(mesh: Mesh):
    for node in mesh.add("n1", "n2", "n3"):
        node.answer = poisoned(node.name)
    await mesh.settled()
    mesh.misfits = {("n1", "buy"): "no such message"}
    mesh.balancer.pool.change()
    for _ in range(20):
        await outcomes(mesh, 6, "A1", message="look")
        await outcomes(mesh, 6, "poison", message="buy")
    assert left_out(mesh) == set()


async def test_a_node_that_the_network_had_left_out_is_back_when_it_answers_whatever_it_says(mesh: Mesh):
    n1, _ = mesh.add("n1", "n2")
    await mesh.settled()
    (member,) = (member for member in mesh.balancer.pool.members if member.name == "n1")
    mesh.balancer.pool.eject(member, "connection lost")
    n1.answer = fails(Code.INTERNAL)
    n1.calls.clear()
    async with asyncio.timeout(20):
        while not n1.calls:
            await outcomes(mesh, 10, "A1")
    assert member.accrual.until is None or member.accrual.outdone


# -- asked for


async def test_a_node_may_be_named(mesh: Mesh):
    (n1, *_) = mesh.add("kitchen", "cellar", "attic")
    await mesh.settled()
    assert {await mesh.ask(route=Route(to="kitchen")) for _ in range(5)} == {"kitchen"}
    assert await mesh.ask(route=Route(to="ki")) == "kitchen"
    assert await mesh.ask(route=Route(to=str(n1.endpoint))) == "kitchen"


async def test_the_beginning_of_two_names_is_no_name(mesh: Mesh):
    mesh.add("node-1", "node-2")
    await mesh.settled()
    with pytest.raises(CallError, match="'node-' may be each of node-1, node-2"):
        await mesh.ask(route=Route(to="node-"))


async def test_a_name_that_nobody_has_lists_those_that_there_are(mesh: Mesh):
    mesh.add("n1")
    with pytest.raises(CallError) as caught:
        await mesh.ask(route=Route(to="x"))
    assert caught.value.code is Code.UNAVAILABLE
    assert "not what was asked for" in str(caught.value)


async def test_a_contract_may_be_pinned(mesh: Mesh):
    mesh.add("n1", "n2")
    await mesh.settled()
    pin = (b"n2" * 8).hex()
    assert {await mesh.ask(route=Route(pin=pin)) for _ in range(5)} == {"n2"}
    assert await mesh.ask(route=Route(pin=pin[:8].upper())) == "n2"
    with pytest.raises(CallError, match="too short"):
        await mesh.ask(route=Route(pin="6e"))


# -- hedging


async def test_the_copy_answers_where_the_first_does_not(mesh: Mesh):
    nodes = mesh.add("n1", "n2")
    await mesh.settled()
    never = asyncio.Event()
    slow: list[FakeNode] = []

    def first_hangs(node: FakeNode) -> None:
        def answer(_call: object) -> object:
            if not slow:
                slow.append(node)
                return never.wait()
            return node.name

        node.answer = answer

    for node in nodes:
        first_hangs(node)
    answer = await mesh.ask("look", route=Route(hedge=0.01))
    assert answer == next(node.name for node in nodes if node is not slow[0])
    assert all(member.in_flight == 0 for member in mesh.balancer.pool.members)


async def test_a_quick_answer_needs_no_copy(mesh: Mesh):
    nodes = mesh.add("n1", "n2")
    await mesh.settled()
    await mesh.ask("look", route=Route(hedge=1.0))
    assert sum(len(node.calls) for node in nodes) == 1


async def test_what_may_not_run_twice_is_not_hedged(mesh: Mesh):
    mesh.add("n1", "n2")
    with pytest.raises(CallError, match='may not be hedged: it may run twice only if its protocol says "idempotent"'):
        await mesh.ask("buy", route=Route(hedge=0.01))


async def test_both_copies_failing_is_the_first_error(mesh: Mesh):
    for node in mesh.add("n1", "n2"):
        node.answer = fails(Code.INTERNAL)
    with pytest.raises(CallError) as caught:
        await mesh.ask("look", route=Route(hedge=0.001))
    assert caught.value.code is Code.INTERNAL


# -- whom there is


async def test_a_call_waits_for_the_first_node(mesh: Mesh):
    calling = asyncio.create_task(mesh.ask())
    await asyncio.sleep(0)
    mesh.add("n1")
    assert await calling == "n1"


async def test_without_any_node_it_says_so(mesh: Mesh):
    with pytest.raises(CallError, match=r"UNAVAILABLE: no node serves com\.acme\.Shop") as caught:
        await mesh.ask()
    assert not caught.value.started


async def test_the_deadline_of_the_call_is_shorter_than_patience(mesh: Mesh):
    with pytest.raises(CallError, match="no node serves"):
        await mesh.ask(timeout=0.001)


async def test_a_node_that_is_gone_gets_nothing_and_is_closed_when_its_calls_are_over(mesh: Mesh):
    n1, n2 = mesh.add("n1", "n2")
    await mesh.settled()
    over = asyncio.Event()

    async def slowly() -> str:
        await over.wait()
        return "done"

    n1.answer = lambda _call: slowly()
    running = asyncio.create_task(mesh.ask(route=Route(to="n1")))
    while not n1.calls:
        await asyncio.sleep(0)
    mesh.board.post([n2.instance()])
    await asyncio.sleep(0)
    assert {await mesh.ask() for _ in range(5)} == {"n2"}
    assert not n1.lines[0].closed
    over.set()
    assert await running == "done"
    async with asyncio.timeout(20):
        while not n1.lines[0].closed:
            await asyncio.sleep(0)


async def test_unused_it_lets_everything_go_and_comes_back():
    mesh = Mesh(idle_seconds=0.03)
    (node,) = mesh.add("n1")
    await mesh.ask()
    async with asyncio.timeout(20):
        while not node.lines[0].closed:
            await asyncio.sleep(0.005)  # clock: it looks each 0.02 s of the real one
    assert await mesh.ask() == "n1"
    await mesh.balancer.close()


async def test_closed_it_takes_no_calls(mesh: Mesh):
    (node,) = mesh.add("n1")
    await mesh.ask()
    await mesh.balancer.close()
    assert node.lines[0].state is State.SHUTDOWN
    with pytest.raises(CallError, match="this channel is closed"):
        await mesh.ask()


async def test_a_cancelled_call_leaves_nothing_behind(mesh: Mesh):
    (node,) = mesh.add("n1")
    await mesh.settled()
    never = asyncio.Event()
    node.answer = lambda _call: never.wait()
    running = asyncio.create_task(mesh.ask())
    while not node.calls:
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    (member,) = mesh.balancer.pool.members
    assert member.in_flight == 0
    assert member.accrual.success == 1


async def test_weighted_nodes_are_asked_for_their_load_without_calls_too():
    mesh = Mesh(policy="weighted", weight_blackout=0.0, weight_update=0.001)
    n1, n2, n3 = mesh.add("n1", "n2", "n3")
    n1.tells, n2.tells = {"spl-load": b"90,0,0.1"}, {"spl-load": b"10,0,0.1"}
    n3.tells = {"spl-load": b"?"}  # it echoes: no report
    await mesh.settled()
    for node in (n1, n2, n3):
        node.pinged.clear()
        await asyncio.wait_for(node.pinged.wait(), 2)
        node.pinged.clear()
        await asyncio.wait_for(node.pinged.wait(), 2)
        assert node.asked == {"spl-load": b"?"}
    seen = Counter([await mesh.ask() for _ in range(600)])
    assert 300 < seen["n1"] < 420  # 900 of 1,500
    assert seen["n2"] < 80  # 100
    assert 140 < seen["n3"] < 260  # the mean of both: 500
    await mesh.balancer.close()


async def test_a_node_that_nobody_calls_is_asked_only_where_its_load_counts():
    mesh = Mesh(probe_interval=0.01)
    (node,) = mesh.add("n1")
    await mesh.settled()
    (member,) = mesh.balancer.pool.members
    member.used = -1000.0
    await asyncio.sleep(0.05)  # clock: several probe intervals, in which nothing happens
    node.pinged.clear()
    await asyncio.sleep(0.05)  # clock: as above
    assert not node.pinged.is_set()
    mesh.balancer.pool.weighted = True
    await asyncio.wait_for(node.pinged.wait(), 2)
    await mesh.balancer.close()
    assert not mesh.balancer.pool.weighted


async def test_sticky_calls_stay_where_they_belong_whoever_is_connected():
    mesh = Mesh(ahead=0)
    nodes = mesh.add("n1", "n2", "n3", "n4")
    first = [await mesh.ask("keep", sku=str(number), route=Route(policy="sticky")) for number in range(40)]
    assert set(first) == {node.name for node in nodes}
    again = [await mesh.ask("keep", sku=str(number), route=Route(policy="sticky")) for number in range(40)]
    assert first == again
    slots = mesh.balancer.pool.choice("keep").slots
    mesh.balancer.pool.change()
    await mesh.ask("keep", sku="1", route=Route(policy="sticky"))
    assert mesh.balancer.pool.choice("keep").slots is slots
    mesh.add("n5")
    later = [await mesh.ask("keep", sku=str(number), route=Route(policy="sticky")) for number in range(40)]
    assert {new for old, new in zip(first, later, strict=True) if old != new} <= {"n5"}
    await mesh.balancer.close()


async def test_a_copy_takes_no_suspect_from_a_call_that_still_waits():
    mesh = Mesh()
    (node,) = mesh.add("n1")
    await mesh.settled()
    pool = mesh.balancer.pool
    (member,) = pool.members
    node.reachable = False
    pool.eject(member, "it fails")
    found = await asyncio.gather(mesh.ask("look", route=Route(to="n2", hedge=0.0)), return_exceptions=True)
    assert isinstance(found[0], CallError)
    node.reachable = True
    while member.accrual.standing(mesh.balancer._now()) is not Standing.LIVE:
        with contextlib.suppress(CallError):
            await mesh.ask("look", route=Route(hedge=0.0))
    await mesh.balancer.close()


async def test_the_reason_of_one_that_cannot_be_reached_stays_as_it_is_however_often_it_is_tried(mesh: Mesh):
    (node,) = mesh.add("n1")
    await mesh.settled()
    node.reachable = False
    node.lines[0].lose("connection lost")
    for _ in range(5):
        with pytest.raises(CallError) as caught:
            await mesh.ask()
        (attempt,) = caught.value.attempts
        assert attempt.startswith(f"n1: {node.endpoint}: TRANSIENT_FAILURE; ")
        assert attempt.endswith("; UNAVAILABLE: connection refused")
        assert attempt.count("UNAVAILABLE") == 1
    (member,) = mesh.balancer.pool.members
    assert member.last_error == "UNAVAILABLE: connection refused"


async def test_a_call_cannot_be_asked_to_stay_where_it_names_no_key(mesh: Mesh):
    mesh.add("n1", "n2")
    await mesh.settled()
    with pytest.raises(
        CallError, match=r'Shop\.buy names no key to stay with: .* "sticky": "PARAMETER.FIELD"'
    ) as caught:
        await mesh.ask("buy", route=Route(policy="sticky"))
    assert (caught.value.code, caught.value.started) == (Code.INVALID_ARGUMENT, False)
    assert await mesh.ask("buy", route=Route(policy="sticky", key=b"k")) in ("n1", "n2")
    sticky = Mesh(policies={"com.acme.Shop": "sticky"})  # there those that have no key are spread
    sticky.add("n1", "n2")
    assert await sticky.ask("buy") in ("n1", "n2")
    await sticky.balancer.close()


async def test_one_that_could_not_be_reached_for_long_is_back_as_soon_as_it_can(mesh: Mesh):
    n1, _ = mesh.add("n1", "n2")
    await mesh.settled()
    (member,) = (member for member in mesh.balancer.pool.members if member.name == "n1")
    n1.reachable = n1.answers_pings = False
    mesh.balancer.pool.eject(member, "no answer")
    n1.lines[0].lose("no answer")
    until = member.accrual.until
    async with asyncio.timeout(20):
        while member.last_error != "n1 is not connected":  # its time is over, and it was tried
            await mesh.ask()
            await asyncio.sleep(0.01)  # clock: its ejection lasts 0.1 s of the real one
        await asyncio.sleep(0.2)  # clock: several looks at it, in vain
        assert member.accrual.until == until
        assert left_out_of(member, until + 1.0) == ["left out until a call to it goes well"]
        n1.reachable = n1.answers_pings = True
        while member.accrual.until is not None:
            await mesh.ask()
            await asyncio.sleep(0.01)  # clock: it is looked at each 0.02 s of the real one
