import asyncio
import time

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
    await asyncio.wait_for(done.wait(), 5)
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
    await asyncio.wait_for(done.wait(), 5)
    await asyncio.sleep(0)
    assert len(expired) == 1


async def test_one_timer_for_all(monkeypatch: object) -> None:
    loop = asyncio.get_running_loop()
    made: list[float] = []
    original = loop.call_later

    def counting(delay: float, *args: object) -> asyncio.TimerHandle:
        made.append(delay)
        return original(delay, *args)  # type: ignore[arg-type]  # passed through as it came

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
