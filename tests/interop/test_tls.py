"""Stock clients of other implementations call a splnode service over TLS."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

import splnode
from tests.interop.peer import PROTOCOLS, Peer, PeerError, Remote, RemoteFailure
from tests.interop.service import DEPOT, Depot
from tests.interop.test_peers_call_us import ITEM
from tests.net.certificates import Mesh

WAYS = [
    ("avsc", "tls"), ("avsc", "https"), ("avsc", "tls-function"),
    ("java", "netty-tls"), ("java", "https"),
    ("python_avro", "https"),
]  # fmt: skip


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    async with splnode.listen(["tls://127.0.0.1:0"], {DEPOT: Depot()}, tls=Mesh(tmp_path).tls("kitchen")) as server:
        yield server.endpoints[0].port


async def opened(peer: Peer, transport: str, port: int, authority: Path | None) -> Remote:
    trusted = {"ca": str(authority)} if authority is not None else {}
    where = {"transport": transport, "host": "localhost", "port": port, "resource": "/", **trusted}
    answer = await peer.ask("open", protocol=str(PROTOCOLS / "depot.avpr"), **where)
    return Remote(peer, answer["ok"])


@pytest.mark.parametrize(("name", "transport"), WAYS)
async def test_calls_errors_and_large_values(
    peer_named: Callable[[str], Peer], port: int, tmp_path: Path, name: str, transport: str
) -> None:
    client = await opened(peer_named(name), transport, port, tmp_path / "home" / "authority.pem")
    try:
        assert await client.call("reserve", {"item": ITEM}) == ITEM | {"labels": ["heavy", "grün", "reserved"]}
        large = bytes(range(256)) * 4000
        assert await client.call("blob", {"data": large}) == large
        with pytest.raises(RemoteFailure) as caught:
            await client.call("reserve", {"item": ITEM | {"count": 11}})
        assert caught.value.declared == {"name": "com.acme.OutOfStock", "fields": {"sku": "A1", "left": 10}}
        assert await client.call("add", {"a": 1, "b": 2}) == 3
    finally:
        await client.ask("close")


async def test_one_that_speaks_plain_does_not_call(peer_named: Callable[[str], Peer], port: int) -> None:
    client = await opened(peer_named("python_avro"), "http", port, None)
    with pytest.raises((RemoteFailure, PeerError)):
        await client.call("add", {"a": 1, "b": 2})
    await client.ask("close")
