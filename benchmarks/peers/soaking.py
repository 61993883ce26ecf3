"""Both ends of benchmarks/soak.py: calls of every kind, so many of them, over a few connections that come and go.

| of the calls | are |
|---|---|
| most | small, with a sync handler or one that suspends |
| one in 20 | one-way |
| one in 25 | refused with a declared error |
| one in 40 | cancelled by the caller while they run |
| one in 1,000 | given up at their deadline |
| one in 2,000 | of 256 KiB |
| one in 10,000 | made over a connection of its own |
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import splnode
from benchmarks import peer
from benchmarks.measure import Order, Round
from benchmarks.workload import HEADERS, MODULE, value
from splnode.errors import DeclaredError

PROTOCOL = splnode.Protocol.load(Path(__file__).parent / "soak.avpr")
CONNECTIONS = 2
TASKS = 24
"""Callers on each connection, each with one call at a time."""

Parcel = dict[str, Any]
SMALL: Parcel = {"module": MODULE, "headers": HEADERS, "value": value("small")}
LARGE: Parcel = SMALL | {"value": value("large")}


class Refused(DeclaredError):
    """What `refuse` always raises."""


class Soak:
    """The handlers."""

    def echo(self, parcel: Parcel) -> Parcel:
        return {"module": parcel["module"], "headers": parcel["headers"], "value": parcel["value"]}

    async def later(self, parcel: Parcel) -> Parcel:
        await asyncio.sleep(0)
        return self.echo(parcel)

    def refuse(self, reason: str) -> None:
        raise Refused(reason=reason)

    async def wait(self) -> None:
        await asyncio.get_running_loop().create_future()

    def tell(self, reason: str) -> None:
        pass


@asynccontextmanager
async def _serve() -> AsyncIterator[str]:
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Soak()}) as server:
        yield str(server.endpoints[0])


class Caller:
    """One client's calls. Every answer is looked at: what is wrong raises."""

    def __init__(self, client: splnode.Client, endpoint: str) -> None:
        self._client: Any = client
        self._endpoint = endpoint

    def of(self, number: int) -> Awaitable[None]:
        """The call with that number, of the kind that the table says."""
        for every, make in RARE:
            if not number % every:
                return make(self)
        return self.echo(self._client.later if number % 3 == 0 else self._client.echo, SMALL)

    async def echo(self, call: Callable[..., Awaitable[Parcel]], parcel: Parcel) -> None:
        answer = await call(parcel=parcel)
        if answer["value"] != parcel["value"]:
            raise ValueError(f"{len(parcel['value'])} bytes came back as {answer!r:.80}")

    async def large(self) -> None:
        await self.echo(self._client.echo, LARGE)

    async def tell(self) -> None:
        await self._client.tell(reason="none")

    async def refuse(self) -> None:
        with suppress(Refused):
            await self._client.refuse(reason="asked for")
            raise ValueError("what is refused was answered")

    async def cancel(self) -> None:
        task = asyncio.ensure_future(self._client.wait())
        await asyncio.sleep(0.0005)
        task.cancel()
        await asyncio.wait([task])

    async def expire(self) -> None:
        try:
            await self._client.call("wait", {}, timeout=0.01)
        except splnode.CallError as error:
            if error.code is not splnode.Code.DEADLINE_EXCEEDED:
                raise
        else:
            raise ValueError("what never ends was answered")

    async def elsewhere(self) -> None:
        async with _connected(self._endpoint) as client:
            await Caller(client, self._endpoint).echo(client.echo, SMALL)


RARE: tuple[tuple[int, Callable[[Caller], Awaitable[None]]], ...] = (
    (10_000, Caller.elsewhere),
    (2000, Caller.large),
    (1000, Caller.expire),
    (40, Caller.cancel),
    (25, Caller.refuse),
    (20, Caller.tell),
)
"""One call in so many, of which kind; the first that fits."""


def _connected(endpoint: str) -> Any:
    return splnode.connect(endpoint, PROTOCOL, errors=[Refused])


async def _drive(endpoint: str, _value: bytes, order: Order) -> Round:
    numbers = iter(range(1, order.calls + 1))

    async def work(caller: Caller) -> None:
        for number in numbers:
            await caller.of(number)

    start = time.monotonic()
    async with _connected(endpoint) as one, _connected(endpoint) as other:
        callers = [Caller(client, endpoint) for client in (one, other)]
        async with asyncio.TaskGroup() as tasks:
            for caller, _ in itertools.product(callers, range(TASKS)):
                tasks.create_task(work(caller))
    return Round(order.calls, time.monotonic() - start, order.calls)


if __name__ == "__main__":
    peer.main({"tcp": _serve}, {"soak": _drive})
