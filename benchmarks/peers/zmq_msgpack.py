"""What many a Python service is made of: pyzmq sockets (ROUTER and DEALER) and MessagePack by msgspec.

ZeroMQ knows messages and no calls: a serial number in front of each finds the call that an answer is for.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import zmq
import zmq.asyncio

from benchmarks import peer
from benchmarks.measure import AsyncCall, concurrent
from benchmarks.structs import BytesRequest
from benchmarks.workload import HEADERS, MODULE

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(BytesRequest).decode


async def _answer(router: Any) -> None:
    while True:
        sender, serial, body = await router.recv_multipart()
        request = _decode(body)
        await router.send_multipart(
            [sender, serial, _encode(BytesRequest(request.module, request.headers, request.value))]
        )


async def _listen(dealer: Any, waiting: dict[bytes, asyncio.Future[bytes]]) -> None:
    while True:
        serial, body = await dealer.recv_multipart()
        waiting.pop(serial).set_result(body)


@asynccontextmanager
async def _socket(kind: int) -> AsyncIterator[Any]:
    with zmq.asyncio.Context() as context, context.socket(kind) as socket:
        socket.linger = 0
        yield socket


@asynccontextmanager
async def _serve() -> AsyncIterator[str]:
    async with _socket(zmq.ROUTER) as router:
        port = router.bind_to_random_port("tcp://127.0.0.1")
        answering = asyncio.ensure_future(_answer(router))
        yield f"tcp://127.0.0.1:{port}"
        answering.cancel()


@asynccontextmanager
async def _connect(endpoint: str, value: bytes) -> AsyncIterator[AsyncCall]:
    async with _socket(zmq.DEALER) as dealer:
        dealer.connect(endpoint)
        waiting: dict[bytes, asyncio.Future[bytes]] = {}
        listening = asyncio.ensure_future(_listen(dealer, waiting))
        loop, last = asyncio.get_running_loop(), 0

        async def call() -> BytesRequest:
            nonlocal last
            last += 1
            serial = last.to_bytes(8, "big")
            waiting[serial] = future = loop.create_future()
            await dealer.send_multipart([serial, _encode(BytesRequest(MODULE, HEADERS, value))])
            return _decode(await future)

        yield call, peer.sized(value, lambda answer: answer.value)
        listening.cancel()


if __name__ == "__main__":
    peer.main({"tcp": _serve}, {"tcp": concurrent(_connect)})
