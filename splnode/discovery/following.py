"""A resolver that is followed for good: one that fails or ends is watched anew after a pause.

Whatever a resolver does, what it said last stays, and what is wrong with it is told until it says something again.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final

import structlog

from splnode.discovery.resolver import Instances, Resolver
from splnode.errors import SplnodeError

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
"""Seconds before a resolver that failed is watched again: doubled each time, up to this."""

log = structlog.get_logger("splnode.discovery")


async def follow(
    resolver: Resolver,
    service: str,
    heard: Callable[[Instances], None],
    failed: Callable[[str], None],
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Tells `heard` each set of `service`, and `failed` why none comes just now; until it is cancelled.

    The first pause again once it has worked for longer than the longest one.
    """
    pause, told = FIRST_PAUSE, ""

    def hears(instances: Instances) -> None:
        nonlocal told
        told = ""
        heard(instances)

    while True:
        began = now()
        reason, unknown = await _listen(resolver, service, hears)
        if now() - began > LONGEST_PAUSE:
            pause = FIRST_PAUSE
        if reason != told:
            told = reason
            text = "a resolver failed, what it said last is kept"
            log.warning(text, resolver=resolver.name, reason=reason, exc_info=unknown)
        failed(reason)
        await sleep(pause)
        pause = min(LONGEST_PAUSE, pause * 2)


async def _listen(resolver: Resolver, service: str, heard: Callable[[Instances], None]) -> tuple[str, Exception | None]:
    """Why it says nothing more, and the error if it is none that anybody has foreseen."""
    sets = None
    try:
        sets = resolver.watch(service)
        async for instances in sets:
            heard(instances)
    except (SplnodeError, OSError) as error:
        return str(error) or type(error).__name__, None
    except Exception as error:  # noqa: BLE001 - whatever a resolver raises, its followers go on
        return f"{type(error).__name__}: {error}", error
    finally:
        if isinstance(sets, AsyncGenerator):
            await sets.aclose()
    return "it ended", None
