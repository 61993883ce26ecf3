"""Measures the round trip to a node: Avro's ping, an empty message that every peer answers.

Over HTTP, which has no ping, a handshake takes its place. One line a round trip, in milliseconds.
"""

import argparse
import time
from collections.abc import Callable
from typing import Final

from splnode.cli import output, target
from splnode.cli.failure import UsageError
from splnode.endpoint import Endpoint
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
    where, as_text = target.from_args(args), output.wants_text(args.json)
    endpoint, ping, close = pinger(where)
    try:
        for number in range(args.count):
            if number:
                time.sleep(args.interval)
            start = time.perf_counter()
            ping(time.monotonic() + where.max_time)
            took = round((time.perf_counter() - start) * 1000, 3)
            if as_text:
                output.emit_text(f"{endpoint}: {took:.3f} ms")
            else:
                output.emit({"endpoint": str(endpoint), "ms": took})
    finally:
        close()
    return 0


def pinger(where: target.Target) -> tuple[Endpoint, Callable[[float], object], Callable[[], None]]:
    """Connects to the first endpoint that answers: what pings it once, until a moment, and what closes it."""
    from splnode.cli.dial import dial_first
    from splnode.net.blocking import BlockingChannel
    from splnode.wire.greeting import nameless
    from splnode.wire.message import Contract

    dialled = dial_first(where, Contract(nameless("Ping")))
    channel, endpoint = dialled.channel, dialled.endpoint
    ping: Callable[[float], object]
    if isinstance(channel, BlockingChannel):
        ping = channel.ping
    else:
        from splnode.net.blocking_http import BlockingHttpChannel

        assert isinstance(channel, BlockingHttpChannel)  # there are no others
        ping = channel.discover

    def timed(until: float) -> None:
        try:
            ping(until)
        except CallError as error:
            if error.code is not Code.DEADLINE_EXCEEDED and time.monotonic() < until:
                raise
            text = f"{endpoint}: no answer to a ping within {where.max_time:g} s"
            raise CallError(Code.DEADLINE_EXCEEDED, text) from None

    return endpoint, timed, channel.close
