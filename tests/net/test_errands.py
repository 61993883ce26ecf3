import asyncio
import threading

import structlog

from splnode.net.errands import SHORT, Errands
from splnode.wire.events import Errand


async def run(errands: Errands, errand: Errand) -> bool:
    done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    errands.run(errand, done.set_result)
    return await asyncio.wait_for(done, 20)


async def test_they_run_in_threads_and_end_in_the_loop() -> None:
    errands = Errands()
    seen: list[str] = []
    assert await run(errands, Errand(lambda: seen.append(threading.current_thread().name), 1))
    assert await run(errands, Errand(lambda: seen.append(threading.current_thread().name), SHORT + 1))
    assert [name.rpartition("_")[0] for name in seen] == ["splnode-errand-short", "splnode-errand-long"]
    errands.close()


async def test_a_short_one_does_not_wait_for_a_long_one() -> None:
    errands = Errands()
    go = threading.Event()
    ended = asyncio.Event()
    errands.run(Errand(lambda: go.wait(20) and None, SHORT + 1), lambda well: ended.set())
    assert await run(errands, Errand(lambda: None, SHORT))
    assert not ended.is_set()
    go.set()
    await asyncio.wait_for(ended.wait(), 20)
    errands.close()


async def test_one_that_raises_is_logged_and_said() -> None:
    errands = Errands()
    with structlog.testing.capture_logs() as logs:
        assert not await run(errands, Errand(lambda: 1 / 0 and None, 1))
    assert isinstance(logs[0]["exc_info"], ZeroDivisionError)
    errands.close()


async def test_one_that_was_cancelled_is_not_told_of() -> None:
    errands = Errands()
    go = threading.Event()
    told: list[bool] = []
    first = errands.run(Errand(lambda: go.wait(20) and None, 1), told.append)
    second = errands.run(Errand(lambda: told.append(False), 1), told.append)
    second.cancel()
    await asyncio.sleep(0)  # until the thread's own future knows of it
    go.set()
    await first
    assert await run(errands, Errand(lambda: None, 1))
    assert told == [True]
    errands.close()
