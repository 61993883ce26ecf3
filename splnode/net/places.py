"""Who has a place here: how many connections there may be, and how many that have said nothing sensible yet.

| limit | who is counted | one more |
|---|---|---|
| the limit of open files | all | has the oldest without a whole message go; is not accepted if there is none |
| connections | all, but for the node's own user and root at a Unix socket | is refused |
| connections_per_address | those of one address, but for this host's | is refused |
| handshakes_per_address | of these, those without a whole message yet | has the oldest of them go |
| handshakes | all without a whole message yet | has the oldest of them go |

A whole message takes an honest peer a moment. So of those who have sent none the oldest is the least honest, and
whoever comes is let in though others hold as many as they may. The node's own user is let in while there are
descriptors: he must be able to see what happens.
"""

import asyncio
import ipaddress
import os
import resource
import sys
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from splnode.limits import Limits
from splnode.net.peer import peer_of
from splnode.net.reached import OPEN_FILES

K = TypeVar("K")

RESERVE: Final = 1024
"""File descriptors at most that are kept from connections."""
EXTRA: Final = 8
"""Descriptors of the reserve for the node's own user, who must be able to see what happens, and for those who have
to go while others come."""
OWN: Final = ""
"""Whence the node's own user comes, and root: by a Unix socket."""
HOST: Final = "this host"
"""Whence everybody comes who connects by loopback: all of 127.0.0.0/8 is anybody's who is here."""
_PREFIX: Final = 64
"""Bits of an IPv6 address that are a network: the others are its owner's to choose. (RFC 4291, 2.5.4)"""


def most_connections() -> int:
    """How many connections leave enough file descriptors for the store, the modules and the log."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft - min(max(64, soft // 8), RESERVE, soft // 2) if soft > 0 else sys.maxsize


def whence(transport: asyncio.BaseTransport) -> str:
    """What counts as the address of a peer: OWN, HOST, `uid:1000`, an IPv4 address, the /64 of an IPv6 address."""
    address = transport.get_extra_info("peername")
    if isinstance(address, tuple) and address:
        return of_address(str(address[0]))
    uid = peer_of(transport).uid
    return OWN if uid in (0, os.getuid()) else f"uid:{uid}"


def of_address(text: str) -> str:
    """The same for an IP address; what is none stands for itself."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return text
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            network = ipaddress.ip_network((address, _PREFIX), strict=False)
            return HOST if address.is_loopback else str(network)
        address = address.ipv4_mapped
    return HOST if address.is_loopback else str(address)


class Places(Generic[K]):
    """The connections of one process by whence they come. `evict` is called with one that has to go, and the limit."""

    def __init__(self, limits: Limits, evict: Callable[[K, str], None], room: int = sys.maxsize) -> None:
        self._limits = limits
        self._evict = evict
        self._room = room
        self._from: dict[K, str] = {}
        self._counts: Counter[str] = Counter()
        self._greeting: OrderedDict[K, None] = OrderedDict()
        self._greeting_from: dict[str, OrderedDict[K, None]] = {}

    @property
    def greeting(self) -> int:
        """Connections without a whole message yet."""
        return len(self._greeting)

    def has_room(self, more: int = 0, address: str = HOST) -> bool:
        """Whether one who comes from there can be let in beside `more` others, as far as descriptors go."""
        most = self._room_for(address)
        return len(self._from) + more < (most + EXTRA if self._greeting else most)

    def greets(self, who: K) -> bool:
        """Whether it is one of these."""
        return who in self._greeting

    def enter(self, who: K, address: str) -> str:
        """Takes a place until `leave`, or gives the name of the limit that allows no more."""
        limits, taken = self._limits, len(self._from)
        if taken >= self._room_for(address):
            if not self._greeting:
                return OPEN_FILES
            self._send_away(next(iter(self._greeting)), OPEN_FILES)
        if address is not OWN and taken >= limits.connections:
            return "connections"
        if address not in (OWN, HOST) and self._counts[address] >= limits.connections_per_address:
            return "connections_per_address"
        self._from[who] = address
        self._counts[address] += 1
        if address is not OWN:
            self._greet(who, address)
        return ""

    def greeted(self, who: K) -> None:
        """It has sent a whole message."""
        if who in self._greeting:
            address = self._from[who]
            del self._greeting[who]
            here = self._greeting_from[address]
            del here[who]
            if not here:
                del self._greeting_from[address]

    def leave(self, who: K) -> None:
        """It has gone; unknown ones are fine."""
        if who in self._from:
            self.greeted(who)
            address = self._from.pop(who)
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]

    def _room_for(self, address: str) -> int:
        return self._room + EXTRA if address is OWN else self._room

    def _greet(self, who: K, address: str) -> None:
        here = self._greeting_from.setdefault(address, OrderedDict())
        here[who] = self._greeting[who] = None
        if address is not HOST and len(here) > self._limits.handshakes_per_address:
            self._send_away(next(iter(here)), "handshakes_per_address")
        elif len(self._greeting) > self._limits.handshakes:
            self._send_away(next(iter(self._greeting)), "handshakes")

    def _send_away(self, who: K, limit: str) -> None:
        self.greeted(who)  # it goes in a moment, and is not to be chosen again
        self._evict(who, limit)
