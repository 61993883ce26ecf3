import asyncio
import gc
import weakref
from contextvars import ContextVar

import pytest

import splnode
from splnode.avro.protocol import Protocol
from splnode.config import ChannelsConfig
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code
from splnode.net.channel import EndpointChannel, State
from splnode.rpc.client import Client
from splnode.wire.message import Contract
from splnode.wire.session import ClientProtocols, Directory, ServerSession
from tests.net.conftest import QUICK, forget_cancelled_timers, peer, silence, turns
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
        assert all(isinstance(r, CallError) and "no handshake within 1 s" in r.message for r in results)
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


NOWHERE = Endpoint.parse("tcp://127.0.0.1:1")
FAST = ChannelsConfig(backoff_initial=1e-6, backoff_max=1.0, backoff_jitter=0.0, backoff_factor=100)


async def test_backing_off_goes_on_however_long_it_takes() -> None:
    channel = EndpointChannel(NOWHERE, CONTRACT, settings=FAST)
    delays = []
    for _ in range(200):
        delays.append(channel._backoff)
        with pytest.raises(CallError, match="connection refused"):
            await channel.connect()
        assert channel.state is State.TRANSIENT_FAILURE
        channel._retry_at = 0.0
    assert delays[:5] == pytest.approx([1e-6, 1e-4, 1e-2, 1, 1])
    assert delays[-1] == 1.0
    await channel.close()


async def test_nobody_left_to_hear_why_it_failed() -> None:
    said: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
    async with peer(silence) as endpoint:
        channel = EndpointChannel(endpoint, CONTRACT, settings=QUICK)
        with pytest.raises(CallError):
            await Client(channel, CONTRACT).call("add", {"a": 1}, timeout=0.01)
        dial = channel._dial
        assert dial is not None
        await asyncio.wait([dial])
        del dial
        gc.collect()
        await turns()
        assert said == []
        assert channel.state is State.TRANSIENT_FAILURE
        await channel.close()


async def test_every_caller_gets_an_error_of_its_own_and_none_is_kept() -> None:
    class Large:
        pass

    async def calling() -> "tuple[weakref.ref[Large], weakref.ref[CallError], str]":
        large = Large()
        with pytest.raises(CallError) as caught:
            await Client(channel, CONTRACT).call("add", {"a": 1, "unused": large})
        return weakref.ref(large), weakref.ref(caught.value), caught.value.message

    channel = EndpointChannel(NOWHERE, CONTRACT, settings=QUICK)
    tasks = [asyncio.create_task(calling()) for _ in range(3)]
    outcomes = [await task for task in tasks]
    assert len({message for _, _, message in outcomes}) == 1
    gc.collect()
    assert [(large(), error()) for large, error, _ in outcomes] == [(None, None)] * 3
    assert channel.last_error
    await channel.close()


async def test_a_connection_lost_in_the_moment_it_was_ready_is_not_ready() -> None:
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}) as server:
        channel = EndpointChannel(server.endpoints[0], CONTRACT, settings=QUICK)
        original = channel._open

        async def losing() -> object:
            connection = await original()
            connection.abort()
            return connection

        channel._open = losing  # type: ignore[assignment, method-assign]  # what a server that closes at once does
        with pytest.raises(CallError) as caught:
            await Client(channel, CONTRACT).add(1, 1)
        assert not caught.value.started
        assert channel.state is State.IDLE
        channel._open = original  # type: ignore[method-assign]  # as it was
        assert await Client(channel, CONTRACT).add(1, 1) == 2
        await channel.close()


async def test_what_is_no_name_of_a_host() -> None:
    channel = EndpointChannel(Endpoint("tcp", "a" * 64 + ".com", 1), CONTRACT, settings=QUICK)
    with pytest.raises(CallError, match="cannot connect to tcp://aaa"):
        await channel.connect()
    assert channel.state is State.TRANSIENT_FAILURE
    await channel.close()


async def test_closed_while_it_dials_nothing_stays_open() -> None:
    accepted, ended = asyncio.Event(), asyncio.Event()

    async def watching(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        try:
            while await reader.read(65536):
                pass
        finally:
            ended.set()

    async with peer(watching) as endpoint:
        for moment in range(30):
            channel = EndpointChannel(endpoint, CONTRACT, settings=QUICK)
            call = asyncio.create_task(Client(channel, CONTRACT).add(1, 1))
            await turns(moment)
            await channel.close()
            with pytest.raises(CallError, match="closed") as caught:
                await call
            assert not caught.value.started
            assert channel.state is State.SHUTDOWN
            if accepted.is_set():
                await asyncio.wait_for(ended.wait(), 20)
            accepted.clear()
            ended.clear()


async def test_a_connection_does_not_keep_the_call_that_wanted_it() -> None:
    class Large:
        pass

    whose: ContextVar[object] = ContextVar("whose", default=None)

    async def first() -> "weakref.ref[Large]":
        large = Large()
        whose.set(large)
        await Client(channel, CONTRACT).add(1, 1)
        return weakref.ref(large)

    for scheme in ("tcp", "http+avro"):
        async with splnode.listen([f"{scheme}://127.0.0.1:0"], {PROTOCOL: Inventory()}) as server:
            channel = EndpointChannel(server.endpoints[0], CONTRACT)
            gone = await asyncio.create_task(first())
            await turns()
            forget_cancelled_timers()
            gc.collect()
            assert gone() is None
            await channel.close()


async def test_over_http_too_it_says_when_nobody_is_there() -> None:
    async with splnode.listen(["http+avro://127.0.0.1:0/"], {PROTOCOL: Inventory()}) as server:
        channel = EndpointChannel(server.endpoints[0], CONTRACT, settings=QUICK)
        client = Client(channel, CONTRACT)
        assert await client.add(1, 1) == 2
        assert channel.state is State.READY
    await turns()
    for state in (State.IDLE, State.TRANSIENT_FAILURE):
        with pytest.raises(CallError, match="connection refused") as caught:
            await client.add(1, 1)
        assert not caught.value.started
        assert channel.state is state
    with pytest.raises(CallError, match="next try in"):
        await client.add(1, 1)
    await channel.close()


async def test_every_change_of_its_state_is_told() -> None:
    seen: list[State] = []
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}) as server:
        channel = EndpointChannel(
            server.endpoints[0], CONTRACT, settings=QUICK, changed=lambda: seen.append(channel.state)
        )
        await channel.connect()
        await server.close()
        while channel.state is State.READY:
            await asyncio.sleep(0)
    assert channel.last_error == "the peer closed the connection"
    with pytest.raises(CallError):
        await channel.connect()
    await channel.close()
    failing = [State.CONNECTING, State.TRANSIENT_FAILURE, State.SHUTDOWN]
    assert seen == [State.CONNECTING, State.READY, State.IDLE, *failing]


async def test_a_ping_says_that_the_peer_is_there() -> None:
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}) as server:
        channel = EndpointChannel(server.endpoints[0], CONTRACT, settings=QUICK)
        with pytest.raises(CallError, match="is not connected"):
            await channel.ping(1)
        await channel.connect()
        assert await channel.ping(5) == {}
        calling = asyncio.create_task(Client(channel, CONTRACT).wait(name="a"))  # a call in flight does not hold it up
        assert await channel.ping(5) == {}
        calling.cancel()
        await channel.close()


async def test_a_peer_that_stands_still_answers_no_ping() -> None:
    async def greets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = ServerSession(Directory([CONTRACT]), ClientProtocols())
        while not session.established:
            session.receive_data(await reader.read(65_536))
            writer.writelines(session.data_to_send())
        await silence(reader, writer)

    async with peer(greets) as endpoint:
        channel = EndpointChannel(endpoint, CONTRACT, settings=QUICK)
        await channel.connect()
        with pytest.raises(CallError, match=r"no answer to a ping within 0\.01 s") as caught:
            await channel.ping(0.01)
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        pinging = asyncio.create_task(channel.ping(5))
        calling = asyncio.create_task(Client(channel, CONTRACT).add(1, 1))
        await turns()
        channel.abort("it stands still")
        for waiting in (pinging, calling):
            with pytest.raises(CallError, match="it stands still") as caught:
                await waiting
            assert caught.value.code is Code.UNAVAILABLE
        assert channel.last_error == "it stands still"
        await channel.connect()  # a new connection
        await channel.close()


@pytest.mark.parametrize("framing", ["spec", "http"])
async def test_where_answers_come_in_order_nobody_is_asked(framing: str) -> None:
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}) as server:
        endpoint = Endpoint.parse(f"{server.endpoints[0]}?framing={framing}")
        channel = EndpointChannel(endpoint, CONTRACT, settings=QUICK)
        await channel.connect()
        assert await channel.ping(0.001) == {}
        await channel.close()


async def test_a_peer_that_has_started_anew_is_dialled_at_once() -> None:
    endpoint = Endpoint.parse("tcp://127.0.0.1:1")
    channel = EndpointChannel(endpoint, CONTRACT, settings=ChannelsConfig(backoff_initial=600, backoff_max=600))
    for _ in range(2):
        with pytest.raises(CallError):
            await channel.connect()
    with pytest.raises(CallError, match="next try in"):
        await channel.connect()
    channel.forget()
    with pytest.raises(CallError) as caught:
        await channel.connect()
    assert "next try" not in caught.value.message
    await channel.close()
