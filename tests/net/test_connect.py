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


async def test_what_no_system_can_have_is_an_error_that_says_so() -> None:
    assert "tcp://aaa" in str(await refused(Endpoint("tcp", "a" * 64 + ".com", 1)))
    assert "unix:///tmp/" in str(await refused(Endpoint("unix", path="/tmp/" + "a" * 200)))


@pytest.mark.parametrize("moment", range(10))
async def test_given_up_at_any_moment_it_leaves_nothing_open(moment: int) -> None:
    there: set[asyncio.StreamWriter] = set()

    async def watching(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there.add(writer)
        try:
            await reader.read()
        finally:
            there.discard(writer)

    async with peer(watching) as endpoint:
        opening = asyncio.create_task(open_transport(endpoint, asyncio.Protocol, 5))
        for _ in range(moment):
            await asyncio.sleep(0)
        opening.cancel()
        (outcome,) = await asyncio.gather(opening, return_exceptions=True)
        if isinstance(outcome, asyncio.Protocol):
            return  # it was there already, and is its caller's
        for _ in range(50):
            await asyncio.sleep(0.001)  # clock: a connection may still be on its way to be accepted
        assert not there
