"""Against real servers on the loopback."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from splnode.avro.protocol import find_protocol
from splnode.discovery.resolver import Address, Board, Instance, Service
from splnode.endpoint import Endpoint
from splnode.errors import CallError, DeclaredError
from splnode.net.listener import listen
from splnode.services import peers as module
from splnode.services.node_info import to_info
from splnode.services.peers import Peers, service_of
from tests.services.conftest import PROTOCOLS


class Nodes:
    """An SPLNodeService that says what is posted on its board."""

    def __init__(self) -> None:
        self.own = Board()
        self.calls = 0

    async def getNode(self, revision: int | None = None, timeoutMs: int = 10_000) -> dict[str, Any]:  # noqa: N802, N803 - the protocol's words
        self.calls += 1
        if revision is not None:
            await self.own.changed(revision, timeoutMs / 1000)
        (own,) = self.own.present
        return to_info(own, revision=self.own.revision, time=5000)

    def __getattr__(self, name: str) -> Any:
        if name not in find_protocol("SPLNodeService").messages:
            raise AttributeError(name)
        return lambda **params: None


class ExecutionError(DeclaredError):
    pass


class Executes:
    def execute(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["module"] == "fails":
            raise ExecutionError(module="fails", message="no", code="OTHER", id=None)
        return {"status": "data", "headers": {}, "value": request["module"], "errorMessage": None}

    def listAvailableModules(self) -> list[str]:  # noqa: N802 - the protocol's word
        return []

    def getModuleSchema(self, module: str) -> str:  # noqa: N802 - the protocol's word
        return ""


@asynccontextmanager
async def serving(tmp_path: Path, **services: Any) -> AsyncIterator[Endpoint]:
    named = {PROTOCOLS / f"{name}.avpr": each for name, each in services.items()}
    async with listen([f"unix://{tmp_path}/s"], named) as server:
        yield server.endpoints[0]


def own(state: Any = "up", epoch: int = 7) -> Instance:
    return Instance((Address(Endpoint("tcp", "0.0.0.0", 1), ""),), "n", epoch, (Service("a.B"),), state, 2.0)


async def test_a_node_says_who_it_is_whenever_that_changes(tmp_path: Path) -> None:
    nodes = Nodes()
    nodes.own.post([own()])
    async with serving(tmp_path, SPLNodeService=nodes) as endpoint:
        said = Peers().follow(endpoint)
        first = await asyncio.wait_for(anext(said), 10)
        assert (first.node, first.epoch, first.services, first.weight) == ("n", 7, (Service("a.B"),), 2.0)
        assert first.endpoints == (endpoint,)  # where it was asked, whatever it says
        following = asyncio.ensure_future(anext(said))
        await asyncio.sleep(0)
        nodes.own.post([own("drain")])
        assert (await asyncio.wait_for(following, 10)).state == "drain"
        following = asyncio.ensure_future(anext(said))
        await asyncio.sleep(0)
    with pytest.raises(CallError):
        await asyncio.wait_for(following, 10)


async def test_the_same_answer_is_no_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WATCHING", 0.001)
    nodes = Nodes()
    nodes.own.post([own()])
    async with serving(tmp_path, SPLNodeService=nodes) as endpoint:
        said = Peers().follow(endpoint)
        await anext(said)
        following = asyncio.ensure_future(anext(said))
        while nodes.calls < 5:
            await asyncio.sleep(0)
        assert not following.done()
        following.cancel()
        await asyncio.wait([following])


async def test_a_server_that_is_no_node_is_the_protocol_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ELSEWHERE", 0.001)
    async with serving(tmp_path, SPLExecuteService=Executes()) as endpoint:
        said = Peers().follow(endpoint)
        first = await asyncio.wait_for(anext(said), 10)
        assert (first.node, first.services) == ("", (service_of(find_protocol("SPLExecuteService")),))
        assert await asyncio.wait_for(anext(said), 10) == first
    with pytest.raises(CallError):
        await asyncio.wait_for(anext(said), 10)


async def test_nobody_is_there(tmp_path: Path) -> None:
    nobody = Endpoint("unix", path=f"{tmp_path}/none")
    with pytest.raises(CallError, match="none"):
        await anext(Peers().follow(nobody))
    with pytest.raises(CallError, match="none"):
        await Peers().reach(nobody)


async def test_reaching_and_describing(tmp_path: Path) -> None:
    nodes = Nodes()
    nodes.own.post([own()])
    async with serving(tmp_path, SPLNodeService=nodes) as endpoint:
        await Peers().reach(endpoint)
        assert (await Peers().describe(endpoint))["time"] == 5000


async def test_the_text_of_a_service(tmp_path: Path) -> None:
    nobody = Address(Endpoint("unix", path=f"{tmp_path}/none"), "")
    async with serving(tmp_path, SPLExecuteService=Executes()) as endpoint:
        instance = Instance((nobody, Address(endpoint, "")))
        found = await Peers().protocol(instance, "SPLExecuteService")
        assert found == find_protocol("SPLExecuteService")
        with pytest.raises(CallError, match=r"none.*does not serve SPLDataService, but SPLExecuteService"):
            await Peers().protocol(instance, "SPLDataService")


async def test_running_a_module_there(tmp_path: Path) -> None:
    nobody = Address(Endpoint("unix", path=f"{tmp_path}/none"), "")
    request = {"module": "a/b/c", "headers": {}, "value": None, "schema": None}
    async with serving(tmp_path, SPLExecuteService=Executes()) as endpoint:
        instance = Instance((nobody, Address(endpoint, "")))
        assert (await Peers().execute(instance, request, 5))["value"] == "a/b/c"  # type: ignore[index]  # a record
        with pytest.raises(DeclaredError) as caught:
            await Peers().execute(instance, request | {"module": "fails"}, 5)
        assert caught.value.schema_name == "ExecutionError"
    with pytest.raises(CallError, match="cannot connect"):
        await Peers().execute(instance, request, 5)


def test_what_is_announced_of_a_protocol() -> None:
    from splnode.avro.protocol import Protocol

    text = '{"protocol": "a.B", "version": "2.1", "types": [], "messages": {}}'
    service = service_of(Protocol.parse(text))
    assert (service.name, service.version) == ("a.B", "2.1")
    assert len(service.wire) == len(service.resolution) == len(service.md5) == 16
