"""A connection's worst days. What goes well is in tests/rpc/test_channel.py, over every way."""

import asyncio

import pytest

import splnode
from splnode.errors import CallError, Code
from splnode.limits import Limits
from splnode.net.channel import EndpointChannel
from splnode.rpc.client import Client
from splnode.wire.message import Contract
from tests.net.conftest import QUICK, peer
from tests.rpc.conftest import PROTOCOL, Inventory


async def test_calls_in_flight_fail_when_the_server_goes_and_say_that_they_may_have_run() -> None:
    inventory = Inventory()
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: inventory}) as server:
        async with splnode.connect(server.endpoints[0], PROTOCOL) as client:
            calls = [asyncio.create_task(client.wait(name=str(i))) for i in range(3)]
            await asyncio.wait_for(inventory.began.wait(), 5)
            await server.close()
            for call in calls:
                with pytest.raises(CallError, match="the call may have run") as caught:
                    await call
                assert (caught.value.code, caught.value.started) == (Code.UNAVAILABLE, True)


async def test_garbage_from_a_server_ends_the_connection() -> None:
    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"\xff" * 64)
        await reader.read()

    async with peer(garbage) as endpoint:
        channel = EndpointChannel(endpoint, Contract(PROTOCOL), settings=QUICK)
        with pytest.raises(CallError) as caught:
            await channel.connect()
        assert caught.value.code is Code.UNAVAILABLE
        assert str(endpoint) in str(caught.value)
        await channel.close()


async def test_a_server_that_falls_silent_is_given_up() -> None:
    """Half-open: it answered once, then its host is gone and no packet says so."""
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}) as server:
        cut = asyncio.Event()

        async def wire(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, back = await asyncio.open_connection("127.0.0.1", server.endpoints[0].port)

            async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
                while data := await source.read(65536):
                    if not cut.is_set():
                        sink.write(data)

            try:
                await asyncio.gather(pump(reader, back), pump(there, writer))
            finally:
                back.close()

        async with peer(wire) as endpoint, splnode.connect(endpoint, PROTOCOL, settings=QUICK) as client:
            assert await client.add(1, 2) == 3
            cut.set()
            with pytest.raises(CallError, match=r"no answer to a ping within 0\.2 s"):
                await client.add(1, 2)


async def test_more_calls_than_fit_wait_for_room() -> None:
    inventory = Inventory()
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: inventory}) as server:
        limits = Limits(calls_per_connection=2)
        async with splnode.connect(server.endpoints[0], PROTOCOL, limits=limits) as client:
            blocked = [asyncio.create_task(client.wait(name=str(i))) for i in range(2)]
            while len(inventory.waiting) < 2:
                inventory.began.clear()
                await asyncio.wait_for(inventory.began.wait(), 5)
            third = asyncio.create_task(client.add(1, 2))
            with pytest.raises(CallError, match="not sent before the deadline") as caught:
                await client.call("add", {"a": 1}, timeout=0.05)
            assert not caught.value.started
            inventory.waiting["0"].set_result("")
            assert await asyncio.wait_for(third, 5) == 3
            inventory.waiting["1"].set_result("")
            await asyncio.gather(*blocked)


async def test_a_reader_that_stands_still_makes_calls_wait_not_memory_grow() -> None:
    stop = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", server.endpoints[0].port)
        try:
            back.write(await reader.read(65536))
            writer.write(await there.read(65536))
            await stop.wait()  # the handshake went through; nothing more is read
        finally:
            back.close()

    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}) as server:
        async with peer(deaf) as endpoint, splnode.connect(endpoint, PROTOCOL) as client:
            large = "x" * 1_000_000
            calls = [asyncio.create_task(client.call("echo", {"value": large}, timeout=0.3)) for _ in range(50)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert all(isinstance(r, CallError) and r.code is Code.DEADLINE_EXCEEDED for r in results)
            unsent = [r for r in results if isinstance(r, CallError) and not r.started]
            assert len(unsent) > 25  # they were never encoded: what waits in the socket's buffers is bounded
            stop.set()


async def test_a_client_that_shares_its_channel() -> None:
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}) as server:
        contract = Contract(PROTOCOL)
        channel = EndpointChannel(server.endpoints[0], contract)
        first, second = Client(channel, contract), Client(channel, contract)
        assert await asyncio.gather(first.add(1, 1), second.add(2, 2)) == [2, 4]
        await channel.close()
        with pytest.raises(CallError, match="closed"):
            await first.add(1, 1)
