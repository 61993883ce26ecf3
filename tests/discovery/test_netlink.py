import asyncio
import socket

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


def test_what_the_messages_say() -> None:
    def link(kind: int, index: int, flags: int) -> bytes:
        return netlink.HEADER.pack(36, kind, 0, 0, 0) + netlink.LINK.pack(0, 1, index, flags, 0) + b"attr"

    messages = link(16, 2, 0x1043) + link(16, 3, 0x1003) + link(17, 4, 0x1043) + link(20, 5, 0)
    assert netlink.interruptions(messages) == {3, 4}
    assert (
        netlink.interruptions(b"") == netlink.interruptions(b"\0" * 40) == netlink.interruptions(messages[:20]) == set()
    )


async def test_a_carrier_that_was_lost_and_came_back_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_namespaces()
    monkeypatch.setattr(netlink, "SETTLING", 0.5)
    with Network(1) as network:
        with network.inside(1):
            index = socket.if_nametoindex("eth0")
            changes = NetworkChanges()
            await changes.__aenter__()
        network.cut(1)
        network.heal(1)
        seen: set[int] = set()
        while index not in seen:
            await asyncio.wait_for(changes.next(), 10)
            seen |= changes.interrupted()
        assert changes.interrupted() == set()
        await changes.__aexit__()


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
