import asyncio
from typing import Any

import pytest

from splnode.errors import CallError, Code
from splnode.modules import pool as pool_module
from splnode.modules.pool import Pool


class Process:
    """Stands for a process: alive until it is killed."""

    def __init__(self) -> None:
        self.is_alive = True

    def kill(self) -> None:
        self.is_alive = False

    async def ended(self) -> str:
        return "killed"


class Started(list[Process]):
    """The processes that a pool has started, in order."""

    async def start(self) -> Any:
        self.append(Process())
        return self[-1]


@pytest.fixture
def started() -> Started:
    return Started()


@pytest.fixture
def pool(started: Started) -> Pool:
    return Pool(started.start, 4, kept=1)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_idle_process_of_the_module_is_used_again(pool: Pool, started: Started) -> None:
    process, new = await pool.acquire("a")
    assert new
    pool.release(process, "a", reusable=True)
    assert await pool.acquire("a") == (process, False)
    assert len(started) == 1
    other, new = await pool.acquire("b")
    assert new
    assert other is not process


async def test_one_that_is_not_reusable_or_has_died_is_replaced(pool: Pool, started: Started) -> None:
    process, _ = await pool.acquire("a")
    pool.release(process, "a", reusable=False)
    assert not process.is_alive
    second, new = await pool.acquire("a")
    assert new
    pool.release(second, "a", reusable=True)
    second.kill()
    third, new = await pool.acquire("a")
    assert new
    pool.release(third, "a", reusable=True)
    await pool.close()
    assert not any(each.is_alive for each in started)


async def test_the_longest_unused_makes_room(pool: Pool, started: Started) -> None:
    for key in "abcd":
        process, _ = await pool.acquire(key)
        pool.release(process, key, reusable=True)
    await pool.acquire("e")
    assert [each.is_alive for each in started] == [False, True, True, True, True]
    assert (await pool.acquire("b"))[0] is started[1]


async def test_a_module_has_half_of_the_pool(pool: Pool) -> None:
    held = [await pool.acquire("a") for _ in range(2)]
    third = asyncio.ensure_future(pool.acquire("a"))
    await settle()
    assert not third.done()
    await pool.acquire("b")
    await pool.acquire("c")
    pool.release(held[0][0], "a", reusable=True)
    assert await third == (held[0][0], False)


async def test_who_waits_longest_comes_first(pool: Pool) -> None:
    held = [(await pool.acquire(key))[0] for key in "abcd"]
    waiting = [asyncio.ensure_future(pool.acquire(key)) for key in "xyz"]
    await settle()
    pool.release(held[0], "a", reusable=True)
    await settle()
    assert [each.done() for each in waiting] == [True, False, False]
    pool.release(held[1], "b", reusable=False)
    await settle()
    assert [each.done() for each in waiting] == [True, True, False]


@pytest.mark.parametrize("reusable", [True, False])
async def test_a_cancelled_wait_loses_no_place(pool: Pool, reusable: bool) -> None:
    held = [(await pool.acquire(key))[0] for key in "abcd"]
    first, second = (asyncio.ensure_future(pool.acquire(key)) for key in "ab")
    await settle()
    pool.release(held[0], "a", reusable=reusable)
    first.cancel()  # granted in this very moment
    await settle()
    assert first.cancelled()
    assert second.done()
    third = asyncio.ensure_future(pool.acquire("c"))
    await settle()
    third.cancel()
    await settle()
    assert not pool._waiting
    for process in [*held[1:], second.result()[0]]:
        pool.release(process, "x", reusable=False)
    assert pool._total == 0


async def test_a_start_that_fails_gives_its_place_back(started: Started) -> None:
    failing = True

    async def start() -> Any:
        if failing:
            raise OSError("no more processes")
        return await started.start()

    pool = Pool(start, 1)
    for _ in range(3):
        with pytest.raises(OSError, match="no more"):
            await pool.acquire("a")
    failing = False
    assert (await pool.acquire("a"))[1]


async def test_too_many_waiting(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "WAITING", 1)
    for key in "abcd":
        await pool.acquire(key)
    waiting = asyncio.ensure_future(pool.acquire("e"))
    await settle()
    with pytest.raises(CallError) as caught:
        await pool.acquire("f")
    assert (caught.value.code, caught.value.started) == (Code.RESOURCE_EXHAUSTED, False)
    waiting.cancel()


async def test_a_forgotten_module_loses_its_idle_processes(pool: Pool, started: Started) -> None:
    held = [(await pool.acquire("a"))[0] for _ in range(2)]
    pool.release(held[0], "a", reusable=True)
    pool.forget("a")
    assert [each.is_alive for each in started] == [False, True]


async def test_what_is_unused_ends_but_for_a_few(pool: Pool, started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "IDLE_SECONDS", 0.0)
    held = [((await pool.acquire(key))[0], key) for key in "abc"]
    for process, key in held:
        pool.release(process, key, reusable=True)
    pool._sweep()
    assert [each.is_alive for each in started] == [False, False, True]


async def test_close_refuses_who_waits_and_who_comes(pool: Pool, started: Started) -> None:
    for key in "abcd":
        await pool.acquire(key)
    waiting = asyncio.ensure_future(pool.acquire("e"))
    await settle()
    await pool.close()
    for refused in (waiting, pool.acquire("a")):
        with pytest.raises(CallError) as caught:
            await refused
        assert caught.value.code is Code.UNAVAILABLE
    assert not any(each.is_alive for each in started)


async def test_one_that_is_started_while_the_pool_closes_is_ended(started: Started) -> None:
    go = asyncio.Event()

    async def start() -> Any:
        await go.wait()
        return await started.start()

    pool = Pool(start, 1)
    waiting = asyncio.ensure_future(pool.acquire("a"))
    await settle()
    await pool.close()
    go.set()
    with pytest.raises(CallError):
        await waiting
    assert not started[0].is_alive
