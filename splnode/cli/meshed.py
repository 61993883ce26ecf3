"""Asking a node about the mesh; or, where no node runs on this host, looking for oneself."""

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

from splnode import sync
from splnode.cli import dial, output, target
from splnode.cli.failure import NoEndpointError, say
from splnode.config import Config, DiscoveryConfig, NodeConfig
from splnode.net.securing import Securing
from splnode.observe import logging
from splnode.rpc.client import Client
from splnode.rpc.router import Router
from splnode.services.mesh import MeshMember
from splnode.services.peers import EXECUTE_SERVICE, NODE_SERVICE

LOOKING: Final = 1.5
"""Seconds in which the nodes of a network make themselves known."""
MDNS: Final[Literal["on", "off"]] = "on"
WATCHING: Final = 10.0
"""Seconds that a node may wait for a change before it answers that there is none."""


class Asked:
    """What SPLNodeService says, of a node or of this command itself; `alone` in the latter case."""

    def __init__(self, client: sync.Client | None, member: MeshMember | None = None) -> None:
        self._client = client
        self._member = member
        self.alone = member is not None

    async def call(self, message: str, **params: Any) -> Any:
        """One message of it. CallError, DeclaredError."""
        if self._member is not None:
            result = getattr(self._member.service, message)(**params)
            return await result
        assert self._client is not None  # one of the two
        # What is asked for may take its time, and the answer some more.
        timeout = params.get("timeoutMs", 0) / 1000 + 10
        return self._client.call(message, params, timeout=timeout)  # it blocks: nothing else runs in this loop


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of those commands."""
    parser.add_argument("--json", action="store_true", help="JSON on a terminal too")
    parser.add_argument(
        "--scan",
        action="store_true",
        help="ask no node: look for oneself, through multicast DNS and SPLNODE_PEERS; so it is where no node runs here",
    )
    target.add_options(parser)


@asynccontextmanager
async def asking(args: argparse.Namespace) -> AsyncIterator[Asked]:
    """The node that the options name, or this command itself. NoEndpointError if a named node does not answer."""
    if not args.scan:
        where = target.from_args(args)
        try:
            endpoint, protocol = dial.find(where, NODE_SERVICE)
        except NoEndpointError as error:
            if not target.is_default(args):
                raise
            tell_alone(error)
        else:
            with dial.connected(where.at(endpoint), protocol) as dialled:
                yield Asked(dialled.client(where.max_time))
            return
    async with looking(tls=target.from_args(args).tls) as member:
        yield Asked(None, member)


def tell_alone(error: NoEndpointError) -> None:
    """Says that this command looks for others itself, and why: the node of this host has let nobody in, as `error`
    has it."""
    secret = "speaks TLS" in str(error)
    found = "what runs here speaks TLS, and wants --cert or --mesh-key" if secret else "no node runs here"
    say(f"{found}: looking for others from this command")


@asynccontextmanager
async def looking(seconds: float | None = None, tls: Securing | None = None) -> AsyncIterator[MeshMember]:
    """A part in the mesh that is no node: it finds others, and passes calls on to them. It waits for them before, for
    so many seconds; None: as long as they need."""
    from splnode.avro.protocol import find_protocol
    from splnode.balance.elsewhere import open_elsewhere
    from splnode.net.tls import Tls
    from splnode.services.checkup import check_up

    async def modules() -> list[str]:
        return []

    logging.configure("error")
    config = Config(node=NodeConfig(listen=()), discovery=DiscoveryConfig(mdns=MDNS))
    router = Router()
    member = MeshMember(
        config,
        protocols=lambda: (),
        load=lambda: 0.0,
        modules=modules,
        local=Client(router, find_protocol(EXECUTE_SERVICE)),
        channel=router,
        tls=tls,
        check_up=lambda: check_up(tls if isinstance(tls, Tls) else None),
    )
    router.elsewhere = elsewhere = open_elsewhere(config, member.roster, member.verdicts, tls)
    try:
        await member.start("", [])
        await asyncio.sleep(LOOKING if seconds is None else seconds)
        yield member
    finally:
        await elsewhere.close()
        await member.close()


async def changes(asked: Asked) -> AsyncIterator[list[dict[str, Any]]]:
    """The nodes, now and after each change."""
    revision, last = None, None
    while True:
        found = await asked.call("watchNodes", revision=revision, timeoutMs=int(WATCHING * 1000))
        if found["revision"] != last:
            last = revision = found["revision"]
            yield others(asked, found["nodes"])


def others(asked: Asked, nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without this command, which is no node."""
    return [node for node in nodes if not (asked.alone and node["self"])]


def show(args: argparse.Namespace, rows: list[dict[str, Any]], line: Any, head: tuple[str, ...]) -> None:
    """A table with a head, or one JSON object a line."""
    if not output.wants_text(args.json):
        for row in rows:
            output.emit(row)
    else:
        output.emit_text(output.table([tuple(output.paint(each, output.BOLD) for each in head), *map(line, rows)]))


def load(row: dict[str, Any]) -> str:
    """The load for a table."""
    return "-" if row["load"] is None else f"{row['load']:.0%}"


def state(row: dict[str, Any]) -> str:
    """The state for a table: a problem is one, too."""
    if row["state"] in ("SUSPECT", "GONE"):
        return output.paint(row["state"].lower(), output.RED)
    if row["problem"]:
        return output.paint("left out", output.RED)
    return "draining" if row["state"] == "DRAINING" else output.paint("up", output.GREEN)
