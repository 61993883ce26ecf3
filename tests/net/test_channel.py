import asyncio

import pytest

import splnode
from splnode.avro.protocol import Protocol
from splnode.errors import CallError, Code
from splnode.net.channel import EndpointChannel, State
from splnode.rpc.client import Client
from splnode.wire.message import Contract
from tests.net.conftest import QUICK, peer, silence, turns
from tests.rpc.conftest import PROTOCOL, Inventory

CONTRACT = Contract(PROTOCOL)


async def test_dials_on_the_first_call_and_again_after_a_loss() -> None:
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}) as server:
        endpoint = server.endpoints[0]
        channel = EndpointChannel(endpoint, CONTRACT, settings=QUICK)
        client = Client(channel, CONTRACT)
        assert channel.state is State.IDLE
        assert await client.add(1, 1) == 2
        assert channel.state is State.READY
        await server.close()
        while channel.state is State.READY:
            await asyncio.sleep(0)
        assert channel.state is State.IDLE
    with pytest.raises(CallError) as caught:
        await client.add(1, 1)
    assert (caught.value.code, caught.value.started) == (Code.UNAVAILABLE, False)
    assert channel.state is State.TRANSIENT_FAILURE
    assert "connection refused" in channel.last_error
    async with splnode.listen([endpoint], {PROTOCOL: Inventory()}):
        while True:  # fails at once while it backs off
            try:
                assert await client.add(1, 1) == 2
                break
            except CallError as error:
                assert "next try in" in error.message
                assert error.retry_after is not None
                await asyncio.sleep(error.retry_after)  # clock: the backoff itself
        assert channel.state is State.READY
        assert channel.last_error == ""
        await channel.close()
    assert channel.state is State.SHUTDOWN


async def test_calls_that_come_together_share_one_dial() -> None:
    accepted = 0

    async def counting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        await reader.read()

    async with peer(counting) as endpoint:
        channel = EndpointChannel(endpoint, CONTRACT, settings=QUICK)
        client = Client(channel, CONTRACT)
        results = await asyncio.gather(*(client.add(1, 1) for _ in range(10)), return_exceptions=True)
        assert accepted == 1
        assert all(isinstance(r, CallError) and "no handshake within 0.3 s" in r.message for r in results)
        await channel.close()


async def test_accepting_and_never_answering_is_not_connected() -> None:
    async with peer(silence) as endpoint:
        with pytest.raises(CallError, match="connected, but no handshake within") as caught:
            async with splnode.connect(endpoint, PROTOCOL, settings=QUICK):
                pass
        assert not caught.value.started


async def test_a_caller_that_gives_up_leaves_the_dial_to_the_others() -> None:
    async with peer(silence) as endpoint:
        channel = EndpointChannel(endpoint, CONTRACT, settings=QUICK)
        client = Client(channel, CONTRACT)
        with pytest.raises(CallError) as caught:
            await client.call("add", {"a": 1}, timeout=0.01)
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        assert not caught.value.started
        assert channel.state is State.CONNECTING
        await channel.close()


async def test_closing_ends_what_waits_for_the_dial() -> None:
    async with peer(silence) as endpoint:
        channel = EndpointChannel(endpoint, CONTRACT, settings=QUICK)
        call = asyncio.create_task(Client(channel, CONTRACT).add(1, 1))
        await turns()
        await channel.close()
        with pytest.raises(CallError, match="closed"):
            await call
        await channel.close()


async def test_the_face_takes_a_path(tmp_path: object) -> None:
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}) as server:
        async with splnode.connect(str(server.endpoints[0]), "tests/rpc/inventory.avpr") as client:
            assert await client.add(1, 1) == 2


async def test_a_server_with_another_protocol_says_so() -> None:
    other = Protocol.parse('{"protocol": "Other", "messages": {"x": {"request": [], "response": "null"}}}')
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}) as server:
        async with splnode.connect(server.endpoints[0], other) as client:
            with pytest.raises(CallError, match=r"com\.acme\.Inventory has no message 'x'") as caught:
                await client.x()
            assert caught.value.code is Code.UNIMPLEMENTED
            assert not caught.value.started
