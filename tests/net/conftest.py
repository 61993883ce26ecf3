"""Sockets on both loops, and servers that misbehave."""

import asyncio
import contextlib
import heapq
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvloop

from splnode.config import ChannelsConfig
from splnode.endpoint import Endpoint

QUICK = ChannelsConfig(
    connect_timeout=1.0,
    backoff_initial=0.05,
    backoff_jitter=0.0,
    keepalive_active=0.05,
    keepalive_idle=0.1,
    keepalive_timeout=1.0,
)
"""The same behaviour, sooner; what has to be done in time has a second, on a machine that may be busy."""

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@contextlib.asynccontextmanager
async def peer(script: Script) -> AsyncIterator[Endpoint]:
    """A TCP server that does with each connection what `script` says, then closes it."""
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield Endpoint("tcp", "127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accepts, reads, never answers."""
    await reader.read()


def forget_cancelled_timers() -> None:
    """asyncio keeps cancelled timers, and their contexts, until they are due or more than half of all."""
    loop: Any = asyncio.get_running_loop()
    if hasattr(loop, "_scheduled"):
        loop._scheduled[:] = [timer for timer in loop._scheduled if not timer.cancelled()]
        heapq.heapify(loop._scheduled)


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
