import asyncio

import pytest

import splnode
from splnode.avro.protocol import Protocol
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code
from tests.net.conftest import peer, silence
from tests.rpc.conftest import PROTOCOL, Inventory

OTHER = Protocol.parse('{"protocol": "Other", "messages": {"x": {"request": [], "response": "null"}}}')


class Other:
    async def x(self) -> None: ...


@pytest.fixture(params=["tcp", "spec", "sasl", "http+avro"])
async def endpoint(request: pytest.FixtureRequest) -> object:
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory(), OTHER: Other()}) as server:
        found = server.endpoints[0]
        if request.param == "http+avro":
            yield Endpoint("http+avro", found.host, found.port, "/", framing="http")
        elif request.param != "tcp":
            yield found.replace(framing=request.param)
        else:
            yield found


async def test_gives_the_service_of_that_name_word_for_word(endpoint: Endpoint) -> None:
    assert (await splnode.discover(endpoint, "com.acme.Inventory")).text == PROTOCOL.text
    assert (await splnode.discover(endpoint, "Inventory")).text == PROTOCOL.text
    assert (await splnode.discover(endpoint, "Other")).text == OTHER.text


async def test_another_name_gives_what_the_server_has_first(endpoint: Endpoint) -> None:
    assert (await splnode.discover(endpoint)).name == "com.acme.Inventory"
    assert (await splnode.discover(endpoint, "no.such.Service")).name == "com.acme.Inventory"


async def test_nobody_there_and_nobody_answering() -> None:
    async with peer(silence) as silent:
        with pytest.raises(CallError, match=r"no handshake within 0\.1 s") as caught:
            await splnode.discover(silent, "X", timeout=0.1)
        assert caught.value.code is Code.UNAVAILABLE
    with pytest.raises(CallError, match="refused"):
        await splnode.discover(silent, "X")


async def test_an_http_server_that_is_something_else() -> None:
    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>")
        await reader.read()

    async with peer(web) as found:
        with pytest.raises(CallError) as caught:
            await splnode.discover(Endpoint("http+avro", found.host, found.port, "/", framing="http"), "X")
        assert caught.value.code is Code.UNAVAILABLE
