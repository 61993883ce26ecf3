"""The one idea: a Channel is anything that can be called.

A server is a Channel (it runs the handler), a connection is one (it sends bytes), a router is one over
others. Listeners, the shell and gateways only hold a Channel, so what works over one works over each.
"""

import typing

from splnode.rpc.call import Call


class Channel(typing.Protocol):
    """Anything that can be called.

    `call` gives the response, or raises DeclaredError (the protocol's own errors) or CallError (all the
    rest), or asyncio.CancelledError if its task is cancelled, which is safe and reaches the handler.
    It never outlives the call's deadline. Whoever made the channel closes it; closing twice is allowed.
    """

    async def call(self, call: Call) -> object:
        """Carries one call."""
        ...

    async def close(self) -> None:
        """Refuses new calls, ends those that run, frees what is held."""
        ...
