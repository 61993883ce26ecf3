import asyncio

from splnode.rpc.call import deadline
from splnode.services.health import HealthService
from tests.services.conftest import Serve


def test_states_by_service() -> None:
    health = HealthService()
    assert health.check()["status"] == "SERVICE_UNKNOWN"
    health.set("", "SERVING")
    health.set("a.B", "UNKNOWN")
    assert health.check("")["status"] == "SERVING"
    assert {name: state["status"] for name, state in health.list().items()} == {"": "SERVING", "a.B": "UNKNOWN"}
    health.remove("a.B")
    health.remove("never there")
    assert health.check("a.B")["status"] == "SERVICE_UNKNOWN"


def test_a_revision_is_new_with_each_change_and_only_then() -> None:
    health = HealthService()
    health.set("", "SERVING")
    first = health.check()
    health.set("", "SERVING")
    assert health.check() == first
    health.set("", "NOT_SERVING")
    health.set("", "SERVING")
    assert health.check()["revision"] > first["revision"]


def test_a_node_that_leaves_serves_nothing_again() -> None:
    health = HealthService()
    health.set("", "SERVING")
    health.set("a", "SERVING")
    health.set("gone", "SERVING")
    health.remove("gone")
    health.leave()
    health.set("a", "SERVING")
    states = {name: state["status"] for name, state in health.list().items()}
    assert states == {"": "NOT_SERVING", "a": "NOT_SERVING", "gone": "SERVICE_UNKNOWN"}


async def test_watch_waits_for_the_next_change() -> None:
    health = HealthService()
    health.set("a", "SERVING")
    known = await health.watch("a")
    assert known["status"] == "SERVING"
    watching = [asyncio.ensure_future(health.watch("a", known["revision"], 60_000)) for _ in range(3)]
    await asyncio.sleep(0)
    health.set("other", "SERVING")
    await asyncio.sleep(0)
    assert not any(each.done() for each in watching)
    health.set("a", "NOT_SERVING")
    assert [state["status"] for state in await asyncio.gather(*watching)] == ["NOT_SERVING"] * 3


async def test_watch_answers_when_the_time_is_over() -> None:
    health = HealthService()
    known = health.check("nobody")
    assert await health.watch("nobody", known["revision"], 1) == known
    assert await health.watch("nobody", known["revision"], -5) == known


async def test_by_its_protocol(serve: Serve) -> None:
    health = HealthService()
    health.set("", "SERVING")
    client = serve("splnode.Health", health)
    state = await client.check()
    assert state["status"] == "SERVING"
    assert await client.list() == {"": state}
    assert await client.watch(service="", revision=state["revision"], timeoutMs=1) == state
    with deadline(0.3):  # the watch answers before it, though it may wait for longer
        assert await client.watch(revision=state["revision"], timeoutMs=60_000) == state


async def test_who_watches_keeps_no_node_from_stopping() -> None:
    health = HealthService()
    known = health.check("")
    watching = asyncio.ensure_future(health.watch("", known["revision"], 60_000))
    await asyncio.sleep(0)
    health.end()
    assert await asyncio.wait_for(watching, 20) == known
    assert await asyncio.wait_for(health.watch("", known["revision"], 60_000), 20) == known
