"""Rates over real sockets: by each framing, on both engines."""

import asyncio
from typing import Any

import pytest

import splnode
from splnode.errors import CallError, Code
from splnode.limits import Limits
from splnode.net.metered import MeteredConnection, MeteredHttpConnection
from tests.net.test_accepted import PING, PONG, call, ended
from tests.rpc.conftest import PROTOCOL, Inventory


async def test_calls_beyond_the_rate_are_told_when_to_come_back() -> None:
    limits = Limits(calls_per_second=5)
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}, limits=limits) as server:
        async with splnode.connect(server.endpoints[0], PROTOCOL) as client:
            answers = await asyncio.gather(*(client.add(a=1, b=n) for n in range(20)), return_exceptions=True)
            refused = [each for each in answers if isinstance(each, CallError)]
            assert 5 <= len(refused) <= 15  # a token may come meanwhile
            for each in refused:
                assert (each.code, each.started) == (Code.RESOURCE_EXHAUSTED, False)
                assert each.retry_after is not None and 0 < each.retry_after <= 1
                assert "calls_per_second = 5" in each.message
        async with splnode.connect(server.endpoints[0], PROTOCOL) as client:
            with pytest.raises(CallError, match="calls_per_second"):  # another connection of the same peer
                for _ in range(60):
                    await client.add(a=1, b=1)


async def test_a_rate_that_is_not_reached_is_not_felt() -> None:
    limits = Limits(calls_per_second=1e6, bytes_per_second=1e9)
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}, limits=limits) as server:
        async with splnode.connect(server.endpoints[0], PROTOCOL) as client:
            assert await asyncio.gather(*(client.add(a=1, b=n) for n in range(500))) == [1 + n for n in range(500)]
            assert await client.echo(value="x" * 1_000_000) == "x" * 1_000_000


async def test_who_sends_on_all_the_same_is_not_read() -> None:
    """Of two seconds' worth and more at once, and 100 kB are read in all, only a part is taken at first."""
    limits = Limits(bytes_per_second=20_000)
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}, limits=limits) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.endpoints[0].port)
        writer.write(PING)
        assert await asyncio.wait_for(reader.readexactly(len(PONG)), 20) == PONG
        writer.write(call(1, "echo", value="x" * 15_000) + call(2, "echo", value="x" * 15_000))
        first = await asyncio.wait_for(reader.readexactly(4), 20)
        writer.write(call(3, "echo", value="y" * 30_000))
        writer.write_eof()
        rest = await asyncio.wait_for(ended(reader), 30)
        assert first
        assert b"bytes_per_second = 20000" in rest
        writer.close()


async def test_http_too() -> None:
    limits = Limits(calls_per_second=2)
    async with splnode.listen(["http+avro://127.0.0.1:0/"], {PROTOCOL: Inventory()}, limits=limits) as server:
        async with splnode.connect(server.endpoints[0], PROTOCOL) as client:
            answers: list[Any] = await asyncio.gather(
                *(client.add(a=1, b=n) for n in range(12)), return_exceptions=True
            )
            refused = [each for each in answers if isinstance(each, CallError)]
            assert 4 <= len(refused) <= 10  # as above
            assert all("calls_per_second" in each.message for each in refused)


@pytest.mark.parametrize("scheme", ["tcp", "http+avro"])
async def test_bytes_of_many_calls(scheme: str) -> None:
    limits = Limits(bytes_per_second=50_000)
    async with splnode.listen([f"{scheme}://127.0.0.1:0"], {PROTOCOL: Inventory()}, limits=limits) as server:
        async with splnode.connect(server.endpoints[0], PROTOCOL) as client:
            text = "x" * 10_000
            answers: list[Any] = await asyncio.gather(
                *(client.echo(value=text) for _ in range(12)), return_exceptions=True
            )
            assert answers.count(text) >= 4
            assert any(isinstance(each, CallError) and "bytes_per_second" in each.message for each in answers)
            await asyncio.sleep(1.2)  # clock: tokens come with the time
            assert await client.echo(value=text) == text


def test_they_have_no_state_of_their_own() -> None:
    assert MeteredConnection.__slots__ == MeteredHttpConnection.__slots__ == ()
