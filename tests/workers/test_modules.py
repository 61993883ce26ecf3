from pathlib import Path

import pytest

from splnode.avro.protocol import find_protocol
from splnode.errors import DeclaredError
from splnode.modules.catalogue import Modules
from splnode.rpc.client import Client
from splnode.rpc.server import Server
from splnode.services.execute import ExecuteService
from splnode.workers.modules import WorkerModules
from tests.workers.conftest import Link

EXECUTE = find_protocol("SPLExecuteService")


@pytest.fixture
async def client(tmp_path: Path, link: Link) -> Client:
    """A caller of a worker whose supervisor has modules in a directory."""
    for name, body in {"greet": "return f'Hello, {value}!'", "fail": "raise ValueError('no')"}.items():
        path = tmp_path / "a" / "b" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"def execute(headers, value):\n    {body}\n")
    owner = await link(EXECUTE, ExecuteService(Modules(tmp_path)))
    return Client(Server(EXECUTE, ExecuteService(WorkerModules(Modules(None), owner))), EXECUTE)


async def execute(client: Client, module: str, value: str) -> object:
    return await client.execute({"module": module, "headers": {"h": "1"}, "value": value, "schema": None})


async def test_here_and_there_are_the_same(client: Client) -> None:
    here, there = await execute(client, "spl/void/noop", "x"), await execute(client, "a/b/greet", "you")
    assert here == {"status": "data", "headers": {"h": "1"}, "value": "x", "errorMessage": None}
    assert there == {"status": "data", "headers": {}, "value": "Hello, you!", "errorMessage": None}
    with pytest.raises(DeclaredError) as caught:
        await execute(client, "a/b/fail", "x")
    assert caught.value.value["code"] == "FAILED"


async def test_all_are_listed_and_described(client: Client) -> None:
    listed = await client.listAvailableModules()
    assert {"spl/void/noop", "a/b/greet"} <= set(listed)
    assert "Anything" in await client.getModuleSchema("a/b/greet")
    with pytest.raises(DeclaredError, match="NOT_FOUND"):
        await client.getModuleSchema("a/b/none")
