"""Cap'n Proto: pycapnp on both ends, its two-party RPC, calls pipelined on one connection."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import capnp
import uvloop

from benchmarks import peer
from benchmarks.measure import AsyncCall, concurrent
from benchmarks.peer import Run
from benchmarks.workload import HEADERS, MODULE

_idl: Any = capnp.load(str(Path(__file__).parent / "bench.capnp"))
_LARGEST = 64 * 1024 * 1024


class _Bench(_idl.Bench.Server):  # type: ignore[misc]  # made by capnp.load at run time
    async def execute(self, request: Any, _context: Any, **_: Any) -> None:
        response = _context.results.init("response")
        response.module = request.module
        response.headers = request.headers
        response.value.data = request.value.data


@asynccontextmanager
async def _serve() -> AsyncIterator[str]:
    async def accept(stream: Any) -> None:
        await capnp.TwoPartyServer(stream, bootstrap=_Bench()).on_disconnect()

    server = await capnp.AsyncIoStream.create_server(accept, "127.0.0.1", 0)
    serving = asyncio.ensure_future(server.serve_forever())
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    serving.cancel()


@asynccontextmanager
async def _connect(endpoint: str, value: bytes) -> AsyncIterator[AsyncCall]:
    host, port = endpoint.rsplit(":", 1)
    stream = await capnp.AsyncIoStream.create_connection(host=host, port=int(port))
    client = capnp.TwoPartyClient(stream, traversal_limit_in_words=_LARGEST)
    bench = client.bootstrap().cast_as(_idl.Bench)

    def call() -> Awaitable[Any]:
        message = bench.execute_request()
        request = message.init("request")
        request.module = MODULE
        headers = request.init("headers", len(HEADERS))
        for header, (name, text) in zip(headers, HEADERS.items(), strict=True):
            header.name = name
            header.value = text
        request.value.data = value
        return message.send()  # type: ignore[no-any-return]  # made by capnp.load at run time

    yield call, peer.sized(value, lambda answer: answer.response.value.data)
    client.close()


def _on(runner: Run) -> Run:
    return lambda main: runner(capnp.run(main))


if __name__ == "__main__":
    peer.main({"tcp": _serve}, {"tcp": concurrent(_connect)}, run=_on(uvloop.run), run_server=_on(asyncio.run))
