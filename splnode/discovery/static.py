"""Nodes that somebody wrote down: in the config, behind a flag, in SPLNODE_PEERS."""

import os
import re
from collections.abc import AsyncIterator, Iterable
from typing import Final

from splnode.discovery.resolver import ALL, Address, Board, Instance, Instances
from splnode.endpoint import Endpoint
from splnode.errors import ConfigError

VARIABLE: Final = "SPLNODE_PEERS"


def peers_from_environment() -> tuple[str, ...]:
    """The endpoints in SPLNODE_PEERS, which spaces or commas separate."""
    return tuple(word for word in re.split(r"[\s,]+", os.environ.get(VARIABLE, "")) if word)


def peer(text: str, source: str) -> Instance:
    """An instance of which only the endpoint is known. ConfigError if it is none that can be dialled."""
    endpoint = Endpoint.parse(text)
    if endpoint.scheme != "unix" and not endpoint.port:
        raise ConfigError(f"peer {text!r}: port 0 lets a listener choose; a peer needs its port")
    return Instance((Address(endpoint, source),))


class Static:
    """A Resolver of a fixed list of endpoints, each the only one of its node. ConfigError names a bad one."""

    def __init__(self, peers: Iterable[str], name: str = "static") -> None:
        self.name = name
        self._board = Board()
        self._board.post(peer(text, name) for text in peers)

    def watch(self, service: str = ALL) -> AsyncIterator[Instances]:
        """The list, once."""
        return self._board.watch(service)
