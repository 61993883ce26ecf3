import asyncio
from pathlib import Path
from typing import Any

import pytest

from splnode.avro.protocol import Protocol, find_protocol
from splnode.config import parse
from splnode.discovery.resolver import Instance
from splnode.endpoint import Endpoint
from splnode.errors import ConfigError
from splnode.net.listener import listen
from splnode.rpc.client import Client
from splnode.rpc.router import Router
from splnode.services import mesh as module
from splnode.services.mesh import MeshMember
from splnode.services.reflection import ReflectionService
from tests.services.conftest import PROTOCOLS


class Announced:
    """Instead of multicast DNS: keeps what it is told."""

    name = "mdns"
    problem = ""
    interfaces = ()
    rejected: dict[str, str] = {}

    def __init__(self) -> None:
        self.said: list[Instance | None] = []
        self.heard = asyncio.Event()

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def announce(self, instance: Instance) -> None:
        self.said.append(instance)
        self.heard.set()

    async def withdraw(self) -> None:
        self.said.append(None)

    async def watch(self, service: str = "") -> Any:
        yield frozenset()
        await asyncio.Event().wait()


def member(text: str = "", served: list[Protocol] | None = None, *resolvers: Any) -> MeshMember:
    async def modules() -> list[str]:
        return []

    protocols = [find_protocol("SPLNodeService")] if served is None else served
    local = Client(Router(), find_protocol("SPLExecuteService"))
    config = parse(f'[node]\nlisten = ["tcp://127.0.0.1:0"]\n[discovery]\n{text}')
    return MeshMember(
        config,
        protocols=lambda: protocols,
        load=lambda: 0.0,
        modules=modules,
        local=local,
        channel=Router(),
        resolvers=resolvers,
    )


async def test_what_it_tells_of_itself() -> None:
    served = [find_protocol("SPLNodeService")]
    mdns = Announced()
    one = member("weight = 2.0", served, mdns)
    assert one.own is None
    one.change()
    await one.start("n", [Endpoint("tcp", "0.0.0.0", 9090)])
    await asyncio.wait_for(mdns.heard.wait(), 20)
    first = mdns.said[0]
    assert first is not None
    assert (first.node, first.state, first.weight, str(first.endpoints[0])) == ("n", "up", 2.0, "tcp://0.0.0.0:9090")
    assert first.epoch > 0 and [each.name for each in first.services or ()] == ["SPLNodeService"]
    served.append(find_protocol("splnode.Health"))
    mdns.heard.clear()
    one.change()
    await asyncio.wait_for(mdns.heard.wait(), 20)
    mdns.heard.clear()
    one.leave()
    await asyncio.wait_for(mdns.heard.wait(), 20)
    assert [(each.state, len(each.services or ())) for each in mdns.said if each] == [
        ("up", 1),
        ("up", 2),
        ("drain", 2),
    ]
    await one.goodbye()
    assert mdns.said[-1] is None
    await one.close()
    await one.close()


class Unwilling(Announced):
    """A registry that is away for a while, and does not let go."""

    async def announce(self, instance: Instance) -> None:
        if not self.said:
            self.said.append(None)
            raise OSError("the registry is away")
        await super().announce(instance)

    async def withdraw(self) -> None:
        await asyncio.Event().wait()


async def test_an_announcer_that_fails_is_told_again_and_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN", 0.001)
    monkeypatch.setattr(module, "PARTING", 0.01)
    bad, good = Unwilling(), Announced()
    one = member("", None, bad, good)
    await one.start("n", [Endpoint("tcp", "0.0.0.0", 9090)])
    await asyncio.wait_for(bad.heard.wait(), 20)
    assert [each and each.node for each in bad.said] == [None, "n"]
    await asyncio.wait_for(one.close(), 20)
    assert good.said[-1] is None


async def test_peers_are_asked_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = member()
    text = PROTOCOLS / "SPLNodeService.avpr"
    async with listen([f"unix://{tmp_path}/s"], {text: one.service}) as server:
        await one.start("one", server.endpoints)
        monkeypatch.setenv("SPLNODE_PEERS", f"unix://{tmp_path}/nobody")
        two = member(f'peers = ["unix://{tmp_path}/s"]\nfile = "{tmp_path}/peers"')
        await two.start("two", [])
        async with asyncio.timeout(10):
            async for found in two.roster.watch():
                if any((each.node, each.state) == ("one", "up") for each in found):
                    break
            one.leave()
            async for found in two.roster.watch():
                if any((each.node, each.state) == ("one", "drain") for each in found):
                    break
        reports = {each.name: (each.found, each.problem) for each in two.roster.reports}
        assert reports["static"] == (2, "")
        assert {"file", "registered"} <= set(reports)
        found = await two.diagnose()
        assert any(each.check == "clock" and each.grade == "GOOD" for each in found)
        one.end()
    await two.close()
    await one.close()


async def test_reflection_is_how_a_version_is_known(tmp_path: Path) -> None:
    reflection = ReflectionService(list)
    async with listen([f"unix://{tmp_path}/s"], {PROTOCOLS / "splnode.Reflection.avpr": reflection}):
        one = member(f'peers = ["unix://{tmp_path}/s"]')
        await one.start("one", [])
        async with asyncio.timeout(10):
            async for found in one.roster.watch("splnode.Reflection"):
                known = [each for each in found if each.services]
                if known:
                    break
        verdicts = await one.verdicts.of(find_protocol("splnode.Reflection"), known[0])
        assert verdicts is not None and all(each.fit == "same" for each in verdicts.values())
        await one.close()


@pytest.mark.parametrize(
    ("listen", "mdns", "on"),
    [
        ("tcp://127.0.0.1:1", "auto", False), ("tcp://127.0.0.1:1", "on", True), ("unix:///run/s", "auto", False),
        ("tcp://0.0.0.0:1", "auto", True), ("tcp://0.0.0.0:1", "off", False),
    ],
)  # fmt: skip
def test_when_multicast_is_used(listen: str, mdns: str, on: bool) -> None:
    from splnode.services.mesh import _multicast

    assert (_multicast(parse(f'[node]\nlisten = ["{listen}"]\n[discovery]\nmdns = "{mdns}"')) is not None) == on


@pytest.mark.parametrize("text", ['dns = ["nonsense"]', 'peers = ["tcp://h:0"]'])
def test_what_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        member(text)
