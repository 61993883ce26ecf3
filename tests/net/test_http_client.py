"""Our client against HTTP servers that are not ours."""

import asyncio

import pytest

import splnode
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code
from splnode.wire.framing import spec_frame
from tests.net.conftest import QUICK, Script, peer
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
                await asyncio.wait_for(inventory.began.wait(), 5)
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
