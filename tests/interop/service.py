"""The services that peers call, and how they are served on one port each of TCP and a Unix socket."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import splnode
from splnode.avro.protocol import Protocol
from splnode.errors import CallError, Code, DeclaredError
from splnode.rpc.call import current_call
from tests.interop.peer import PROTOCOLS

DEPOT = Protocol.load(PROTOCOLS / "depot.avpr")
OLDER = Protocol.load(PROTOCOLS / "depot-older.avpr")
NEWER = Protocol.load(PROTOCOLS / "depot-newer.avpr")
WEATHER = Protocol.load(PROTOCOLS / "weather.avpr")


class OutOfStock(DeclaredError):
    schema_name = "com.acme.OutOfStock"


class Refused(DeclaredError):
    schema_name = "com.acme.Refused"


class Depot:
    """Does what every peer's own Depot does."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[str] = asyncio.Queue()
        self.reserved: list[dict[str, Any]] = []
        self.gate: asyncio.Event | None = None

    async def reserve(self, item: dict[str, Any]) -> object:
        self.reserved.append(dict(item))
        if item["count"] == 13:
            raise Refused(reason="thirteen")
        if item["count"] > 10:
            raise OutOfStock(sku=item["sku"], left=10)
        note = "second shelf" if item["sku"] == "B2" else item["note"]
        return item | {"labels": [*item["labels"], "reserved"], "note": note}

    async def add(self, a: int, b: int) -> int:
        if self.gate is not None:
            await self.gate.wait()
        return a + b

    def blob(self, data: bytes) -> bytes:
        return data

    def fail(self, how: str) -> str:
        if how == "code":
            raise CallError(Code.NOT_FOUND, "no such thing")
        raise ValueError(how)

    def seen(self) -> dict[str, bytes]:
        call = current_call()
        call.answer_metadata = {"answered": b"yes"}
        return {key: value for key, value in call.metadata.items() if not key.startswith("spl-")}

    def tell(self, text: str) -> None:
        self.told.put_nowait(text)


class Weather:
    def forecast(self, place: str) -> str:
        return f"rain in {place}"

    def add(self, a: int, b: int) -> str:
        return f"{a} and {b} degrees"


class Served:
    """A Depot (None: another node) with its addresses: what a peer's `open` needs for each transport."""

    def __init__(self, depot: Depot | None, port: int, path: str) -> None:
        self._depot = depot
        self.port = port
        self.path = path

    @property
    def depot(self) -> Depot:
        """What it is that serves, where that is of this process."""
        assert self._depot is not None
        return self._depot

    def where(self, transport: str, resource: str = "/") -> dict[str, object]:
        """`transport` is a peer's own word, with -unix behind it for the Unix socket."""
        kind = transport.removesuffix("-unix")
        if transport.endswith("-unix"):
            return {"transport": kind, "path": self.path}
        return {"transport": kind, "host": "127.0.0.1", "port": self.port, "resource": resource}


@contextlib.asynccontextmanager
async def served(
    directory: Path, extra: Mapping[Protocol, object] | None = None, options: str = ""
) -> AsyncIterator[Served]:
    """A Depot first (it is the default), then `extra`; `options` for both endpoints, as `?service=Weather`."""
    depot, path = Depot(), str(directory / "s")
    endpoints = [f"tcp://127.0.0.1:0{options}", f"unix://{path}{options}"]
    async with splnode.listen(endpoints, {DEPOT: depot, **(extra or {})}) as listening:
        yield Served(depot, listening.endpoints[0].port, path)
