"""What leaves when a handler fails for a reason that its protocol does not declare, and errors told more than once."""

import uuid
from typing import Final

import structlog

from splnode.errors import CallError, Code
from splnode.rpc.call import Call

FAULTS: Final = (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.INTERNAL, Code.UNKNOWN, Code.DATA_LOSS)
"""Codes that speak against the node. The others say that it works, and what it thinks of the call."""

log = structlog.get_logger("splnode.rpc")


def internal(call: Call, error: BaseException) -> CallError:
    """Logs `error` with an id and gives the CallError with that id: no text, no class name, no trace."""
    incident = uuid.uuid4().hex[:12]
    log.error("handler failed", call=call.name, peer=str(call.peer), incident=incident, exc_info=error)
    return CallError(Code.INTERNAL, f"internal error; the node's log has it under {incident}")


def again(error: CallError, *, started: bool) -> CallError:
    """The same error for one more caller: without the traceback of the first, and what that one holds."""
    return CallError(
        error.code,
        error.message,
        remote=error.remote,
        attempts=error.attempts,
        retry_after=error.retry_after,
        started=started,
        hops=error.hops,
    )
