"""SPLExecuteService: the protocol's face of the modules."""

import typing
from collections.abc import Mapping
from typing import Any


class Outcome(typing.Protocol):
    """What a module gave: `error` is None unless it says that it failed."""

    value: Any
    headers: dict[str, str]
    error: str | None


class ModuleRunner(typing.Protocol):
    """What this service needs of `splnode.modules.catalogue.Modules`."""

    async def execute(self, uri: str, headers: Mapping[str, str], value: Any) -> Outcome:
        """Calls a module."""
        ...

    async def uris(self) -> list[str]:
        """All modules."""
        ...

    async def contract(self, uri: str) -> str:
        """The contract of one."""
        ...

    async def close(self) -> None:
        """Stops what runs."""
        ...


class ExecuteService:
    """Implements SPLExecuteService over `modules`, which it closes with itself."""

    def __init__(self, modules: ModuleRunner) -> None:
        self._modules = modules

    async def close(self) -> None:
        """Stops the modules that run."""
        await self._modules.close()

    async def execute(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Runs a module; ExecutionError comes from the modules."""
        headers, schema = request["headers"], request["schema"]
        if schema is not None:
            headers = {**headers, "schema": schema}
        outcome = await self._modules.execute(request["module"], headers, request["value"])
        return {
            "status": _status(outcome),
            "headers": outcome.headers,
            "value": outcome.value,
            "errorMessage": outcome.error,
        }

    async def listAvailableModules(self) -> list[str]:  # noqa: N802 - the protocol's word
        """The URIs."""
        return await self._modules.uris()

    async def getModuleSchema(self, module: str) -> str:  # noqa: N802 - the protocol's word
        """The contract of a module."""
        return await self._modules.contract(module)


def _status(outcome: Outcome) -> str:
    if outcome.error is not None:
        return "error"
    if outcome.value is None:
        return "completed"
    return "blob" if isinstance(outcome.value, bytes) else "data"
