"""The error that SPLExecuteService declares."""

from typing import Any

from splnode.errors import DeclaredError


class ExecutionError(DeclaredError):
    """A module gave no result: fields `module`, `message`, `code` (a symbol of ExecutionFault) and `id`."""


def fault(module: str, code: str, message: str, id: str | None = None) -> ExecutionError:  # noqa: A002 - the field's name
    """The error with all its fields."""
    fields: dict[str, Any] = {"module": module, "message": message, "code": code, "id": id}
    return ExecutionError(**fields)
