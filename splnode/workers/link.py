"""Connections between the processes of a node: a socket pair each, made before the process that gets the other end."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Final

from splnode.avro.protocol import Protocol
from splnode.config import ChannelsConfig
from splnode.endpoint import Endpoint
from splnode.errors import DeclaredError
from splnode.limits import Limits
from splnode.net.connection import ClientConnection
from splnode.wire.client import ClientSession
from splnode.wire.message import Contract

QUIET: Final = ChannelsConfig(keepalive_active=86_400.0, keepalive_idle=86_400.0)
"""Nobody is asked whether it is there: on one host the end of a process is seen."""
ROOM: Final = 64 * 1024
"""Bytes that a message may be longer within a node than when it came in: metadata is written anew."""
CALLS: Final = 1_000_000
"""Calls in flight on one link: each was let in by a worker already."""
TURN: Final = 64
"""Connections that are taken in before the others of the loop have their turn."""
WEEKS: Final = 2_678_400.0
"""Seconds that a link may be idle: nobody but its worker may close it."""
BOOT_SECONDS: Final = 60.0
"""Seconds from the making of a link to its handshake: a process starts meanwhile, and the machine may be busy."""


def within(limits: Limits) -> Limits:
    """The limits of a link: what a worker has let in must fit through."""
    room = {name: min(getattr(limits, name) + ROOM, 2**31 - 1) for name in ("message_bytes", "metadata_bytes")}
    return limits.replace(
        **room,
        calls_per_connection=CALLS,
        connection_bytes=limits.held_bytes,  # it carries the calls of many
        handshake_seconds=BOOT_SECONDS,
        idle_seconds=WEEKS,
        calls_per_second=0.0,
        bytes_per_second=0.0,
    )


async def linked(
    sock: socket.socket,
    protocol: Protocol,
    name: str,
    limits: Limits,
    lost: Callable[[str], None],
    errors: Sequence[type[DeclaredError]] = (),
) -> tuple[ClientConnection, Contract]:
    """A connection over a connected socket, which it takes over. Whoever called closes it.

    `name` stands for the other end in errors; `lost` is told when it has gone, also by closing. CallError if there is
    no handshake.
    """
    contract = Contract(protocol, errors={error.schema_name: error for error in errors}, limits=limits)
    session = ClientSession(contract, framing="netty", limits=limits)
    sock.setblocking(False)
    _, connection = await asyncio.get_running_loop().create_unix_connection(
        lambda: ClientConnection(session, Endpoint("unix", path=f"/{name}"), QUIET, lost), sock=sock
    )
    try:
        await connection.ready()
    except BaseException:
        connection.abort()
        raise
    return connection, contract
