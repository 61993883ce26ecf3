"""gRPC: grpc.aio on both ends, one HTTP/2 channel, protobuf messages."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from benchmarks import peer
from benchmarks.measure import AsyncCall, concurrent
from benchmarks.peers.generated import messages
from benchmarks.workload import HEADERS, MODULE

_pb = messages()
_LARGEST = [(f"grpc.max_{way}_message_length", 64 * 1024 * 1024) for way in ("send", "receive")]
"""The default is 4 MiB."""


async def _execute(request: Any, context: Any) -> Any:
    return _pb.ExecuteResponse(module=request.module, headers=request.headers, data=request.data)


@asynccontextmanager
async def _serve() -> AsyncIterator[str]:
    server = grpc.aio.server(options=_LARGEST)
    handler = grpc.unary_unary_rpc_method_handler(
        _execute, _pb.ExecuteRequest.FromString, _pb.ExecuteResponse.SerializeToString
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Bench", {"Execute": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


@asynccontextmanager
async def _connect(endpoint: str, value: bytes) -> AsyncIterator[AsyncCall]:
    async with grpc.aio.insecure_channel(endpoint, options=_LARGEST) as channel:
        execute = channel.unary_unary(
            "/bench.Bench/Execute", _pb.ExecuteRequest.SerializeToString, _pb.ExecuteResponse.FromString
        )

        yield (
            lambda: execute(_pb.ExecuteRequest(module=MODULE, headers=HEADERS, data=value)),
            peer.sized(value, lambda answer: answer.data),
        )


if __name__ == "__main__":
    peer.main({"tcp": _serve}, {"tcp": concurrent(_connect)})
