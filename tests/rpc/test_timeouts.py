import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

import pytest

from splnode.rpc.timeouts import Timeouts


async def hang() -> str:
    await asyncio.Event().wait()
    return "never"


async def swallow() -> str:
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    return "late"


async def convert() -> str:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise ValueError("mine") from None
    return "never"


async def soon() -> str:
    await asyncio.sleep(0)
    return "done"


def later(seconds: float) -> float:
    return time.monotonic() + seconds


async def test_in_time_it_is_as_if_there_were_no_limit() -> None:
    timeouts = Timeouts()
    assert await timeouts.run(soon(), later(10)) == "done"
    with pytest.raises(ValueError, match="mine"):
        await timeouts.run(asyncio.wait_for(asyncio.gather(_raising()), 20), later(10))
    assert timeouts._expiry._deadlines == {}


async def _raising() -> None:
    raise ValueError("mine")


@pytest.mark.parametrize("work", [hang, swallow, convert])
async def test_at_the_deadline_it_is_a_timeout_whatever_the_work_says(work: Callable[[], Awaitable[str]]) -> None:
    task = asyncio.current_task()
    assert task is not None
    timeouts = Timeouts()
    with pytest.raises(TimeoutError):
        await timeouts.run(work(), later(0.02))
    assert task.cancelling() == 0
    assert timeouts._expiry._deadlines == {}
    await asyncio.sleep(0)  # nothing is left to be delivered


async def test_being_cancelled_from_elsewhere_is_no_timeout() -> None:
    timeouts = Timeouts()
    task = asyncio.create_task(timeouts.run(hang(), later(10)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert timeouts._expiry._deadlines == {}


async def test_both_at_once_is_being_cancelled() -> None:
    timeouts = Timeouts()
    task = asyncio.create_task(timeouts.run(hang(), later(10)))
    await asyncio.sleep(0)
    (wait,) = timeouts._expiry._deadlines
    wait.end()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_one_inside_another_ends_with_the_outer() -> None:
    outer, inner = Timeouts(), Timeouts()
    heard: list[BaseException] = []

    async def work() -> str:
        try:
            return await inner.run(hang(), later(10))
        except BaseException as error:
            heard.append(error)
            raise

    with pytest.raises(TimeoutError):
        await outer.run(work(), later(0.02))
    assert [type(error) for error in heard] == [asyncio.CancelledError]


async def test_and_so_it_does_beside_asyncios_own() -> None:
    timeouts = Timeouts()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await timeouts.run(hang(), later(10))
    async with asyncio.timeout(10):
        with pytest.raises(TimeoutError):
            await timeouts.run(hang(), later(0.02))


def test_in_one_loop_after_another() -> None:
    timeouts = Timeouts()

    async def once() -> None:
        assert await timeouts.run(soon(), later(30)) == "done"
        with pytest.raises(TimeoutError):
            await timeouts.run(hang(), later(0.02))
        assert await timeouts.run(soon(), later(30)) == "done"

    asyncio.run(once())
    asyncio.run(once())
