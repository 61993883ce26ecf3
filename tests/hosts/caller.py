"""A node that calls com.acme.Shop at a steady rate, whatever comes of it, and says what came.

    python -m tests.hosts.caller [--rate 200] [--message where] [--policy least_request]

One JSON line for each call on stdout: when it began and ended (seconds of the monotonic clock, which all processes of
this machine share), who answered, or the error. Until it is ended. Calls start at their time, however long the others
take: a node that stands still is seen as long as it stands.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from splnode.config import Config, NodeConfig
from splnode.errors import CallError
from splnode.node import Node
from splnode.rpc.client import Client
from splnode.rpc.route import Route

SHOP = Path(__file__).with_name("shop") / "shop.avpr"
TIMEOUT = 8.0


async def one(client: Client, message: str, route: Route) -> None:
    params = {"sku": "A1"} if message in ("buy", "price") else {}
    began = time.monotonic()
    said: dict[str, object] = {"began": began}
    try:
        call = client.prepare(message, params, timeout=TIMEOUT)
        call.route = route
        said["node"] = await client.send(call)
    except CallError as error:
        said |= {"error": error.code.name, "started": error.started, "text": str(error)[:600]}
    said["ended"] = time.monotonic()
    print(json.dumps(said))


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--message", default="where")
    parser.add_argument("--policy")
    order = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a text stream has it
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        settings = NodeConfig(
            id="caller", directory=folder, listen=("tcp://0.0.0.0:0",), insecure=True, drain_seconds=0
        )
        node = await stack.enter_async_context(Node(Config(node=settings)))
        client, route = node.client(str(SHOP)), Route(policy=order.policy)
        running: set[asyncio.Task[None]] = set()
        following = time.monotonic()
        while True:
            task = asyncio.create_task(one(client, order.message, route))
            running.add(task)
            task.add_done_callback(running.discard)
            following += 1 / order.rate
            await asyncio.sleep(max(0.0, following - time.monotonic()))  # clock: the rate is in real time


if __name__ == "__main__":
    uvloop.run(main())
