"""JSON over HTTP: aiohttp on both ends, the value in base64.

HTTP/1.1 answers in order, so calls in flight at one time each have a connection of their own.
"""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from benchmarks import peer
from benchmarks.measure import AsyncCall, concurrent
from benchmarks.workload import HEADERS, MODULE


async def _execute(request: web.Request) -> web.Response:
    body = await request.json()
    data = base64.b64decode(body["value"])
    answer = {"module": body["module"], "headers": body["headers"], "value": base64.b64encode(data).decode()}
    return web.json_response(answer)


@asynccontextmanager
async def _serve() -> AsyncIterator[str]:
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/execute", _execute)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/execute"
    await runner.cleanup()


@asynccontextmanager
async def _connect(endpoint: str, value: bytes) -> AsyncIterator[AsyncCall]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, json_serialize=json.dumps) as session:

        async def call() -> bytes:
            request = {"module": MODULE, "headers": HEADERS, "value": base64.b64encode(value).decode()}
            async with session.post(endpoint, json=request) as response:
                answer = await response.json()
            return base64.b64decode(answer["value"])

        yield call, peer.sized(value)


if __name__ == "__main__":
    peer.main({"tcp": _serve}, {"tcp": concurrent(_connect)})
