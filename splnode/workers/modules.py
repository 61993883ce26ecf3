"""SPLExecuteService in a worker: it runs the built-in modules; the others have one pool for all workers."""

from collections.abc import Mapping
from typing import Any

from splnode.modules.catalogue import Modules
from splnode.modules.contract import Value
from splnode.modules.result import Result
from splnode.rpc.client import Client
from splnode.workers.forward import forward


class WorkerModules:
    """What `services.execute.ExecuteService` needs. `own` has the built-in modules alone and is closed with this;
    `owner` is a client of the supervisor's SPLExecuteService."""

    def __init__(self, own: Modules, owner: Client) -> None:
        self._own = own
        self._owner = owner

    async def execute(self, uri: str, headers: Mapping[str, str], value: Value) -> Result:
        """Calls a module, here or there. ExecutionError."""
        if self._own.is_built_in(uri):
            return await self._own.execute(uri, headers, value)
        request = {"module": uri, "headers": headers, "value": value, "schema": None}
        answer: dict[str, Any] = await forward(self._owner, "execute", {"request": request})
        return Result(answer["value"], headers=answer["headers"], error=answer["errorMessage"])

    async def uris(self) -> list[str]:
        """All modules, sorted."""
        listed: list[str] = await forward(self._owner, "listAvailableModules", {})
        return listed

    async def contract(self, uri: str) -> str:
        """The contract of one. ExecutionError."""
        text: str = await forward(self._owner, "getModuleSchema", {"module": uri})
        return text

    async def close(self) -> None:
        """Nothing runs in processes of its own."""
        await self._own.close()
