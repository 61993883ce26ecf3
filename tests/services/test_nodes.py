import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from math import inf
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from splnode.avro.compatibility import Verdict
from splnode.avro.protocol import Protocol
from splnode.discovery.doctor import Finding
from splnode.discovery.registry import Registry
from splnode.discovery.resolver import Address, Board, Instance
from splnode.discovery.roster import Roster
from splnode.discovery.verdicts import Verdicts
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code
from splnode.rpc.call import Call, running
from splnode.rpc.client import Client
from splnode.rpc.route import Route
from splnode.rpc.router import Router
from splnode.rpc.server import Server
from splnode.services.nodes import Mesh, NodeError, NodeService, fit
from splnode.services.peers import service_of
from splnode.services.relay import Relay
from splnode.wire.message import Contract
from tests.services.conftest import Serve

NODE = {"nodeId": "n", "endpoint": "tcp://10.0.0.9:1", "availableModules": [], "capabilities": [], "lastHeartbeat": 0}
REQUEST = {"module": "a/b/c", "headers": {}, "value": None, "schema": None}
DONE = {"status": "data", "headers": {}, "value": "done", "errorMessage": None}
TILL = Protocol.parse('{"protocol": "x.Till", "messages": {"ask": {"request": [], "response": "long"}}}')


def protocol(response: str) -> Protocol:
    messages = {"ask": {"request": [], "response": response}, "tell": {"request": [], "response": "null"}}
    return Protocol.parse(json.dumps({"protocol": "x.Shop", "types": [], "messages": messages}))


def at(port: int, node: str = "", serves: Protocol | None = None, source: str = "mdns", **others: Any) -> Instance:
    services = () if serves is None else (service_of(serves),)
    return Instance((Address(Endpoint("tcp", "10.0.0.1", port), source),), node, 1, services, **others)


class Heard(Board):
    name = "mdns"


class World:
    """Everything around the service, and the service."""

    def __init__(self, texts: Mapping[str, Protocol] = {}) -> None:
        self.heard = Heard()
        self.own = Board()
        self.own.post(
            [Instance((Address(Endpoint("tcp", "0.0.0.0", 1), ""),), "me", 1, (service_of(protocol("long")),))]
        )
        self.executed: list[tuple[str, float]] = []
        self.gone: set[int] = set()
        self.texts = dict(texts)
        registry = Registry()
        self.roster = Roster([self.heard, registry], self.follow, self.reach)
        self.router = Router()
        self.mesh = Mesh(
            self.own, self.roster, registry, Verdicts(self.fetch), lambda: [protocol("long")], lambda: 0.25,
            self.modules, self.diagnose, self.execute, self.local(), Relay(self.router),
        )  # fmt: skip
        self.service = NodeService(self.mesh)

    async def __aenter__(self) -> "World":
        self.roster.start()
        await self.roster.settled(5)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.roster.close()
        self.mesh.registry.close()
        await self.mesh.verdicts.close()

    async def follow(self, endpoint: Endpoint) -> AsyncIterator[Instance]:
        raise CallError(Code.UNAVAILABLE, "nobody")
        yield

    async def reach(self, endpoint: Endpoint) -> None:
        if endpoint.port in self.gone:
            raise CallError(Code.UNAVAILABLE, "gone")

    async def fetch(self, instance: Instance, service: str) -> Protocol:
        if instance.node not in self.texts:
            raise CallError(Code.UNAVAILABLE, "it does not answer")
        return self.texts[instance.node]

    async def modules(self) -> list[str]:
        return ["a/b/c"]

    async def diagnose(self) -> list[Finding]:
        return [Finding("clock", "BAD", "it is late", "go home")]

    async def execute(self, instance: Instance, request: Mapping[str, Any], timeout: float) -> object:
        self.executed.append((instance.node, timeout))
        if instance.endpoints[0].port in self.gone:
            raise CallError(Code.UNAVAILABLE, "gone", started=False)
        return DONE

    def local(self) -> Client:
        class Local:
            async def call(self, call: Any) -> object:
                return {**DONE, "value": "here"}

            async def close(self) -> None: ...

        from splnode.avro.protocol import find_protocol

        return Client(Local(), find_protocol("SPLExecuteService"))


async def heard(world: World, *instances: Instance) -> None:
    world.heard.post(instances)
    async with asyncio.timeout(20):
        async for found in world.roster.watch():
            if {each.addresses for each in found} >= {each.addresses for each in instances}:
                return


async def test_this_node(serve: Serve) -> None:
    async with World() as world:
        client = serve("SPLNodeService", world.service)
        info = await client.getNode()
        assert (info["nodeId"], info["self"], info["load"]) == ("me", True, 0.25)
        assert info["availableModules"] == ["a/b/c"]
        assert info["capabilities"] == ["x.Shop"]
        assert info["time"] > 0
        again = asyncio.ensure_future(client.getNode(revision=info["revision"], timeoutMs=60_000))
        await asyncio.sleep(0)
        (own,) = world.own.present
        world.own.post([Instance(own.addresses, "me", 1, (), "drain")])
        assert (await asyncio.wait_for(again, 20))["state"] == "DRAINING"
        assert (await client.getNode(revision=world.own.revision, timeoutMs=1))["state"] == "DRAINING"
        late = asyncio.ensure_future(client.getNode(revision=world.own.revision, timeoutMs=60_000))
        await asyncio.sleep(0)
        world.own.close()  # the node stops
        await asyncio.wait_for(late, 20)


async def test_all_nodes(serve: Serve) -> None:
    async with World() as world:
        client = serve("SPLNodeService", world.service)
        world.gone = {2}
        await heard(world, at(1, "one", protocol("long")), at(2, "two", protocol("long")))
        nodes = await client.listNodes()
        assert [(each["nodeId"], each["state"], each["problem"], each["lastHeartbeat"] > 0) for each in nodes] == [
            ("me", "UP", "", True), ("one", "UP", "", True), ("two", "SUSPECT", "gone", False),
        ]  # fmt: skip
        assert {row["nodeId"]: row["state"] for row in await client.listServices()} == {
            "me": "UP", "one": "UP", "two": "SUSPECT",
        }  # fmt: skip
        before = (await client.watchNodes())["revision"]
        waiting = asyncio.ensure_future(client.watchNodes(revision=before, timeoutMs=60_000))
        await client.listNodes()
        turned = await asyncio.wait_for(waiting, 20)
        assert [each["state"] for each in turned["nodes"]] == [
            "UP",
            "UP",
            "GONE",
        ]  # it did not answer for the third time
        assert nodes[1]["endpoints"] == [{"endpoint": "tcp://10.0.0.1:1", "source": "mdns"}]
        known = await client.watchNodes()
        waiting = asyncio.ensure_future(client.watchNodes(revision=known["revision"], timeoutMs=60_000))
        await asyncio.sleep(0)
        world.heard.post([at(1, "one", protocol("long"))])
        fresh = await asyncio.wait_for(waiting, 20)
        assert [each["nodeId"] for each in fresh["nodes"]] == ["me", "one"]
        assert (await client.watchNodes(revision=fresh["revision"], timeoutMs=1))["revision"] == fresh["revision"]
        old = await client.watchNodes(revision=known["revision"], timeoutMs=60_000)
        assert old["revision"] == fresh["revision"]


@pytest.mark.parametrize(
    ("asks", "told"),
    [
        ("tcp://10.0.0.9:5", False), ("tls://10.0.0.9:5", False), ("tcp://[fd00::9]:5", False), ("unix", True),
        ("tcp://127.0.0.1:5", True), ("tcp://[::1]:5", True), ("in process", True),
    ],
)  # fmt: skip
async def test_sockets_are_told_on_this_host_alone(asks: str, told: bool) -> None:
    sockets = [Address(Endpoint("unix", path=f"/run/{name}"), "host") for name in ("me", "one")]
    async with World() as world:
        (own,) = world.own.present
        world.own.post([msgspec.structs.replace(own, addresses=(sockets[0], *own.addresses))])
        one = at(1, "one", protocol("long"))
        await heard(world, msgspec.structs.replace(one, addresses=(sockets[1], *one.addresses)))
        token = running.set(SimpleNamespace(ended=False, deadline=inf, peer=SimpleNamespace(endpoint=asks)))  # type: ignore[arg-type]  # as much of a call as is looked at
        try:
            nodes = await world.service.listNodes()
            offers = await world.service.listServices("Shop")
        finally:
            running.reset(token)
    assert [each["endpoint"].startswith("unix") for each in nodes] == [told, told]
    assert all(any("unix" in each["endpoint"] for each in node["endpoints"]) == told for node in nodes)
    assert [each["endpoint"].startswith("unix") for each in offers] == [told, told]


async def test_services_and_why_not(serve: Serve) -> None:
    narrow, strange = protocol("int"), protocol("string")
    async with World({"narrow": narrow, "strange": strange}) as world:
        client = serve("SPLNodeService", world.service)
        await heard(
            world, at(1, "narrow", narrow), at(2, "strange", strange, weight=2.0), at(3, "silent", protocol("bytes")),
            at(4, "drained", protocol("long"), state="drain"),
        )  # fmt: skip
        rows = {row["nodeId"]: row for row in await client.listServices(service="Shop")}
        assert {name: row["fit"] for name, row in rows.items()} == {
            "me": "SAME", "narrow": "RESOLVED", "strange": "PARTLY", "silent": "UNKNOWN", "drained": "SAME",
        }  # fmt: skip
        assert rows["strange"]["reasons"] == ["ask: response: the writer's string cannot be read as the reader's long"]
        assert "does not answer" in rows["silent"]["problem"]
        assert (rows["strange"]["weight"], rows["drained"]["state"], rows["me"]["load"]) == (2.0, "DRAINING", 0.25)
        assert await client.listServices(service="x.Other") == []


async def test_a_service_that_this_node_has_not_is_compared_with_one_that_is_found(serve: Serve) -> None:
    text = '{"protocol": "y.Far", "types": [], "messages": {"m": {"request": [], "response": "%s"}}}'
    one, two = Protocol.parse(text % "int"), Protocol.parse(text % "string")
    async with World({"a": one, "b": one, "c": two}) as world:
        client = serve("SPLNodeService", world.service)
        await heard(world, at(1, "a", one), at(2, "b", one), at(3, "c", two))
        rows = await client.listServices(service="y.Far")
        assert [(row["nodeId"], row["fit"]) for row in rows] == [("a", "SAME"), ("b", "SAME"), ("c", "MISFIT")]


async def test_nodes_that_register(serve: Serve) -> None:
    async with World() as world:
        client = serve("SPLNodeService", world.service, NodeError)
        assert await client.heartbeat(nodeId="n") is False
        await client.registerNode(node={**NODE, "capabilities": ["x.Shop"]})
        assert await client.heartbeat(nodeId="n") is True
        async for found in world.roster.watch():
            if any(each.node == "n" and each.sources == ("registered",) for each in found):
                break
        for bad in ({"endpoint": ""}, {"endpoint": "unix:///run/s"}, {"nodeId": ""}, {"nodeId": "x" * 64}):
            with pytest.raises(NodeError) as caught:
                await client.registerNode(node={**NODE, **bad})
            assert caught.value.code == "INVALID"


async def test_running_a_module_on_any_node(serve: Serve) -> None:
    async with World() as world:
        client = serve("SPLNodeService", world.service, NodeError)
        await heard(world, at(1, "one", protocol("long")), at(2, "two", protocol("long")))
        assert (await client.executeRemote(request=REQUEST))["value"] == "here"
        assert (await client.executeRemote(request=REQUEST, targetNode="me"))["value"] == "here"
        assert (await client.executeRemote(request=REQUEST, targetNode="one", timeout=2500))["value"] == "done"
        assert (await client.executeRemote(request=REQUEST, targetNode="tcp://10.0.0.1:2"))["value"] == "done"
        assert [node for node, _ in world.executed] == ["one", "two"]
        assert world.executed[0][1] == 2.5
        world.gone = {1}
        for target, code in (("one", "UNREACHABLE"), ("nobody", "NOT_FOUND")):
            with pytest.raises(NodeError) as caught:
                await client.executeRemote(request=REQUEST, targetNode=target)
            assert caught.value.code == code
        assert "there are one, two" in str(caught.value)


async def test_the_doctor(serve: Serve) -> None:
    async with World() as world:
        found = await serve("SPLNodeService", world.service).diagnose()
        assert found == [{"check": "clock", "grade": "BAD", "text": "it is late", "fix": "go home"}]


def test_fits() -> None:
    same, resolved, misfit = Verdict("same"), Verdict("resolved"), Verdict("misfit")
    assert fit(None) == "UNKNOWN"
    assert fit({}) == fit({"a": same}) == "SAME"
    assert fit({"a": same, "b": resolved}) == "RESOLVED"
    assert fit({"a": same, "b": misfit}) == "PARTLY"
    assert fit({"a": misfit}) == "MISFIT"


async def test_the_text_of_a_protocol_that_is_served_somewhere(serve: Serve) -> None:
    async with World({"one": TILL, "two": TILL}) as world:
        client = serve("SPLNodeService", world.service, NodeError)
        assert await client.findProtocol(service="Shop") == protocol("long").text
        await heard(world, at(1, "one", TILL), at(2, "two", TILL))
        assert await client.findProtocol(service="x.Till") == await client.findProtocol(service="Till") == TILL.text
        world.texts.clear()
        await heard(world, at(3, "three", Protocol.parse('{"protocol": "y.Till"}')), at(1, "one", TILL))
        for service, code, told in (
            ("Till", "NOT_FOUND", "may be each of x.Till, y.Till"),
            ("y.Till", "UNREACHABLE", "three: UNAVAILABLE: it does not answer"),
            ("x.Tall", "NOT_FOUND", "did you mean x.Till"),
        ):
            with pytest.raises(NodeError) as caught:
                await client.call("findProtocol", {"service": service}, timeout=5)  # it started long ago: at once
            assert caught.value.code == code
            assert told in str(caught.value)


async def test_a_call_is_passed_on(serve: Serve) -> None:
    class Shop:
        def ask(self) -> int:
            return 5

        def tell(self) -> None: ...

    async with World() as world:
        world.router.add("x.Shop", Server(protocol("long"), Shop()))
        client = serve("SPLNodeService", world.service, NodeError)
        answer = await client.callRemote(protocol=protocol("long").text, message="ask", params=b"")
        assert (answer["node"], answer["result"], answer["failure"]) == ("me", b"\x0a", None)
        with pytest.raises(NodeError, match="bytes too many"):
            await client.callRemote(protocol=protocol("long").text, message="ask", params=b"x")
        answer = await client.callRemote(protocol=TILL.text, message="ask", params=b"")
        assert (answer["node"], answer["failure"]["code"]) == ("", "UNAVAILABLE")
        assert await client.listChannels() == []


async def test_whether_a_call_means_this_node() -> None:
    async with World() as world:
        await heard(world, at(1, "melon"), at(2, "two"))
        wire = service_of(protocol("long")).wire.hex()
        contract = Contract(protocol("long"))

        def here(**route: Any) -> bool:
            return world.service.is_here(Call(contract, contract.protocol.messages["ask"], {}, 0, route=Route(**route)))

        assert here() and here(to="me") and here(pin=wire) and here(to="tcp://0.0.0.0:1", pin=wire[:8].upper())
        assert not (here(to="two") or here(to="") or here(pin="0" * 8) or here(to="melon") or here(to="mel"))
        with pytest.raises(CallError, match="'m' may be each of me, melon"):
            here(to="m")


async def test_what_others_have_said_of_their_load(serve: Serve) -> None:
    async with World() as world:
        service = NodeService(world.mesh._replace(loads=lambda: {"one": 0.5}))
        client = serve("SPLNodeService", service)
        await heard(world, at(1, "one", protocol("long")), at(2, "two", protocol("long")))
        assert {row["nodeId"]: row["load"] for row in await client.listNodes()} == {"me": 0.25, "one": 0.5, "two": None}
        rows = await client.listServices()
        assert {row["nodeId"]: row["load"] for row in rows} == {"me": 0.25, "one": 0.5, "two": None}
