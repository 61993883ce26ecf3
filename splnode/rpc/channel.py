"""The one idea: a Channel is anything that can be called.

A server is a Channel (it runs the handler), a connection is one (it sends bytes), a router is one over
others. Listeners, the shell and gateways only hold a Channel, so what works over one works over each.
"""

import typing
from collections.abc import Coroutine
from typing import Any

from splnode.rpc.call import Call


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
