"""Opening a transport to an endpoint, with a deadline, and saying which one it was that could not be opened."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code

P = TypeVar("P", bound=asyncio.BaseProtocol)


async def open_transport(endpoint: Endpoint, factory: Callable[[], P], timeout: float) -> P:
    """Connects and gives the asyncio protocol that `factory` made. Closes nothing on success.

    CallError(UNAVAILABLE, started=False) names the endpoint and the reason, a timeout in seconds included.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            if endpoint.scheme == "unix":
                _, protocol = await loop.create_unix_connection(factory, endpoint.path)
            else:
                _, protocol = await loop.create_connection(factory, endpoint.host, endpoint.port)
    except TimeoutError:
        raise _unreachable(endpoint, f"no connection within {timeout:g} s") from None
    except OSError as error:
        raise _unreachable(endpoint, _reason(error)) from error
    return protocol


def _unreachable(endpoint: Endpoint, reason: str) -> CallError:
    text = f"{endpoint}: {reason}"
    return CallError(Code.UNAVAILABLE, f"cannot connect to {text}", attempts=(), started=False)


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such socket file; is the node running?"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused; is the node running?"
    return error.strerror or str(error)
