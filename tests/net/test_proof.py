import asyncio
import os
import socket
from pathlib import Path

import pytest

import splnode
from splnode.identity import NOBODY
from splnode.net.proof import is_loopback, of_uid, proved, uid_of
from splnode.rpc.call import current_call
from tests.rpc.conftest import PROTOCOL, Inventory


class Who(Inventory):
    async def wait(self, name: str) -> str:
        who = current_call().identity
        return f"{who.name} {who.how} {' '.join(sorted(who.groups))}"


class Transport(asyncio.BaseTransport):
    def __init__(self, **extra: object) -> None:
        super().__init__(extra)


async def test_who_calls_is_known(tmp_path: Path) -> None:
    async with splnode.listen([f"unix://{tmp_path}/s", "tcp://127.0.0.1:0"], {PROTOCOL: Who()}) as server:
        async with splnode.connect(server.endpoints[0], PROTOCOL) as client:
            assert await client.wait(name="") == f"uid:{os.getuid()} unix anyone own"
        async with splnode.connect(server.endpoints[1], PROTOCOL) as client:
            assert await client.wait(name="") == "loopback tcp anyone loopback"
            spoof = {"spl-identity": b"node anyone own"}
            assert await client.call("wait", {"name": ""}, metadata=spoof) == "loopback tcp anyone loopback"


@pytest.mark.parametrize(
    ("host", "name", "group"),
    [
        ("127.0.0.1", "loopback", "loopback"),
        ("127.8.0.9", "loopback", "loopback"),
        ("::1", "loopback", "loopback"),
        ("::ffff:127.0.0.1", "loopback", "loopback"),
        ("10.0.0.7", "anyone", "insecure"),
        ("fe80::1%eth0", "anyone", "insecure"),
        ("::ffff:10.0.0.7", "anyone", "insecure"),
        ("1::127.0.0.1", "anyone", "insecure"),
    ],
)
def test_a_plain_connection_proves_no_more_than_where_it_comes_from(host: str, name: str, group: str) -> None:
    who = proved(Transport(peername=(host, 40_000)))
    assert who.name == name
    assert who.groups == {group, "anyone"}
    assert is_loopback(host) is (group == "loopback")


def test_uids() -> None:
    assert of_uid(os.getuid()).groups == of_uid(0).groups == {"own", "anyone"}
    assert of_uid(os.getuid() + 1).groups == {"unix", "anyone"}
    assert of_uid(None) is NOBODY
    assert proved(Transport()) is NOBODY
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert uid_of(ours) == os.getuid()
        assert proved(Transport(socket=ours)).groups == {"own", "anyone"}
    assert uid_of(ours) is None


class Certified:
    """What is asked of an ssl.SSLObject."""

    def __init__(self, uri: str, mesh: str) -> None:
        self.context = type("Context", (), {"mesh": mesh})()
        self._shown = {"subjectAltName": (("URI", uri),)} if uri else None

    def getpeercert(self) -> object:
        return self._shown


@pytest.mark.parametrize(
    ("uri", "host", "name", "groups"),
    [
        ("spiffe://home/node/kitchen", "10.0.0.7", "spiffe://home/node/kitchen", {"mesh", "anyone"}),
        ("spiffe://home/node/kitchen", "127.0.0.1", "spiffe://home/node/kitchen", {"mesh", "anyone"}),
        ("spiffe://away/node/kitchen", "10.0.0.7", "anyone", {"anyone"}),
        ("spiffe://home", "10.0.0.7", "anyone", {"anyone"}),
        ("", "10.0.0.7", "anyone", {"anyone"}),
        ("", "127.0.0.1", "loopback", {"loopback", "anyone"}),
    ],
)
def test_what_a_certificate_of_the_own_mesh_proves(uri: str, host: str, name: str, groups: set[str]) -> None:
    """Over TLS nobody is `insecure`: who shows no certificate is anyone."""
    who = proved(Transport(peername=(host, 40_000), ssl_object=Certified(uri, "home")))
    assert (who.name, set(who.groups)) == (name, groups)
    assert who.how == {"anyone": "tls", "loopback": "tcp"}.get(name, "certificate")
