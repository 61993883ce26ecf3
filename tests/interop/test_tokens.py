"""Java's avro-ipc brings a token by SASL PLAIN, which goes over TLS through a tunnel: it
can have no other, since it speaks SASL to plain sockets alone.
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

import splnode
from splnode.access.policy import parse
from splnode.access.tokens import TokenFile, Tokens
from tests.interop.peer import PROTOCOLS, Peer, PeerError, Remote, RemoteFailure
from tests.interop.service import DEPOT, Depot
from tests.net.certificates import Mesh

POLICY = '[[rule]]\nwho = ["token:java"]\nallow = ["com.acme.Depot.add", "com.acme.Depot.blob"]\n'


class Served:
    """A Depot that one token may call, behind TLS; `plain` is where a tunnel to it begins."""

    def __init__(self, token: str, plain: int) -> None:
        self.token = token
        self.plain = plain


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture
async def tunnel(tmp_path: Path) -> AsyncIterator[Served]:
    file = TokenFile(tmp_path / "tokens.json")
    token = file.create("java", ["com.acme.Depot.add"], [], time.time(), None)
    mesh = Mesh(tmp_path)
    guard = splnode.Guard(parse(POLICY), Tokens(file.read()))
    believing = ssl.create_default_context(cafile=str(mesh.ca))
    async with splnode.listen(["tls://127.0.0.1:0"], {DEPOT: Depot()}, tls=mesh.tls("kitchen"), guard=guard) as server:
        port = server.endpoints[0].port

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                theirs, ours = await asyncio.open_connection("localhost", port, ssl=believing)
                await asyncio.gather(pump(reader, ours), pump(theirs, writer))

        async with await asyncio.start_server(relay, "127.0.0.1", 0) as listening:
            yield Served(token, listening.sockets[0].getsockname()[1])


async def opened(peer: Peer, served: Served, name: str, password: str) -> Remote:
    answer = await peer.ask(
        "open", protocol=str(PROTOCOLS / "depot.avpr"), transport="sasl-plain", host="localhost", port=served.plain,
        name=name, password=password,
    )  # fmt: skip
    return Remote(peer, answer["ok"])


async def test_java_logs_in_with_a_token(peer_named: Callable[[str], Peer], tunnel: Served) -> None:
    client = await opened(peer_named("java"), tunnel, "java", tunnel.token)
    assert await client.call("add", {"a": 1, "b": 2}) == 3
    with pytest.raises(RemoteFailure, match="token was not made for that"):
        await client.call("blob", {"data": b"x"})
    assert await client.call("add", {"a": 2, "b": 2}) == 4
    await client.ask("close")


@pytest.mark.parametrize(("name", "right"), [("java", False), ("root", True), ("", True)])
async def test_who_has_no_token_does_not(
    peer_named: Callable[[str], Peer], tunnel: Served, name: str, right: bool
) -> None:
    client = await opened(peer_named("java"), tunnel, name, tunnel.token if right else "spl_guessed")
    with pytest.raises((PeerError, RemoteFailure)) as caught:
        await client.call("add", {"a": 1, "b": 2})
    assert tunnel.token not in str(caught.value)
    await client.ask("close")
