"""Whom a command calls: `--to`, SPLNODE_TO, the profile, or else the node of this user on this host."""

import argparse
import os
from collections.abc import Sequence
from typing import Final

from splnode.cli import bearing, encryption, profile
from splnode.cli.failure import UsageError
from splnode.endpoint import SECURED, Endpoint
from splnode.errors import ConfigError
from splnode.net.securing import Securing

MAX_TIME: Final = 30.0
CONNECT_TIMEOUT: Final = 5.0
LOCAL_TCP: Final = "tcp://127.0.0.1:9090"
ENDPOINTS: Final = "tcp://HOST:PORT, tls://HOST:PORT, unix://PATH, http+avro:// or https+avro://HOST:PORT/PATH"


class Target:
    """`endpoints` are tried in turn until one can be connected to; times are seconds. `tls`: see `encryption`."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        max_time: float,
        connect_timeout: float,
        headers: dict[str, str],
        tls: Securing | None = None,
        token: bearing.Bearing = bearing.Bearing(),  # noqa: B008 - it is empty
    ) -> None:
        self.endpoints = tuple(endpoints)
        self.max_time = max_time
        self.connect_timeout = connect_timeout
        self.headers = headers
        self.tls = tls
        self.token = token

    def at(self, endpoint: Endpoint) -> "Target":
        """The same, narrowed to one endpoint."""
        return Target((endpoint,), self.max_time, self.connect_timeout, self.headers, self.tls, self.token)


def seconds(text: str) -> float:
    """An argparse type: a time above 0 and at most a day."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from None
    if not 0 < value <= 86_400:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 86400 seconds")
    return value


def rate(text: str) -> float:
    """An argparse type: so many a second, up to a million."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 < value <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1000000 a second")
    return value


def positive(text: str) -> int:
    """An argparse type: a whole number from 1 on."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def add_options(parser: argparse.ArgumentParser, max_time: float = MAX_TIME) -> None:
    """The options of every command that calls somebody."""
    group = parser.add_argument_group("whom to call")
    group.add_argument("--to", metavar="ENDPOINT", help=ENDPOINTS)
    group.add_argument("--profile", metavar="NAME", help="take --to, headers and --max-time from shell.toml")
    group.add_argument(
        "--max-time", type=seconds, metavar="S", help=f"seconds that a call may take (default: {max_time:g})"
    )
    group.add_argument(
        "--connect-timeout", type=seconds, metavar="S", help=f"seconds to connect in (default: {CONNECT_TIMEOUT:g})"
    )
    bearing.add_options(group)
    encryption.add_options(parser)
    parser.set_defaults(default_max_time=max_time)


def from_args(args: argparse.Namespace) -> Target:
    """The target that the options of a command name. UsageError."""
    chosen = profile.load(args.profile)
    max_time = args.max_time or chosen.max_time or args.default_max_time
    connect_timeout = min(args.connect_timeout or CONNECT_TIMEOUT, max_time)
    tls = encryption.made_of(encryption.given(args) or chosen.tls)
    token = bearing.given(args)
    return Target(
        endpoints(args.to or chosen.to, secure=tls is not None), max_time, connect_timeout, chosen.headers, tls, token
    )


def endpoints(to: str | None, *, secure: bool = False) -> tuple[Endpoint, ...]:
    """Where to look: the endpoint named, or the local node's socket and then its port: over TLS too, if that is known.

    A node that has a certificate, and listens for others, speaks nothing else at that port.
    """
    named = to or os.environ.get("SPLNODE_TO")
    if named:
        try:
            return (Endpoint.parse(named),)
        except ConfigError as error:
            raise UsageError(f"{'--to' if to else 'SPLNODE_TO'}: {error}") from None
    from splnode.config import default_socket

    local = Endpoint.parse(LOCAL_TCP)
    return (default_socket(), *((local.replace(scheme=SECURED[local.scheme]),) if secure else ()), local)


def split_node(to: str | None) -> tuple[str | None, str | None]:
    """What `--to` names: the node that is to answer, or the endpoint where to call. That has a colon, or a slash."""
    return (to, None) if to and not {":", "/"} & set(to) else (None, to)


def is_default(args: argparse.Namespace) -> bool:
    """Whether nobody said whom to call."""
    return not (args.to or args.profile or os.environ.get("SPLNODE_TO") or os.environ.get("SPLNODE_PROFILE"))
