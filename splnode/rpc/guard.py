"""What a router asks before it passes a call on, and a listener before it lets one run where it was read.

The guard itself stands a floor above (`splnode.access.guard`): here is what is asked of it.
"""

import typing
from collections.abc import Callable

from splnode.rpc.call import Call, Peer


class Guard(typing.Protocol):
    """Says who may call what. Every way asks it: the wire, HTTP, and a call that stays in its process."""

    watchful: bool
    """Whether it has to see even what this node calls by itself."""
    changed: Callable[[], None]
    """What it calls when it says something else than before; set by the router that asks it."""

    def check(self, call: Call, *, here: bool = True) -> None:
        """CallError(PERMISSION_DENIED or UNAUTHENTICATED) for a call that may not be; `here`: it ends in this process.

        A token that the call brings is looked at where it ends, and taken out of its metadata.
        """
        ...

    def lets(self, peer: Peer, service: str, message: str) -> bool:
        """Whether calls of that message which `peer` brings for itself need not be looked at one by one."""
        ...

    def login(self, peer: Peer, name: str, token: str) -> Peer:
        """The same peer, known by a token and its name. CallError(UNAUTHENTICATED) says no more than that."""
        ...

    def bearer(self, peer: Peer, authorization: str) -> Peer:
        """The same peer, known by the value of an `Authorization` header. CallError(UNAUTHENTICATED) as above."""
        ...
