"""Large values over sockets, on both loops: whole, together with small ones, cut off, and from peers that trickle."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

import splnode
from splnode.avro.protocol import Protocol
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code, LimitExceeded
from splnode.limits import Limits
from splnode.net.listener import Listener
from splnode.rpc.client import Client
from tests.net.conftest import peer

PROTOCOL = Protocol.parse(
    """{"protocol": "Blobs", "messages": {
        "swap": {"request": [{"name": "data", "type": "bytes"}], "response": "bytes"},
        "later": {"request": [{"name": "data", "type": "bytes"}], "response": "bytes"},
        "make": {"request": [{"name": "size", "type": "int"}], "response": "bytes"},
        "text": {"request": [{"name": "text", "type": "string"}], "response": "string"},
        "several": {"request": [{"name": "parts", "type": {"type": "array", "items": "bytes"}},
                                {"name": "n", "type": "int"}],
                    "response": {"type": "array", "items": "bytes"}},
        "drop": {"request": [{"name": "data", "type": "bytes"}], "response": "null", "one-way": true}}}"""
)
LIMITS = Limits(message_bytes=16 * 1024 * 1024)
DATA = random.Random(1).randbytes(8 * 1024 * 1024)
SIZES = (0, 1, 32_767, 32_768, 65_536, 262_144, 300_000, len(DATA))


class Blobs:
    def __init__(self) -> None:
        self.dropped: asyncio.Queue[bytes] = asyncio.Queue()

    def swap(self, data: bytes) -> bytes:
        return data

    async def later(self, data: bytes) -> bytes:
        await asyncio.sleep(0)
        return data

    def make(self, size: int) -> bytes:
        return DATA[:size] if size >= 0 else DATA + DATA

    def text(self, text: str) -> str:
        return text

    def several(self, parts: list[bytes], n: int) -> list[bytes]:
        return parts[:n]

    async def drop(self, data: bytes) -> None:
        self.dropped.put_nowait(data)


@pytest.fixture
def blobs() -> Blobs:
    return Blobs()


@pytest.fixture(params=["tcp", "unix"])
async def server(request: pytest.FixtureRequest, tmp_path: Path, blobs: Blobs) -> AsyncIterator[Listener]:
    where = "tcp://127.0.0.1:0" if request.param == "tcp" else f"unix://{tmp_path}/blobs.sock"
    async with splnode.listen([where], {PROTOCOL: blobs}, limits=LIMITS) as listener:
        yield listener


@pytest.fixture
async def client(server: Listener) -> AsyncIterator[Client]:
    async with splnode.connect(server.endpoints[0], PROTOCOL, limits=LIMITS) as made:
        yield made


async def test_values_of_any_size_come_back(client: Client, blobs: Blobs) -> None:
    for size in SIZES:
        assert await client.swap(data=DATA[:size]) == DATA[:size]
        assert await client.later(data=DATA[:size]) == DATA[:size]
        assert await client.make(size=size) == DATA[:size]
        await client.drop(data=DATA[:size])
        assert await blobs.dropped.get() == DATA[:size]
    text = "größer" * 100_000
    assert await client.text(text=text) == text
    assert await client.several(parts=[DATA, b"", DATA[:100_000], b"x"], n=3) == [DATA, b"", DATA[:100_000]]


async def test_a_large_answer_stands_behind_small_ones(client: Client) -> None:
    calls = [client.swap(data=DATA[: 200_000 if n % 7 == 3 else n]) for n in range(64)]
    answers = await asyncio.gather(*calls)
    assert answers == [DATA[: 200_000 if n % 7 == 3 else n] for n in range(64)]
    with pytest.raises(CallError) as caught:
        await client.make(size=-1)  # more than an answer may be
    assert caught.value.code is Code.INTERNAL
    assert await client.swap(data=DATA[:100_000]) == DATA[:100_000]


async def test_many_at_a_time_and_small_ones_between(client: Client) -> None:
    dice = random.Random(2)
    sizes = [dice.choice((*SIZES[:-1], 1_000_000)) for _ in range(60)]
    calls = [client.swap(data=DATA[:size]) if size % 2 else client.later(data=DATA[:size]) for size in sizes]
    assert [len(each) for each in await asyncio.gather(*calls)] == sizes


async def test_what_the_caller_changes_afterwards_is_not_sent(client: Client) -> None:
    data = bytearray(DATA)
    call = asyncio.ensure_future(client.swap(data=data))
    await asyncio.sleep(0)
    data[:] = bytes(len(data))
    answer = await call
    assert answer in (DATA, bytes(len(data)))  # all of the one or of the other
    view = memoryview(bytearray(DATA))
    both = [asyncio.ensure_future(client.swap(data=view[:1_000_000])) for _ in range(2)]
    assert await asyncio.gather(*both) == [DATA[:1_000_000]] * 2


async def test_more_than_may_be(client: Client) -> None:
    with pytest.raises(LimitExceeded, match="message_bytes"):
        await client.swap(data=DATA + DATA)
    with pytest.raises(LimitExceeded, match="message_bytes"):
        await client.several(parts=[DATA, DATA], n=1)
    assert await client.swap(data=b"on") == b"on"


@pytest.mark.parametrize("cut", [20, 20_000, 1_000_000, 8_388_600])
async def test_a_peer_that_goes_in_the_middle(server: Listener, cut: int) -> None:
    relayed = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        endpoint = server.endpoints[0]
        there, back = await open_stream(endpoint)
        up = asyncio.create_task(carry(reader, back))
        left = cut
        try:
            while left > 0:
                data = await there.read(min(65_536, left))
                writer.write(data)
                await writer.drain()
                if relayed.is_set():
                    left -= len(data)
                relayed.set()
        finally:
            up.cancel()
            back.close()

    async with peer(script) as endpoint, splnode.connect(endpoint, PROTOCOL, limits=LIMITS) as client:
        with pytest.raises(CallError) as caught:
            await client.swap(data=DATA)
        assert caught.value.code is Code.UNAVAILABLE


async def open_stream(endpoint: Endpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if endpoint.scheme == "unix":
        return await asyncio.open_unix_connection(endpoint.path)
    return await asyncio.open_connection(endpoint.host, endpoint.port)


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


@pytest.mark.parametrize("pieces", [lambda n: 700_000, lambda n: 1000 + n * 7919 % 100_000])
async def test_in_pieces(server: Listener, pieces: Callable[[int], int]) -> None:
    """As a slow network cuts it, in both directions."""

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 0
        while data := await reader.read(pieces(number)):
            writer.write(data)
            await writer.drain()
            await asyncio.sleep(0)
            number += 1

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await open_stream(server.endpoints[0])
        try:
            await asyncio.gather(slowly(reader, back), slowly(there, writer))
        finally:
            back.close()

    async with peer(script) as endpoint, splnode.connect(endpoint, PROTOCOL, limits=LIMITS) as client:
        values: list[Any] = [DATA[:size] for size in (3_000_000, 5, 100_000, 65_536, 3_000_001)]
        assert await asyncio.gather(*(client.swap(data=each) for each in values)) == values
