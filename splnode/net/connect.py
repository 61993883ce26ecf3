"""Opening a transport to an endpoint, with a deadline, and saying which one it was that could not be opened."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import TypeVar

from splnode.endpoint import Endpoint
from splnode.net.reasons import reason_of, unreachable

P = TypeVar("P", bound=asyncio.BaseProtocol)


async def open_transport(endpoint: Endpoint, factory: Callable[[], P], timeout: float) -> P:
    """Connects and gives the asyncio protocol that `factory` made; its callbacks run in an empty context.

    So a connection does not keep the first call that wanted it. Closes nothing on success, and leaves nothing open
    otherwise. CallError(UNAVAILABLE, started=False) names the endpoint and the reason, a timeout in seconds included.
    """
    loop = asyncio.get_running_loop()
    if endpoint.scheme == "unix":
        opening = loop.create_task(loop.create_unix_connection(factory, endpoint.path), context=Context())
    else:
        opening = loop.create_task(loop.create_connection(factory, endpoint.host, endpoint.port), context=Context())
    try:
        async with asyncio.timeout(timeout):
            _, protocol = await opening
    except TimeoutError:
        opening.add_done_callback(_drop)
        raise unreachable(endpoint, f"no connection within {timeout:g} s") from None
    except (OSError, ValueError) as error:  # ValueError: a host name or a path that no system can have
        raise unreachable(endpoint, reason_of(error)) from error
    except asyncio.CancelledError:
        opening.add_done_callback(_drop)
        raise
    return protocol


def _drop(opening: asyncio.Task[tuple[asyncio.Transport, P]]) -> None:
    """It was given up in the moment it was opened."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[0].abort()
