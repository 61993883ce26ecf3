"""Measures the round trip to a node: Avro's ping, an empty message that every peer answers.

Over HTTP, which has no ping, a handshake takes its place. One line a round trip, in milliseconds.
"""

import argparse
import asyncio
import time
from typing import Final

from splnode.cli import output, target
from splnode.cli.failure import UsageError
from splnode.errors import CallError, Code

PAUSE: Final = 1.0


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `ping`."""
    parser.add_argument("endpoint", metavar="ENDPOINT", nargs="?", help="the same as --to")
    parser.add_argument("-c", "--count", type=target.positive, default=1, metavar="N", help="round trips (default: 1)")
    parser.add_argument(
        "-i",
        "--interval",
        type=target.seconds,
        default=PAUSE,
        metavar="S",
        help=f"pause in seconds (default: {PAUSE:g})",
    )
    parser.add_argument("--json", action="store_true", help="JSON on a terminal too")
    target.add_options(parser, 5.0)


def run(args: argparse.Namespace) -> int:
    """Pings, and prints each round trip as it comes."""
    if args.endpoint and args.to:
        raise UsageError("the endpoint is given twice: as --to and as an argument")
    args.to = args.to or args.endpoint
    asyncio.run(_ping(target.from_args(args), args.count, args.interval, output.wants_text(args.json)))
    return 0


async def _ping(where: target.Target, count: int, interval: float, as_text: bool) -> None:
    from splnode.cli.pinging import pinger

    async with pinger(where) as (endpoint, ping):
        for number in range(count):
            if number:
                await asyncio.sleep(interval)
            start = time.perf_counter()
            try:
                async with asyncio.timeout(where.max_time):
                    await ping()
            except TimeoutError:
                text = f"{endpoint}: no answer to a ping within {where.max_time:g} s"
                raise CallError(Code.DEADLINE_EXCEEDED, text) from None
            took = round((time.perf_counter() - start) * 1000, 3)
            if as_text:
                output.emit_text(f"{endpoint}: {took:.3f} ms")
            else:
                output.emit({"endpoint": str(endpoint), "ms": took})
