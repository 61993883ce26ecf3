"""A client that costs next to nothing: blocks of calls made beforehand, answers that are only counted.

For measuring a server that several processes share: with an honest client on the same CPUs there would be little left
for it. Calls `SPLExecuteService.execute` of a module that gives back what it got, on any `splnode serve`.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

from benchmarks import peer
from benchmarks.bare import address
from benchmarks.measure import pumped
from benchmarks.workload import HEADERS
from splnode.avro.protocol import find_protocol
from splnode.wire.client import ClientSession
from splnode.wire.message import Contract

_HEAD = struct.Struct(">III")  # of a frame with one buffer, the only ones that splnode sends


class Blocks(asyncio.Protocol):
    """Sends the block again whenever all its answers have come."""

    transport: asyncio.Transport

    def __init__(self, value: bytes) -> None:
        self.session = ClientSession(Contract(find_protocol("SPLExecuteService")))
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.request = {"module": "spl/void/noop", "headers": HEADERS, "value": value}
        self.length = 0
        self.block = self.rest = b""
        self.missing = self.size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.session.start()
        self.transport.writelines(self.session.data_to_send())

    def start(self, in_flight: int, answered: Callable[[int], int]) -> "asyncio.Future[None]":
        """As `measure.Pump` has it."""
        self.answered, self.size = answered, in_flight
        for _ in range(in_flight):
            self.session.call("execute", {"request": self.request}, {"spl-timeout-ms": b"30000"})
        self.block = b"".join(self.session.data_to_send())
        self.idle: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.again()
        return self.idle

    def again(self) -> None:
        self.missing = self.size
        self.transport.write(self.block)

    def data_received(self, data: bytes) -> None:
        if self.block:
            self.count(self.rest + data)
            return
        self.session.receive_data(data)
        self.transport.writelines(self.session.data_to_send())
        if self.session.ready and not self.ready.done():
            self.ready.set_result(None)

    def count(self, data: bytes) -> None:
        """Takes whole frames. ValueError if an answer is not as long as the first: it is an error, then."""
        position, end, unpack = 0, len(data), _HEAD.unpack_from
        while end - position >= _HEAD.size:
            _, buffers, length = unpack(data, position)
            if end - position < _HEAD.size + length:
                break
            self.length = self.length or length
            if length != self.length or buffers != 1:
                self.idle.set_exception(
                    ValueError(f"not the usual answer: {data[position : position + length]!r:.300}")
                )
                return
            position += _HEAD.size + length
            self.missing -= 1
        self.rest = data[position:]
        if self.missing:
            return
        if self.answered(self.size):
            self.again()
        else:
            self.idle.set_result(None)


@asynccontextmanager
async def _dial(endpoint: str, value: bytes) -> AsyncIterator[Blocks]:
    host, port = address(endpoint)
    transport, blocks = await asyncio.get_running_loop().create_connection(lambda: Blocks(value), host, port)
    try:
        await asyncio.wait_for(blocks.ready, 5)
        yield blocks
    finally:
        transport.close()


if __name__ == "__main__":
    peer.main({}, {"blocks": pumped(_dial)})
