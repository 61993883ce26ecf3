from collections.abc import Mapping
from typing import Any

import pytest

from splnode.modules.errors import ExecutionError, fault
from splnode.modules.result import Result
from splnode.services.execute import ExecuteService
from tests.services.conftest import Serve


class Modules:
    def __init__(self) -> None:
        self.closed = False

    async def execute(self, uri: str, headers: Mapping[str, str], value: Any) -> Result:
        if uri == "bad":
            raise fault(uri, "FAILED", "ValueError: no", "id1")
        if uri == "own":
            return Result(error="nothing to do")
        return Result(value, headers=headers)

    async def uris(self) -> list[str]:
        return ["a", "b"]

    async def contract(self, uri: str) -> str:
        return uri

    async def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("value", "status"),
    [(None, "completed"), (b"", "blob"), ("", "data"), ({"schema": "X", "data": b""}, "data")],
)
async def test_the_status_follows_from_the_value(serve: Serve, value: Any, status: str) -> None:
    client = serve("SPLExecuteService", ExecuteService(Modules()))
    response = await client.execute(request={"module": "x", "headers": {"a": "b"}, "value": value})
    assert response == {"status": status, "headers": {"a": "b"}, "value": value, "errorMessage": None}


async def test_the_named_schema_is_a_header(serve: Serve) -> None:
    client = serve("SPLExecuteService", ExecuteService(Modules()))
    response = await client.execute(request={"module": "x", "schema": "User"})
    assert response["headers"] == {"schema": "User"}


async def test_a_module_that_says_it_failed(serve: Serve) -> None:
    client = serve("SPLExecuteService", ExecuteService(Modules()))
    response = await client.execute(request={"module": "own"})
    assert (response["status"], response["errorMessage"]) == ("error", "nothing to do")


async def test_a_module_that_fails(serve: Serve) -> None:
    client = serve("SPLExecuteService", ExecuteService(Modules()), ExecutionError)
    with pytest.raises(ExecutionError) as caught:
        await client.execute(request={"module": "bad"})
    assert caught.value.value == {"module": "bad", "message": "ValueError: no", "code": "FAILED", "id": "id1"}


async def test_the_rest(serve: Serve) -> None:
    modules = Modules()
    service = ExecuteService(modules)
    client = serve("SPLExecuteService", service)
    assert await client.listAvailableModules() == ["a", "b"]
    assert await client.getModuleSchema(module="a") == "a"
    await service.close()
    assert modules.closed
