"""Thrift: thriftpy2's blocking client and threaded server, binary protocol, both with its Cython parts.

The client makes one call at a time; it has no pipelining.
"""

import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import thriftpy2
from thriftpy2.rpc import client_context, make_server

from benchmarks import peer
from benchmarks.measure import SyncCall, sequential
from benchmarks.workload import HEADERS, MODULE

_idl: Any = thriftpy2.load(str(Path(__file__).parent / "bench.thrift"), module_name="bench_thrift")


class _Bench:
    def execute(self, request: Any) -> Any:
        return _idl.ExecuteResponse(module_name=request.module_name, headers=request.headers, value=request.value)


@asynccontextmanager
async def _serve() -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server: Any = make_server(_idl.Bench, _Bench(), "127.0.0.1", port, client_timeout=0)
    server.trans.listen()
    server.trans.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else large answers wait 40 ms each
    server.trans.listen = lambda: None  # serve() would listen anew, without the option
    threading.Thread(target=server.serve, daemon=True).start()
    yield f"127.0.0.1:{port}"


@contextmanager
def _connect(endpoint: str, value: bytes) -> Iterator[SyncCall]:
    host, port = endpoint.rsplit(":", 1)
    with client_context(_idl.Bench, host, int(port), socket_timeout=10_000) as client:

        def call() -> Any:
            return client.execute(
                _idl.ExecuteRequest(module_name=MODULE, headers=HEADERS, value=_idl.Value(data=value))
            )

        yield call, peer.sized(value, lambda answer: answer.value.data)


if __name__ == "__main__":
    peer.main({"tcp": _serve}, {"tcp": sequential(_connect)})
