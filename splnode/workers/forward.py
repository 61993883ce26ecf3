"""Services that belong to one process of the node, as the others serve them: they pass the call on.

A worker and its supervisor are one node: what the supervisor says of a call the worker says itself. So errors keep
their code and text, which they would not if another node had said them (see `rpc.server`).
"""

import keyword
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from splnode.errors import CallError
from splnode.rpc.call import LONGEST, TIMEOUT_KEY, serving
from splnode.rpc.client import Client


async def forward(client: Client, message: str, params: Mapping[str, Any]) -> Any:
    """Passes the call that is being served on to `client`, with its metadata and what is left of its deadline.

    DeclaredError and CallError as they come; cancelling is safe.
    """
    served = serving()
    metadata = {key: value for key, value in served.metadata.items() if key != TIMEOUT_KEY} if served else None
    call = client.prepare(message, params, timeout=LONGEST, metadata=metadata)
    try:
        value = await client.send(call)
    except CallError as error:
        raise CallError(
            error.code,
            error.message,
            attempts=error.attempts,
            retry_after=error.retry_after,
            started=error.started,
        ) from None
    if served is not None and call.answer_metadata:
        served.answer_metadata = call.answer_metadata
    return value


class Forward:
    """An implementation of the client's protocol in which every message is passed on.

    A method given by name in `own` answers its message here. `close` is called with the service.
    """

    def __init__(
        self,
        client: Client,
        own: Mapping[str, Callable[..., Any]] | None = None,
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        for name in client.protocol.messages:
            method = (own or {}).get(name) or _passing(client, name)
            setattr(self, name + "_" * keyword.iskeyword(name), method)
        if close is not None and "close" not in client.protocol.messages:
            self.close = close


def _passing(client: Client, message: str) -> Callable[..., Awaitable[Any]]:
    async def method(**params: Any) -> Any:
        return await forward(client, message, params)

    return method
