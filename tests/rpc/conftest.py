"""One service, and the ways to reach it: in process, Unix socket, TCP, HTTP.

In most an interceptor watches, so that every call goes the general way; the bare ones are for what goes faster.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop

import splnode
from splnode.avro.protocol import Protocol
from splnode.errors import CallError, Code, DeclaredError
from splnode.rpc.admission import Admission
from splnode.rpc.call import Call, current_call
from splnode.rpc.client import Client
from splnode.rpc.interceptor import Proceed
from splnode.rpc.server import Server, blocking

PROTOCOL = Protocol.load(Path(__file__).with_name("inventory.avpr"))
WAYS = ("process", "process-bare", "codec", "codec-bare", "unix", "tcp", "tcp-bare", "spec", "sasl", "http")


class OutOfStock(DeclaredError):
    schema_name = "com.acme.OutOfStock"


class Undeclared(DeclaredError):
    pass


class Item(msgspec.Struct):
    sku: str
    count: int = 1
    tags: list[str] = []


class Inventory:
    """Everything that a handler may do."""

    def __init__(self) -> None:
        self.waiting: dict[str, asyncio.Future[str]] = {}
        self.began = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.told: list[str] = []
        self.ran: list[str] = []
        self.heard = asyncio.Event()
        self.release = threading.Event()
        self.blocked_in = ""
        self.closed = False

    async def reserve(self, item: Item) -> Item:
        assert isinstance(item, Item)
        self.ran.append("reserve")
        if item.count > 10:
            raise OutOfStock(sku=item.sku, left=10)
        item.tags.append("reserved")
        return item

    def echo(self, value: object) -> object:
        self.ran.append("echo")
        return value

    def add(self, a: int, b: int) -> int:
        return a + b

    async def fail(self, how: str) -> object:
        errors: dict[str, Exception] = {
            "code": CallError(Code.NOT_FOUND, "no such thing", retry_after=1.5),
            "undeclared": Undeclared(secret="s3cret"),
            "exception": ValueError("s3cret"),
            "unfit-error": OutOfStock(sku=3),
            "remote": CallError(Code.NOT_FOUND, "s3cret of another node", remote=True),
        }
        if how in errors:
            raise errors[how]
        return "not null"

    async def wait(self, name: str) -> str:
        future = self.waiting[name] = asyncio.get_running_loop().create_future()
        self.began.set()
        try:
            return await future
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    @blocking
    def block(self) -> str:
        self.release.wait(10)
        return threading.current_thread().name

    async def seen(self) -> dict[str, bytes]:
        current_call().answer_metadata = {"answered": b"yes"}
        return {key: value for key, value in current_call().metadata.items() if not key.startswith("spl-")}

    def remaining(self) -> float:
        return current_call().remaining

    def tell(self, text: str) -> None:
        self.told.append(text)
        self.heard.set()

    async def close(self) -> None:
        self.closed = True


class Reach:
    """A client, the implementation behind it, and the calls that its interceptor saw, or its handlers."""

    def __init__(self, client: Client, inventory: Inventory, calls: list[str], way: str) -> None:
        self.client = client
        self.inventory = inventory
        self.calls = calls
        self.way = way


@contextlib.asynccontextmanager
async def reach(way: str, directory: Path, protocol: Protocol = PROTOCOL) -> AsyncIterator[Reach]:
    """The same service by `way`; the client speaks `protocol`, the server always PROTOCOL."""
    inventory = Inventory()
    way, bare = way.removesuffix("-bare"), way.endswith("-bare")
    calls: list[str] = inventory.ran if bare else []

    async def watch(call: Call, proceed: Proceed) -> object:
        calls.append(call.message.name)
        return await proceed(call)

    watching = () if bare else (watch,)
    if way in ("process", "codec"):
        server = Server(PROTOCOL, inventory, interceptors=(Admission(), *watching), force_codec=way == "codec")
        yield Reach(Client(server, protocol, timeout=10), inventory, calls, way)
        await server.close()
        return
    endpoint = f"unix://{directory}/s" if way == "unix" else "tcp://127.0.0.1:0"
    async with splnode.listen([endpoint], {PROTOCOL: inventory}, interceptors=watching) as listening:
        where = str(listening.endpoints[0])
        if way == "http":
            where = where.replace("tcp://", "http+avro://") + "/com.acme.Inventory"
        elif way in ("spec", "sasl"):
            where += f"?framing={way}"
        async with splnode.connect(where, protocol, timeout=10) as client:
            yield Reach(client, inventory, calls, way)


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    """Every test of calls runs on both loops."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=WAYS)
async def reached(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Reach]:
    async with reach(request.param, tmp_path) as found:
        yield found
