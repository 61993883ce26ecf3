import asyncio

import structlog

from splnode.observe.leaks import watch_tasks


async def told(seen: list[structlog.types.EventDict], count: int) -> list[int]:
    """How many tasks each line tells of, once there are so many lines."""
    async with asyncio.timeout(10):
        while len(seen) < count:
            await asyncio.sleep(0)
    return [each["tasks"] for each in seen]


async def test_tasks_that_pile_up_are_told_of_and_again_when_there_are_twice_as_many() -> None:
    async def left_behind() -> None:
        await asyncio.Event().wait()

    def begin(count: int) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(left_behind()) for _ in range(count)]

    with structlog.testing.capture_logs() as seen:
        watching = asyncio.create_task(watch_tasks(0.0, 50))
        few = begin(10)
        for _ in range(20):
            await asyncio.sleep(0)
        assert seen == []
        more = begin(50)
        (first,) = await told(seen, 1)
        assert first >= 60
        assert "left_behind (60)" in seen[0]["most"] and "TaskGroup" in seen[0]["fix"]
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(seen) == 1
        more += begin(70)
        assert (await told(seen, 2))[1] >= 130
        for task in more:
            task.cancel()
        for _ in range(20):
            await asyncio.sleep(0)
        more = begin(50)
        assert 60 <= (await told(seen, 3))[2] < 130
        for task in (watching, *few, *more):
            task.cancel()
