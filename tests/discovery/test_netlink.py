import asyncio

import pytest

from splnode.discovery import netlink
from splnode.discovery.netlink import NetworkChanges
from tests.hosts.network import Network, needs_namespaces


async def test_nothing_heard_is_an_answer_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "ANYWAY", 0.001)
    monkeypatch.setattr(netlink, "WITHOUT", 0.001)
    async with NetworkChanges() as changes:
        await asyncio.wait_for(changes.next(), 10)


async def test_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink.socket, "AF_NETLINK", -1, raising=False)
    monkeypatch.setattr(netlink, "WITHOUT", 0.001)
    async with NetworkChanges() as changes:
        await asyncio.wait_for(changes.next(), 10)


async def test_a_new_address_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_namespaces()
    monkeypatch.setattr(netlink, "ANYWAY", 3600)
    monkeypatch.setattr(netlink, "SETTLING", 0.01)
    with Network(1) as network:
        with network.inside(1):  # the socket belongs to the namespace in which it was made
            changes = NetworkChanges()
            await changes.__aenter__()
        waiting = asyncio.ensure_future(changes.next())
        await asyncio.sleep(0)
        network.ip(1, "addr", "add", "10.99.0.77/24", "dev", "eth0")
        await asyncio.wait_for(waiting, 10)
        await changes.__aexit__()
