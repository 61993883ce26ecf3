"""Why an endpoint cannot be called, in the same words whoever tried."""

from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code
from splnode.net.tls_reasons import explain, is_tls


def unreachable(endpoint: Endpoint, reason: str) -> CallError:
    """There is no connection: nothing was sent."""
    text = f"{endpoint}: {reason}"
    return CallError(Code.UNAVAILABLE, f"cannot connect to {text}", attempts=(), started=False)


def lost(endpoint: Endpoint, reason: str, *, started: bool) -> CallError:
    """The connection has gone: under a call that was sent (`started`), or before it was."""
    text = f"{endpoint}: {reason}"
    return CallError(Code.UNAVAILABLE, f"{text}; the call may have run" if started else text, started=started)


def said_tls(error: object) -> str:
    """What an error says that ended a connection; one of TLS in our words."""
    return explain(error) if isinstance(error, BaseException) and is_tls(error) else str(error)


def reason_of(error: OSError | ValueError) -> str:
    """What the system said when it was to connect. ValueError: a host name or a path that no system can have."""
    if is_tls(error):
        return explain(error)
    if isinstance(error, FileNotFoundError):
        return "no such socket file; is the node running?"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused; is the node running?"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
