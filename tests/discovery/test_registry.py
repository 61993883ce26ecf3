import asyncio

import pytest

from splnode.discovery import registry as module
from splnode.discovery.registry import Registry
from splnode.discovery.resolver import Address, Instance
from splnode.endpoint import Endpoint


def instance(node: str, port: int = 1) -> Instance:
    return Instance((Address(Endpoint("tcp", "10.0.0.1", port), "registered"),), node)


async def test_registered_nodes_stay_as_long_as_their_heart_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    registry, clock = Registry(), [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    sets = registry.watch()
    assert await anext(sets) == frozenset()
    assert registry.register(instance("a"))
    assert registry.register(instance("b"))
    assert await anext(sets) == {instance("a"), instance("b")}
    clock[0] += module.EXPIRY - 1
    assert registry.heartbeat("a")
    assert not registry.heartbeat("nobody")
    clock[0] += 2
    registry._expire()
    assert await anext(sets) == {instance("a")}
    assert not registry.heartbeat("b")
    assert registry.register(instance("a", 2))  # it has moved
    assert await anext(sets) == {instance("a", 2)}
    clock[0] += module.EXPIRY
    registry._expire()
    assert await anext(sets) == frozenset()
    assert registry._timer is None
    registry.close()


async def test_a_timer_looks_after_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EXPIRY", 0.001)
    registry = Registry()
    registry.register(instance("a"))
    async with asyncio.timeout(20):
        async for found in registry.watch():
            if not found:
                break
    registry.close()


async def test_there_is_an_end_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    registry = Registry()
    assert [registry.register(instance(name)) for name in ("a", "b", "c", "a")] == [True, True, False, True]
    registry.close()
