"""splnode on both ends, through its public face, with its defaults: over TCP, a Unix socket, or in process.

Values are plain dicts; the variants named structs decode straight into msgspec Structs on both ends. `sync` is
the client that blocks, `tls` is encrypted. `balanced` calls as a node calls a service of others, over one node or
several that serve it.
"""

import importlib
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sized
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import splnode
from benchmarks import peer
from benchmarks.measure import AsyncCall, SyncCall, concurrent, sequential
from benchmarks.structs import ExecuteRequest, ExecuteResponse
from benchmarks.workload import HEADERS, MODULE
from splnode.avro.protocol import Protocol
from splnode.balance.elsewhere import Elsewhere
from splnode.discovery.resolver import Address, Board, Instance
from splnode.endpoint import Endpoint
from splnode.limits import Limits
from splnode.rpc.admission import Admission
from splnode.rpc.client import Client
from splnode.rpc.router import Router
from splnode.rpc.server import Server
from splnode.wire.message import Contract

PROTOCOL = Protocol.load(Path(__file__).parent / "bench.avpr")
LIMITS = Limits(message_bytes=16 * 1024 * 1024, connection_bytes=32 * 1024 * 1024, held_bytes=64 * 1024 * 1024)
"""The default, 4 MiB, refuses a value of 8 MiB."""


class Bench:
    """Sync, as a handler that only computes should be: it runs inline."""

    def execute(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"module": request["module"], "headers": request["headers"], "value": request["value"]}

    def produce(self, size: int) -> bytes:
        return bytes(size)


class AsyncBench(Bench):
    async def execute(  # type: ignore[override]  # async where the base is not: both are handlers
        self, request: dict[str, Any]
    ) -> dict[str, Any]:
        return {"module": request["module"], "headers": request["headers"], "value": request["value"]}


class StructBench(Bench):
    def execute(self, request: ExecuteRequest) -> ExecuteResponse:  # type: ignore[override]  # Structs, not dicts
        return ExecuteResponse(request.module, request.headers, request.value)


def _server(implementation: object, *, unix: bool = False) -> Callable[[], AbstractAsyncContextManager[str]]:
    @asynccontextmanager
    async def serve() -> AsyncIterator[str]:
        with tempfile.TemporaryDirectory() as folder:
            endpoint = f"unix://{folder}/bench.sock" if unix else "tcp://127.0.0.1:0"
            async with splnode.listen([endpoint], {PROTOCOL: implementation}, limits=LIMITS) as server:
                yield str(server.endpoints[0])

    return serve


@asynccontextmanager
async def _encrypted() -> AsyncIterator[str]:
    """TLS 1.3 with a mesh key, whose file stands behind the endpoint."""
    with tempfile.NamedTemporaryFile() as key:  # mode 0600
        key.write(os.urandom(32).hex().encode())
        key.flush()
        tls = splnode.Tls(mesh_key=key.name, node="bench")
        async with splnode.listen(["tls://127.0.0.1:0"], {PROTOCOL: Bench()}, limits=LIMITS, tls=tls) as server:
            yield f"{server.endpoints[0]},{key.name}"


def _nodes(count: int) -> Callable[[], AbstractAsyncContextManager[str]]:
    @asynccontextmanager
    async def serve() -> AsyncIterator[str]:
        async with splnode.listen(["tcp://127.0.0.1:0"] * count, {PROTOCOL: Bench()}, limits=LIMITS) as server:
            yield ",".join(map(str, server.endpoints))

    return serve


def caller(execute: Any, value: bytes) -> Callable[[], Awaitable[dict[str, Any]]]:
    """Makes the call, whatever `execute` belongs to."""
    return lambda: execute(request={"module": MODULE, "headers": HEADERS, "value": value})


def _of_dict(answer: dict[str, Any]) -> Sized:
    value: Sized = answer["value"]
    return value


@asynccontextmanager
async def _dicts(endpoint: str, value: bytes) -> AsyncIterator[AsyncCall]:
    async with splnode.connect(endpoint, PROTOCOL, limits=LIMITS) as client:
        yield caller(client.execute, value), peer.sized(value, _of_dict)


@asynccontextmanager
async def _over_tls(place: str, value: bytes) -> AsyncIterator[AsyncCall]:
    endpoint, key = place.split(",")
    async with splnode.connect(endpoint, PROTOCOL, limits=LIMITS, tls=splnode.Tls(mesh_key=key)) as client:
        yield caller(client.execute, value), peer.sized(value, _of_dict)


@asynccontextmanager
async def _local(_endpoint: str, value: bytes) -> AsyncIterator[AsyncCall]:
    server = Server(PROTOCOL, Bench(), interceptors=(Admission(),))
    client = Client(Router({PROTOCOL.name: server}), PROTOCOL)
    yield caller(client.execute, value), peer.sized(value, _of_dict)


@asynccontextmanager
async def _balanced(endpoints: str, value: bytes) -> AsyncIterator[AsyncCall]:
    """The way of a node's own clients: a router that has no such service, and a balancer over those that have."""
    board, router = Board(), Router()
    places = [Address(Endpoint.parse(each), "static") for each in endpoints.split(",")]
    board.post(Instance((place,), node=f"n{number}") for number, place in enumerate(places))
    elsewhere = router.elsewhere = Elsewhere(board, limits=LIMITS)
    client = Client(router, Contract(PROTOCOL, limits=LIMITS))
    call = caller(client.execute, value)
    try:
        await call()
        (balancer,) = elsewhere.balancers
        while not all(member.connected for member in balancer.pool.members):
            await balancer.pool.changed.wait()
        yield call, peer.sized(value, _of_dict)
    finally:
        await elsewhere.close()


@asynccontextmanager
async def _structs(endpoint: str, value: bytes) -> AsyncIterator[AsyncCall]:
    results = {"execute": ExecuteResponse}
    async with splnode.connect(endpoint, PROTOCOL, results=results, limits=LIMITS) as client:
        yield (
            lambda: client.execute(request=ExecuteRequest(MODULE, HEADERS, value)),
            peer.sized(value, lambda answer: answer.value),
        )


@contextmanager
def _sync(endpoint: str, value: bytes) -> Iterator[SyncCall]:
    blocking: Any = importlib.import_module("splnode.sync")
    with blocking.connect(endpoint, PROTOCOL, limits=LIMITS) as client:
        yield caller(client.execute, value), peer.sized(value, _of_dict)


if __name__ == "__main__":
    peer.main(
        {
            "tcp": _server(Bench()),
            "unix": _server(Bench(), unix=True),
            "tcp-async": _server(AsyncBench()),
            "tcp-structs": _server(StructBench()),
            "tcp-3": _nodes(3),
            "tls": _encrypted,
        },
        {
            "dicts": concurrent(_dicts),
            "balanced": concurrent(_balanced),
            "structs": concurrent(_structs),
            "tls": concurrent(_over_tls),
            "local": concurrent(_local),
            "sync": sequential(_sync),
        },
    )
