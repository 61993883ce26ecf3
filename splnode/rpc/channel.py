"""The one idea: a Channel is anything that can be called.

A server is a Channel (it runs the handler), a connection is one (it sends bytes), a router is one over
others. Listeners, the shell and gateways only hold a Channel, so what works over one works over each.
"""

import typing
from collections.abc import Coroutine
from typing import Any

from splnode.rpc.call import Call
from splnode.wire.message import Contract
from splnode.wire.track import Track


class Channel(typing.Protocol):
    """Anything that can be called.

    `call` gives the response, or raises DeclaredError (the protocol's own errors) or CallError (all the
    rest), or asyncio.CancelledError if its task is cancelled, which is safe and reaches the handler.
    It never outlives the call's deadline. Whoever made the channel closes it; closing twice is allowed.

    It is an `async def`, or, in a channel that only passes calls on, a plain `def` that returns the next
    one's coroutine: a frame less for each floor.
    """

    def call(self, call: Call) -> Coroutine[Any, Any, object]:
        """Carries one call."""
        ...

    async def close(self) -> None:
        """Refuses new calls, ends those that run, frees what is held."""
        ...


class Tracked(Channel, typing.Protocol):
    """A Channel whose clients may put calls straight into its connections, past `call`.

    `track` gives the lines that are open right now, for as long as the channel lives: it changes their `lines` as
    connections come and go. None: this contract's calls must come through `call`. A call that finds no open line, and
    every call of a client with interceptors, comes through `call` all the same. A channel of channels nests their
    tracks in its own; how many calls a line has in flight the lines know themselves.
    """

    def track(self, contract: Contract) -> Track | None:
        """Where clients of this contract may put their calls."""
        ...


def track_of(channel: Channel, contract: Contract) -> Track | None:
    """The channel's track for that contract, if it has any."""
    track = getattr(channel, "track", None)
    found: Track | None = track(contract) if track is not None else None
    return found
