"""What leaves when a handler fails for a reason that its protocol does not declare."""

import uuid

import structlog

from splnode.errors import CallError, Code
from splnode.rpc.call import Call

log = structlog.get_logger("splnode.rpc")


def internal(call: Call, error: BaseException) -> CallError:
    """Logs `error` with an id and gives the CallError with that id: no text, no class name, no trace."""
    incident = uuid.uuid4().hex[:12]
    log.error("handler failed", call=call.name, peer=str(call.peer), incident=incident, exc_info=error)
    return CallError(Code.INTERNAL, f"internal error; the node's log has it under {incident}")
