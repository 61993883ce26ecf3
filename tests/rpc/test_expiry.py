import asyncio
import time
from contextvars import ContextVar

import pytest

from splnode.rpc import expiry as module
from splnode.rpc.expiry import Expiry


async def test_expires_in_order_of_deadlines_and_only_what_is_still_there() -> None:
    expired: list[str] = []
    done = asyncio.Event()

    def expire(key: str) -> None:
        expired.append(key)
        if key == "c":
            done.set()

    expiry: Expiry[str] = Expiry(expire)
    now = time.monotonic()
    expiry.add("c", now + 0.06)
    expiry.add("a", now + 0.02)
    expiry.add("gone", now + 0.03)
    expiry.add("later", now + 60)
    expiry.discard("gone")
    expiry.discard("never there")
    await asyncio.wait_for(done.wait(), 20)
    assert expired == ["a", "c"]
    expiry.close()


async def test_what_an_expiry_discards_does_not_expire() -> None:
    expired: list[str] = []
    done = asyncio.Event()

    def expire(key: str) -> None:
        expired.append(key)
        expiry.discard("b" if key == "a" else "a")
        done.set()

    expiry: Expiry[str] = Expiry(expire)
    past = time.monotonic() - 1
    expiry.add("a", past)
    expiry.add("b", past)
    await asyncio.wait_for(done.wait(), 20)
    await asyncio.sleep(0)
    assert len(expired) == 1


async def test_one_timer_for_all(monkeypatch: object) -> None:
    loop = asyncio.get_running_loop()
    made: list[float] = []
    original = loop.call_later

    def counting(delay: float, *args: object, **options: object) -> asyncio.TimerHandle:
        made.append(delay)
        return original(delay, *args, **options)  # type: ignore[arg-type]  # passed through as it came

    loop.call_later = counting  # type: ignore[method-assign]  # to count
    expiry: Expiry[int] = Expiry(lambda key: None)
    start = time.monotonic() + 30
    for key in range(1000):
        expiry.add(key, start + key)
    assert len(made) == 1
    expiry.close()


async def test_closed_nothing_expires() -> None:
    expired: list[int] = []
    expiry: Expiry[int] = Expiry(expired.append)
    expiry.add(1, time.monotonic())
    expiry.close()
    for _ in range(5):
        await asyncio.sleep(0)
    assert expired == []


async def test_one_that_fails_does_not_make_the_others_late() -> None:
    expired: list[str] = []
    done = asyncio.Event()
    said: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(repr(context["exception"])))

    def expire(key: str) -> None:
        if key == "bad":
            raise ValueError("mine")
        expired.append(key)
        done.set()

    expiry: Expiry[str] = Expiry(expire)
    past = time.monotonic() - 1
    for key in ("bad", "good"):
        expiry.add(key, past)
    await asyncio.wait_for(done.wait(), 20)
    assert (expired, said) == (["good"], ["ValueError('mine')"])


async def test_closed_it_may_be_used_again() -> None:
    done = asyncio.Event()
    expiry: Expiry[int] = Expiry(lambda key: done.set())
    expiry.add(1, time.monotonic() + 0.01)
    expiry.close()
    expiry.add(2, time.monotonic() + 0.02)
    await asyncio.wait_for(done.wait(), 20)


async def test_whoever_had_the_timer_armed_is_not_seen_by_what_expires() -> None:
    whose: ContextVar[str] = ContextVar("whose", default="nobody's")
    seen: list[str] = []
    done = asyncio.Event()

    def expire(key: int) -> None:
        seen.append(whose.get())
        if key == 2:
            done.set()

    expiry: Expiry[int] = Expiry(expire)
    whose.set("the first call's")
    expiry.add(1, time.monotonic())
    expiry.add(2, time.monotonic() + 0.02)
    await asyncio.wait_for(done.wait(), 20)
    assert seen == ["nobody's"] * 2


async def test_many_that_expire_one_by_one_are_swept_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SPACING", 1e-4)
    sweeps, done = 0, asyncio.Event()

    class Counting(Expiry[int]):
        def _sweep(self, now: float) -> None:
            nonlocal sweeps
            sweeps += 1
            super()._sweep(now)
            if not self._deadlines:
                done.set()

    expiry = Counting(lambda key: None)
    start = time.monotonic()
    for key in range(1000):
        expiry.add(key, start + key * 1e-4)
    await asyncio.wait_for(done.wait(), 10)
    assert sweeps < 100
