import asyncio
from pathlib import Path

import pytest

from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code
from splnode.net.connect import open_transport
from tests.net.conftest import peer, silence


async def test_opens_and_gives_the_protocol() -> None:
    async with peer(silence) as endpoint:
        protocol = await open_transport(endpoint, asyncio.Protocol, 5)
        assert isinstance(protocol, asyncio.Protocol)


async def refused(endpoint: Endpoint) -> CallError:
    with pytest.raises(CallError) as caught:
        await open_transport(endpoint, asyncio.Protocol, 5)
    assert (caught.value.code, caught.value.started) == (Code.UNAVAILABLE, False)
    return caught.value


async def test_nobody_listens(tmp_path: Path) -> None:
    async with peer(silence) as endpoint:
        pass
    assert "connection refused; is the node running?" in str(await refused(endpoint))
    assert "no such socket file" in str(await refused(Endpoint.parse(f"unix://{tmp_path}/none")))
    (tmp_path / "file").write_text("")
    assert f"unix://{tmp_path}/file" in str(await refused(Endpoint.parse(f"unix://{tmp_path}/file")))


async def test_a_name_that_does_not_resolve() -> None:
    assert "tcp://no.such.host.invalid:1" in str(await refused(Endpoint.parse("tcp://no.such.host.invalid:1")))
