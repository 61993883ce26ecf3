"""Tasks that handlers begin and leave behind: they end with the node alone, and each holds memory until then."""

import asyncio
from collections import Counter
from typing import Final

import structlog

EVERY: Final = 10.0
"""Seconds between two looks: one takes some 0.1 us a task."""
MANY: Final = 5_000
"""Tasks that are worth a line: calls that run have one each, 256 at a time, and connections mostly have none."""

log = structlog.get_logger("splnode.observe")


async def watch_tasks(every: float = EVERY, many: int = MANY) -> None:
    """Says in the log where this process has `many` tasks, and again when there are twice as many. Goes on until it is
    cancelled.
    """
    told = many
    while True:
        await asyncio.sleep(every)
        tasks = asyncio.all_tasks()
        if len(tasks) >= told:
            told = 2 * len(tasks)
            name, count = Counter(map(_name, tasks)).most_common(1)[0]
            log.warning(
                "tasks pile up: a handler begins them and lets them run on",
                tasks=len(tasks),
                most=f"{name} ({count})",
                fix="await what a handler begins (asyncio.TaskGroup), or cancel it when the handler ends",
            )
        elif len(tasks) < many // 2:
            told = many


def _name(task: "asyncio.Task[object]") -> str:
    """What it runs."""
    return getattr(task.get_coro(), "__qualname__", "a task")
