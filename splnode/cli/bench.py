"""Measures how fast a message is answered.

  splnode bench SPLDataService.listTopics --rate 500 --time 10
  splnode bench SPLDataService.listTopics -n 10000 -c 4

With --rate (the default: 100 calls a second for 5 seconds) the loop is open: a call begins when it is due, however
the earlier ones fare, and its latency counts from the moment at which it was due. With -n each connection makes
its next call when the last is answered, or keeps --in-flight of them going. Exit code 0 if a call succeeded.
"""

import argparse
import functools
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

from splnode.cli import output, target
from splnode.cli.call import add_headers
from splnode.cli.failure import FAILED_CALL, UsageError, say
from splnode.cli.latency import PERCENTILES, Tally, summary
from splnode.cli.load import One, closed_loop, open_loop
from splnode.cli.loop import run_long
from splnode.errors import Code

RATE: Final = 100.0
SECONDS: Final = 5.0
BAR: Final = 30


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `bench`."""
    parser.add_argument("message", metavar="SERVICE.MESSAGE", help="the message to call")
    parser.add_argument("-d", "--data", metavar="JSON|@FILE|@-", help="the parameters of every call (default: {})")
    add_headers(parser)
    parser.add_argument("--protocol", metavar="FILE", help="speak this .avpr instead of asking the server for its own")
    parser.add_argument("-c", "--connections", type=target.positive, default=1, metavar="N", help="default: 1")
    parser.add_argument(
        "--in-flight", type=target.positive, default=1, metavar="N", help="with -n: calls at a time on each connection"
    )
    parser.add_argument("-n", "--calls", type=target.positive, metavar="N", help="closed loop: so many calls in all")
    parser.add_argument("--rate", type=target.rate, metavar="R", help=f"open loop: calls/s (default: {RATE:g})")
    parser.add_argument("--time", type=target.seconds, metavar="S", help=f"for so many seconds (default: {SECONDS:g})")
    parser.add_argument("--bytes", choices=("base64", "utf8", "hex"), default="base64", help="how bytes stand in -d")
    parser.add_argument("--named", action="store_true", help="-d is an object by parameter name, never a bare record")
    parser.add_argument("--json", action="store_true", help="the numbers as JSON on a terminal too")
    target.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Measures, prints, and gives 0 if any call succeeded, else the code of the commonest error."""
    if args.calls and (args.rate or args.time):
        raise UsageError("-n is a closed loop, --rate and --time an open one: give one or the other")
    tally, found = run_long(_bench(args))
    for name, text in tally.sample.items():
        say(f"{tally.errors[name]} x {name}: {text}")
    output.emit_text(_text(found)) if output.wants_text(args.json) else output.emit(found)
    if found["ok"] or not tally.errors:
        return 0
    commonest = tally.errors.most_common(1)[0][0]
    return FAILED_CALL + (Code[commonest] if commonest in Code.__members__ else Code.UNKNOWN)


async def _bench(args: argparse.Namespace) -> tuple[Tally, dict[str, Any]]:
    from splnode.cli import inputs
    from splnode.cli.calling import speak
    from splnode.cli.dial import connected, message_of, split_name
    from splnode.cli.metadata import read_headers
    from splnode.cli.params import JsonForm
    from splnode.cli.phases import Phases
    from splnode.config import ChannelsConfig
    from splnode.net.channel import EndpointChannel
    from splnode.rpc.client import Client
    from splnode.wire.message import Contract

    where = target.from_args(args)
    settings = ChannelsConfig(connect_timeout=where.connect_timeout)
    value, metadata = inputs.one(args.data), read_headers(args.header, where.headers)
    service, name = split_name(args.message)
    protocol, where = speak(args, where, service, Phases())
    params = JsonForm(bytes_as=args.bytes, named=args.named).params(message_of(protocol, name), value)
    contract = Contract(protocol)
    with connected(where, contract) as dialled:
        endpoint = dialled.endpoint
        metadata = {**dialled.metadata, **metadata}
    async with AsyncExitStack() as stack:
        channels = [
            EndpointChannel(endpoint, contract, settings=settings, tls=where.tls) for _ in range(args.connections)
        ]
        for channel in channels:
            stack.push_async_callback(channel.close)
            await channel.connect()
        clients = [Client(channel, contract, timeout=where.max_time) for channel in channels]
        ways = [functools.partial(client.call, name, params, metadata=metadata) for client in clients]
        tally, loop, took = await _load(args, ways)
    head = {"message": f"{protocol.name}.{name}", "endpoint": str(endpoint), "connections": args.connections}
    return tally, head | loop | summary(tally, took)


async def _load(args: argparse.Namespace, ways: Sequence[One]) -> tuple[Tally, dict[str, Any], float]:
    """What was counted, how it was done, and the seconds that it took."""
    tally, clock = Tally(), time.perf_counter
    start = clock()
    if args.calls:
        with Bar(args.calls) as bar:
            await closed_loop([*ways] * args.in_flight, args.calls, tally, clock, bar.show)
        return tally, {"loop": "closed", "in_flight": args.in_flight}, clock() - start
    rate, seconds = args.rate or RATE, args.time or SECONDS
    with Bar(round(rate * seconds)) as bar:
        await open_loop(ways, rate, seconds, tally, clock, bar.show)
    return tally, {"loop": "open", "intended_rate": rate}, clock() - start


class Bar:
    """Progress on stderr, where that is a terminal; ten times a second at most."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._next = 0.0
        self._shows = output.on_terminal(sys.stderr)

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: object) -> None:
        if self._shows:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def show(self, done: int) -> None:
        """So many calls have ended."""
        if self._shows and (now := time.perf_counter()) >= self._next:
            self._next = now + 0.1
            filled = "#" * (BAR * done // max(1, self._total))
            print(f"\r[{filled:{BAR}}] {done}/{self._total}", end="", file=sys.stderr, flush=True)


def _text(found: dict[str, Any]) -> str:
    loop = f"open loop, {found['intended_rate']:g} calls/s intended" if found["loop"] == "open" else "closed loop"
    lines = [
        f"{found['message']} at {found['endpoint']}, {found['connections']} connection(s), {loop}",
        f"{found['calls']} calls in {found['seconds']:.2f} s, {found['ok']} succeeded: {found['rate']:.1f} a second",
    ]
    if found["latency_ms"]:
        names = ("min", "mean", *(f"p{percent:g}" for percent in PERCENTILES), "max")
        lines.append("latency in ms: " + ", ".join(f"{name} {found['latency_ms'][name]:.3f}" for name in names))
    lines += [f"{count} x {name}" for name, count in found["errors"].items()]
    return "\n".join(lines)
