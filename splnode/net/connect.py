"""Opening a transport to an endpoint, with a deadline, and saying which one it was that could not be opened."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final, TypeVar

from splnode.endpoint import Endpoint
from splnode.net.entering import Entering
from splnode.net.reasons import reason_of, unreachable
from splnode.net.securing import Securing, secure
from splnode.net.tls_reasons import explain

P = TypeVar("P", bound=asyncio.BaseProtocol)
SHUTDOWN: Final = 10.0
"""Seconds in which the peer answers that a connection over TLS ends."""


async def open_transport(
    endpoint: Endpoint, factory: Callable[[], P], timeout: float, tls: Securing | None = None
) -> P:
    """Connects and gives the asyncio protocol that `factory` made; its callbacks run in an empty context.

    `tls` is what this end is over TLS, where the endpoint is secure, or `tls` makes it so; the system's authorities are
    believed where there is none. `factory` is called once it is known that the right one is there.

    So a connection does not keep the first call that wanted it. Closes nothing on success, and leaves nothing open
    otherwise. CallError(UNAVAILABLE, started=False) names the endpoint and the reason, a timeout in seconds included.
    """
    if tls is not None:
        endpoint = tls.dialled(endpoint)
    if endpoint.is_secure:
        return await _open_secure(endpoint, factory, timeout, secure(tls))
    loop = asyncio.get_running_loop()
    if endpoint.scheme == "unix":
        opening = loop.create_task(loop.create_unix_connection(factory, endpoint.path), context=Context())
    else:
        opening = loop.create_task(loop.create_connection(factory, endpoint.host, endpoint.port), context=Context())
    return await _opened(opening, endpoint, timeout)


async def _open_secure(endpoint: Endpoint, factory: Callable[[], P], timeout: float, tls: Securing) -> P:
    fault = ""
    made: P | None = None

    def enter(transport: asyncio.Transport) -> P | None:
        nonlocal fault, made
        fault = tls.check(transport.get_extra_info("ssl_object"), endpoint)
        made = None if fault else factory()
        return made

    options: dict[str, Any] = {"ssl": tls.client(), "server_hostname": endpoint.host.partition("%")[0]}
    options |= {"ssl_handshake_timeout": timeout + 1, "ssl_shutdown_timeout": SHUTDOWN}
    loop = asyncio.get_running_loop()
    connecting = loop.create_connection(lambda: Entering(enter), endpoint.host, endpoint.port, **options)
    await _opened(loop.create_task(connecting, context=Context()), endpoint, timeout, _reason)
    if made is None:
        raise unreachable(endpoint, fault)
    return made


def _reason(error: OSError | ValueError) -> str:
    return explain(error) if isinstance(error, ConnectionResetError | ConnectionAbortedError) else reason_of(error)


async def _opened(
    opening: asyncio.Task[tuple[asyncio.Transport, P]],
    endpoint: Endpoint,
    timeout: float,
    reason: Callable[[OSError | ValueError], str] = reason_of,
) -> P:
    try:
        async with asyncio.timeout(timeout):
            _, protocol = await opening
    except TimeoutError:
        opening.add_done_callback(_drop)
        raise unreachable(endpoint, f"no connection within {timeout:g} s") from None
    except (OSError, ValueError) as error:  # ValueError: a host name or a path that no system can have
        raise unreachable(endpoint, reason(error)) from error
    except asyncio.CancelledError:
        opening.add_done_callback(_drop)
        raise
    return protocol


def _drop(opening: asyncio.Task[tuple[asyncio.Transport, P]]) -> None:
    """It was given up in the moment it was opened."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[0].abort()
