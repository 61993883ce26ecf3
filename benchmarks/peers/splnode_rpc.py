"""splnode on both ends, through its public face, with its defaults: over TCP, a Unix socket, or in process.

Values are plain dicts; the variants named structs decode straight into msgspec Structs on both ends.
"""

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import splnode
from benchmarks import peer
from benchmarks.measure import concurrent
from benchmarks.structs import ExecuteRequest, ExecuteResponse
from benchmarks.workload import HEADERS, MODULE
from splnode.avro.protocol import Protocol
from splnode.rpc.admission import Admission
from splnode.rpc.client import Client
from splnode.rpc.router import Router
from splnode.rpc.server import Server

_PROTOCOL = Protocol.load(Path(__file__).parent / "bench.avpr")


class _Bench:
    """Sync, as a handler that only computes should be: it runs inline."""

    def execute(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"module": request["module"], "headers": request["headers"], "value": request["value"]}

    def produce(self, size: int) -> bytes:
        return bytes(size)


class _AsyncBench(_Bench):
    async def execute(  # type: ignore[override]  # async where the base is not: both are handlers
        self, request: dict[str, Any]
    ) -> dict[str, Any]:
        return {"module": request["module"], "headers": request["headers"], "value": request["value"]}


class _StructBench(_Bench):
    def execute(self, request: ExecuteRequest) -> ExecuteResponse:  # type: ignore[override]  # Structs, not dicts
        return ExecuteResponse(request.module, request.headers, request.value)


def _server(implementation: object, *, unix: bool = False) -> Callable[[], AbstractAsyncContextManager[str]]:
    @asynccontextmanager
    async def serve() -> AsyncIterator[str]:
        with tempfile.TemporaryDirectory() as folder:
            endpoint = f"unix://{folder}/bench.sock" if unix else "tcp://127.0.0.1:0"
            async with splnode.listen([endpoint], {_PROTOCOL: implementation}) as server:
                yield str(server.endpoints[0])

    return serve


def _caller(execute: Any, value: bytes) -> Callable[[], Awaitable[None]]:
    async def call() -> None:
        answer = await execute(request={"module": MODULE, "headers": HEADERS, "value": value})
        peer.check(answer["value"], value)

    return call


@asynccontextmanager
async def _dicts(endpoint: str, value: bytes) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    async with splnode.connect(endpoint, _PROTOCOL) as client:
        yield _caller(client.execute, value)


@asynccontextmanager
async def _local(_endpoint: str, value: bytes) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    server = Server(_PROTOCOL, _Bench(), interceptors=(Admission(),))
    yield _caller(Client(Router({_PROTOCOL.name: server}), _PROTOCOL).execute, value)


@asynccontextmanager
async def _structs(endpoint: str, value: bytes) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    async with splnode.connect(endpoint, _PROTOCOL, results={"execute": ExecuteResponse}) as client:

        async def call() -> None:
            answer = await client.execute(request=ExecuteRequest(MODULE, HEADERS, value))
            peer.check(answer.value, value)

        yield call


if __name__ == "__main__":
    peer.main(
        {
            "tcp": _server(_Bench()),
            "unix": _server(_Bench(), unix=True),
            "tcp-async": _server(_AsyncBench()),
            "tcp-structs": _server(_StructBench()),
        },
        {"dicts": concurrent(_dicts), "structs": concurrent(_structs), "local": concurrent(_local)},
    )
