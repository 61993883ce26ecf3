import asyncio
import socket
from pathlib import Path

import pytest

from splnode.cli.failure import NoEndpointError
from splnode.cli.pinging import pinger
from splnode.cli.target import Target
from splnode.endpoint import Endpoint
from splnode.errors import CallError
from tests.cli.echo import serving


def at(path: Path, connect_timeout: float = 5.0) -> Target:
    return Target([Endpoint.parse(f"unix://{path}")], 5.0, connect_timeout, {})


async def test_a_server_that_goes(tmp_path: Path) -> None:
    with serving([f"unix://{tmp_path}/s"]):
        context = pinger(at(tmp_path / "s"))
        _, ping = await context.__aenter__()
        await ping()
        await ping()
    with pytest.raises(CallError, match="UNAVAILABLE"):
        for _ in range(3):  # the first may still be written before the end of the connection is read
            await ping()
    await context.__aexit__(None, None, None)


async def test_a_peer_that_says_nothing(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "s"))
        mute.listen()
        with pytest.raises(NoEndpointError, match="no handshake within"):
            await pinger(at(tmp_path / "s", 0.05)).__aenter__()


async def test_a_peer_that_is_no_avro(tmp_path: Path) -> None:
    class Chatty(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.WriteTransport)
            transport.write(b"220 mail.example.com ESMTP ready\r\n" * 10)
            transport.close()

    server = await asyncio.get_running_loop().create_unix_server(Chatty, tmp_path / "s")
    try:
        with pytest.raises(NoEndpointError, match="unix://"):
            await pinger(at(tmp_path / "s")).__aenter__()
    finally:
        server.close()
