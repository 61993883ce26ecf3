"""What peers can make long (reading a protocol, resolving a message, unfolding a huge datum) is done in threads.

There it takes turns with the event loop, and the others wait some ms for their pings, not as long as it lasts. The
short errands have a thread of their own: an honest peer that comes while others send the longest texts that are
allowed does not stand behind them.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

from splnode.wire.events import Errand

SHORT: Final = 32_768
"""Size up to which an errand is short: some 50 ms at worst."""

log = structlog.get_logger("splnode.net")


class Errands:
    """Runs them one after the other. Whoever made it closes it."""

    def __init__(self) -> None:
        self._short = ThreadPoolExecutor(1, "splnode-errand-short")
        self._long = ThreadPoolExecutor(1, "splnode-errand-long")

    def run(self, errand: Errand, done: Callable[[bool], None]) -> asyncio.Future[None]:
        """Calls `done` in the loop at the end, with False if the errand raised; not if the future was cancelled."""
        executor = self._short if errand.size <= SHORT else self._long
        future = asyncio.get_running_loop().run_in_executor(executor, errand.run)
        future.add_done_callback(lambda ended: _tell(ended, done))
        return future

    def close(self) -> None:
        """What has not begun never will; does not wait."""
        self._short.shutdown(wait=False, cancel_futures=True)
        self._long.shutdown(wait=False, cancel_futures=True)


def _tell(ended: asyncio.Future[None], done: Callable[[bool], None]) -> None:
    if ended.cancelled():
        return
    error = ended.exception()
    if error is not None:
        log.error("a bug: what a peer sent could not be read", exc_info=error)
    done(error is None)
