"""A connection's worst days. What goes well is in tests/rpc/test_channel.py, over every way."""

import asyncio
import gc
import weakref

import pytest

import splnode
from splnode.avro.protocol import Protocol
from splnode.errors import CallError, Code, EncodeError
from splnode.limits import Limits
from splnode.net import connection
from splnode.net.channel import EndpointChannel
from splnode.rpc.client import Client
from splnode.wire.message import Contract
from tests.net.conftest import QUICK, peer, turns
from tests.rpc.conftest import PROTOCOL, Inventory


async def test_calls_in_flight_fail_when_the_server_goes_and_say_that_they_may_have_run() -> None:
    inventory = Inventory()
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: inventory}) as server:
        async with splnode.connect(server.endpoints[0], PROTOCOL) as client:
            calls = [asyncio.create_task(client.wait(name=str(i))) for i in range(3)]
            await asyncio.wait_for(inventory.began.wait(), 20)
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
            with pytest.raises(CallError, match="no answer to a ping within 1 s"):
                await client.add(1, 2)


async def test_more_calls_than_fit_wait_for_room() -> None:
    inventory = Inventory()
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: inventory}) as server:
        limits = Limits(calls_per_connection=2)
        async with splnode.connect(server.endpoints[0], PROTOCOL, limits=limits) as client:
            blocked = [asyncio.create_task(client.wait(name=str(i))) for i in range(2)]
            while len(inventory.waiting) < 2:
                inventory.began.clear()
                await asyncio.wait_for(inventory.began.wait(), 20)
            third = asyncio.create_task(client.add(1, 2))
            with pytest.raises(CallError, match="not sent before the deadline") as caught:
                await client.call("add", {"a": 1}, timeout=0.05)
            assert not caught.value.started
            inventory.waiting["0"].set_result("")
            assert await asyncio.wait_for(third, 20) == 3
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


async def test_who_waits_for_room_is_told_when_the_connection_is_lost() -> None:
    inventory = Inventory()
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: inventory}) as server:
        limits = Limits(calls_per_connection=1)
        async with splnode.connect(server.endpoints[0], PROTOCOL, limits=limits) as client:
            blocked = asyncio.create_task(client.wait(name=""))
            await asyncio.wait_for(inventory.began.wait(), 20)
            waiting = [asyncio.create_task(client.add(1, 2)) for _ in range(3)]
            await turns()
            await server.close()
            for call in waiting:
                with pytest.raises(CallError) as caught:
                    await asyncio.wait_for(call, 20)
                assert (caught.value.code, caught.value.started) == (Code.UNAVAILABLE, False)
            await asyncio.gather(blocked, return_exceptions=True)


async def test_many_that_wait_for_room_go_in_the_order_they_came() -> None:
    ran: list[object] = []

    class Told(Inventory):
        async def echo(self, value: object) -> object:
            ran.append(value)
            await asyncio.sleep(0)
            return value

    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Told()}) as server:
        limits = Limits(calls_per_connection=3)
        async with splnode.connect(server.endpoints[0], PROTOCOL, limits=limits) as client:
            calls = [asyncio.create_task(client.echo(value=number)) for number in range(500)]
            calls.append(asyncio.create_task(client.call("echo", {"value": object()})))
            for number in (100, 101, 400):
                calls[number].cancel()
            results = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 10)
    done = [result for result in results if isinstance(result, int)]
    assert done == ran == [number for number in range(500) if number not in (100, 101, 400)]
    assert isinstance(results[-1], EncodeError)


@pytest.mark.parametrize("when", range(12))
async def test_cancelled_at_any_moment_it_leaves_nothing(when: int) -> None:
    """Before it is sent, in line, while it runs, when the answer is there."""
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}) as server:
        limits = Limits(calls_per_connection=1)
        channel = EndpointChannel(server.endpoints[0], Contract(PROTOCOL), limits=limits)
        client = Client(channel, Contract(PROTOCOL))
        await channel.connect()
        line = channel._connection
        first, second = (asyncio.create_task(client.add(1, 2)) for _ in range(2))
        await turns(when)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert await asyncio.wait_for(second, 20) == 3
        assert await asyncio.wait_for(client.add(2, 2), 20) == 4
        assert line.in_flight == line._line.called == len(line._line.waiting) == 0
        while line._session.in_flight:
            await asyncio.sleep(0)  # what was cancelled is answered all the same
        await channel.close()


async def test_an_error_is_gone_with_its_caller_without_the_collector() -> None:
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}) as server:
        async with splnode.connect(server.endpoints[0], PROTOCOL) as client:
            gc.collect()
            gc.disable()
            try:
                for how, timeout in (("code", 5.0), ("slow", 0.02)):
                    with pytest.raises(CallError) as caught:
                        if how == "slow":
                            await client.call("wait", {"name": "x"}, timeout=timeout)
                        else:
                            await client.fail(how=how)
                    gone = weakref.ref(caught.value)
                    del caught
                    await turns()
                    assert gone() is None
            finally:
                gc.enable()


async def test_closing_waits_for_what_was_written() -> None:
    inventory = Inventory()
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: inventory}) as server:
        channel = EndpointChannel(server.endpoints[0], Contract(PROTOCOL))
        client = Client(channel, Contract(PROTOCOL))
        await client.add(1, 1)
        line = channel._connection
        await client.tell(text="x" * 4_000_000)
        await channel.close()
        assert line._gone.is_set()
        await asyncio.wait_for(inventory.heard.wait(), 20)


async def test_closing_does_not_wait_for_who_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LINGER", 0.1)
    deaf = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", server.endpoints[0].port)
        try:
            back.write(await reader.read(65536))
            writer.write(await there.read(65536))
            await deaf.wait()
        finally:
            back.close()

    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}) as server:
        async with peer(script) as endpoint:
            channel = EndpointChannel(endpoint, Contract(PROTOCOL))
            client = Client(channel, Contract(PROTOCOL))
            await channel.connect()
            line = channel._connection
            while not line._paused:
                await client.tell(text="x" * 1_000_000)
            await asyncio.wait_for(channel.close(), 20)
            await turns()
            assert line._gone.is_set()
            deaf.set()


async def test_two_that_write_much_at_once_do_not_wait_for_each_other() -> None:
    large = "x" * 3_000_000
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}) as server:
        async with splnode.connect(server.endpoints[0], PROTOCOL) as client:
            answers = await asyncio.wait_for(asyncio.gather(*(client.echo(value=large) for _ in range(40))), 30)
            assert all(answer == large for answer in answers)


async def test_a_call_of_another_contract_may_be_wrong_about_what_is_one_way() -> None:
    two_way = Protocol.parse(PROTOCOL.text.replace('"one-way": true', '"x": true'))
    assert not two_way.messages["tell"].one_way
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}) as server:
        channel = EndpointChannel(server.endpoints[0], Contract(PROTOCOL))
        assert await Client(channel, two_way, timeout=5).tell(text="x") is None
        await channel.close()
