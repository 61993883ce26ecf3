"""The frame of a peer program: `serve` and `drive`, each its own process, told what to do on stdin.

- `python -m benchmarks.peers.NAME serve [VARIANT]` prints `{"endpoint": ...}` when it serves, and ends
  when stdin does.
- `python -m benchmarks.peers.NAME drive ENDPOINT [VARIANT]` prints `{"ready": true}`, then reads one order
  a line (`measure.Order` as JSON) and prints what each gave (`measure.Round` as JSON).

A process that outlives its rounds costs nothing while it waits, so the rounds of all stacks can be
interleaved. The node peer speaks the same lines.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Sized
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import uvloop

from benchmarks import workload
from benchmarks.measure import Check, Drive, Order

Serve = Callable[[], AbstractAsyncContextManager[str]]
T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, None]], object]


def main(
    serve: dict[str, Serve], drive: dict[str, Drive], *, run: Run = uvloop.run, run_server: Run | None = None
) -> None:
    """Runs the role named on the command line. The keys are the variants; the first is the default.

    `run` starts the event loop; `run_server` that of the server, where it needs another.
    """
    role, *arguments = sys.argv[1:]
    if role == "serve":
        (run_server or run)(_serve(_chosen(serve, arguments)))
    elif role == "drive":
        run(_drive(_chosen(drive, arguments[1:]), arguments[0]))
    else:
        raise SystemExit(f"unknown role {role!r}: serve [VARIANT] or drive ENDPOINT [VARIANT]")


def _chosen(variants: dict[str, T], arguments: list[str]) -> T:
    name = arguments[0] if arguments else next(iter(variants))
    if name not in variants:
        raise SystemExit(f"unknown variant {name!r}: there are {', '.join(variants)}")
    return variants[name]


async def _serve(serve: Serve) -> None:
    async with serve() as endpoint:
        _say({"endpoint": endpoint})
        while await _line():
            pass


async def _drive(drive: Drive, endpoint: str) -> None:
    _say({"ready": True})
    while line := await _line():
        order = Order(**json.loads(line))
        _say((await drive(endpoint, workload.value(order.payload), order)).as_dict())


async def _line() -> str:
    """The next line of stdin, read in a thread so that the loop goes on; empty at the end."""
    return await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


def _say(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def sized(value: Sized, of: Callable[[Any], Sized] = lambda answer: answer) -> Check:
    """A check that what `of` finds in an answer is as long as the value that was sent."""
    size = len(value)

    def check(answer: Any) -> None:
        if len(of(answer)) != size:
            raise ValueError(f"the answer {answer!r:.80} has not the {size} bytes that were sent")

    return check
