"""Our client against HTTP servers that are not ours."""

import asyncio

import pytest

import splnode
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code, EncodeError
from splnode.net.channel import EndpointChannel
from splnode.rpc.client import Client
from splnode.wire.handshake import HandshakeResponse, Match, write_response
from splnode.wire.message import Contract
from splnode.wire.spec import spec_frame
from tests.net.conftest import QUICK, Script, peer, turns
from tests.rpc.conftest import PROTOCOL, Inventory

THREE = spec_frame(bytes(4), b"\0", b"\0", b"\x06")


def saying(*answers: bytes) -> Script:
    """Answers one request after another; then closes."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().split(b"content-length:")[1].split(b"\r\n")[0]
            await reader.readexactly(int(length))
            writer.write(answer)
            await writer.drain()

    return script


def over_http(endpoint: Endpoint) -> Endpoint:
    return Endpoint("http+avro", endpoint.host, endpoint.port, "/x", framing="http")


def ok(body: bytes, more: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + more + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


@pytest.mark.parametrize(
    "answer",
    [
        ok(THREE),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(THREE), THREE),
        b"HTTP/1.1 200 OK\r\n\r\n" + THREE,  # its end is the end of the connection
        b"HTTP/1.0 200 OK\r\n\r\n" + THREE,
        ok(THREE + bytes(4)),  # a second terminator
    ],
)
async def test_answers_in_every_shape(answer: bytes) -> None:
    async with peer(saying(answer)) as endpoint, splnode.connect(over_http(endpoint), PROTOCOL) as client:
        assert await client.add(1, 2) == 3


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 6\r\n\r\nbroken", "HTTP status 500: broken"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP status 404"),
        (ok(b"<html>"), "the call may have run"),
        (ok(b""), "the call may have run"),
        (ok(THREE[:-5]), "the call may have run"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort", "the call may have run"),
    ],
)
async def test_what_is_no_answer_is_an_error_that_says_so(answer: bytes, said: str) -> None:
    async with peer(saying(answer)) as endpoint, splnode.connect(over_http(endpoint), PROTOCOL) as client:
        with pytest.raises(CallError) as caught:
            await client.add(1, 2)
        assert caught.value.code is Code.UNAVAILABLE
        assert said in caught.value.message
        assert f":{endpoint.port}" in caught.value.message


async def test_a_closed_connection_is_replaced() -> None:
    async with peer(saying(ok(THREE, b"Connection: close\r\n"))) as endpoint:
        async with splnode.connect(over_http(endpoint), PROTOCOL) as client:
            for _ in range(3):
                assert await client.add(1, 2) == 3


async def test_connections_are_kept_and_many_calls_run_at_a_time() -> None:
    inventory = Inventory()
    async with splnode.listen(["http+avro://127.0.0.1:0/"], {PROTOCOL: inventory}) as server:
        async with splnode.connect(server.endpoints[0], PROTOCOL) as client:
            calls = [asyncio.create_task(client.wait(name=str(i))) for i in range(40)]
            while len(inventory.waiting) < 32:  # so many connections at the most
                inventory.began.clear()
                await asyncio.wait_for(inventory.began.wait(), 20)
            done = 0
            while done < 40:
                for future in [f for f in inventory.waiting.values() if not f.done()]:
                    future.set_result("")
                    done += 1
                await asyncio.sleep(0)
            assert await asyncio.gather(*calls) == [""] * 40


async def test_nobody_there() -> None:
    async with peer(saying()) as endpoint:
        pass
    with pytest.raises(CallError, match="connection refused") as caught:
        async with splnode.connect(over_http(endpoint), PROTOCOL, settings=QUICK):
            pass
    assert not caught.value.started


async def test_a_second_answer_is_not_taken_for_that_of_the_next_call() -> None:
    four = spec_frame(bytes(4), b"\0", b"\0", b"\x08")
    connections = 0

    async def generous(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await saying(ok(THREE) + ok(four) + ok(four))(reader, writer)
        await reader.read()

    async with peer(generous) as endpoint, splnode.connect(over_http(endpoint), PROTOCOL) as client:
        for _ in range(3):
            assert await client.add(1, 2) == 3
        assert connections == 3


async def test_a_server_that_talks_unasked_is_hung_up_on() -> None:
    ended = asyncio.Event()

    async def talking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await saying(ok(THREE))(reader, writer)
        try:
            while True:
                writer.write(bytes(65536))
                await writer.drain()
        finally:
            ended.set()

    async with peer(talking) as endpoint, splnode.connect(over_http(endpoint), PROTOCOL) as client:
        assert await client.add(1, 2) == 3
        await asyncio.wait_for(ended.wait(), 20)


async def test_closing_ends_calls_that_run_and_those_that_wait_for_a_connection() -> None:
    inventory = Inventory()
    async with splnode.listen(["http+avro://127.0.0.1:0/"], {PROTOCOL: inventory}) as server:
        channel = EndpointChannel(server.endpoints[0], Contract(PROTOCOL))
        client = Client(channel, channel.contract)
        calls = [asyncio.create_task(client.wait(name=str(i))) for i in range(40)]
        while len(inventory.waiting) < 32:  # so many connections at the most
            inventory.began.clear()
            await asyncio.wait_for(inventory.began.wait(), 20)
        await channel.close()
        results = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 20)
        assert all(isinstance(r, CallError) and r.code is Code.UNAVAILABLE for r in results)
        assert [r.started for r in results if isinstance(r, CallError)] == [True] * 32 + [False] * 8


async def test_out_of_time_before_it_was_sent() -> None:
    inventory = Inventory()
    async with splnode.listen(["http+avro://127.0.0.1:0/"], {PROTOCOL: inventory}) as server:
        async with splnode.connect(server.endpoints[0], PROTOCOL) as client:
            calls = [asyncio.create_task(client.wait(name=str(i))) for i in range(32)]
            while len(inventory.waiting) < 32:
                inventory.began.clear()
                await asyncio.wait_for(inventory.began.wait(), 20)
            with pytest.raises(CallError) as caught:
                await client.call("add", {"a": 1}, timeout=0.05)
            assert (caught.value.code, caught.value.started) == (Code.DEADLINE_EXCEEDED, False)
            calls[0].cancel()
            with pytest.raises(CallError) as caught:
                await client.call("wait", {"name": "x"}, timeout=0.1)
            assert (caught.value.code, caught.value.started) == (Code.DEADLINE_EXCEEDED, True)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)


@pytest.mark.parametrize("moment", range(14))
async def test_cancelled_at_any_moment_it_leaves_nothing(moment: int) -> None:
    async with splnode.listen(["http+avro://127.0.0.1:0/"], {PROTOCOL: Inventory()}) as server:
        channel = EndpointChannel(server.endpoints[0], Contract(PROTOCOL))
        client = Client(channel, channel.contract)
        await channel.connect()
        pool = channel._connection
        call = asyncio.create_task(client.add(1, 2))
        await turns(moment)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert not pool._busy
        assert len(pool._idle) <= 1
        assert await asyncio.gather(*(client.add(1, number) for number in range(40))) == [1 + n for n in range(40)]
        await channel.close()
        while server._listener.host.connections:
            await asyncio.sleep(0)


async def test_bad_parameters_cost_no_connection() -> None:
    async with splnode.listen(["http+avro://127.0.0.1:0/"], {PROTOCOL: Inventory()}) as server:
        async with splnode.connect(server.endpoints[0], PROTOCOL) as client:
            assert await client.add(1, 1) == 2
            (line,) = server._listener.host.connections
            for _ in range(3):
                with pytest.raises(EncodeError):
                    await client.add("x", 1)
                assert await client.add(1, 1) == 2
            assert server._listener.host.connections == {line}


async def test_any_path_can_be_asked_for() -> None:
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}) as server:
        where = Endpoint("http+avro", "127.0.0.1", server.endpoints[0].port, "/\u00e4 b%20?#/Inventory", framing="http")
        async with splnode.connect(where, PROTOCOL) as client:
            assert await client.add(1, 1) == 2


async def test_a_protocol_that_cannot_be_read_is_no_discovery() -> None:
    answer = spec_frame(write_response(HandshakeResponse(Match.NONE, "{", bytes(16))), b"\0\0")
    async with peer(saying(ok(answer), ok(answer))) as endpoint:
        with pytest.raises(CallError, match="no handshake in the answer"):
            await splnode.discover(over_http(endpoint), "X")
