"""Whom a call is for, from node to node, over the links of a real mesh."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import splnode
from splnode.config import TlsConfig
from splnode.errors import CallError, Code
from splnode.net.tls import Tls
from splnode.node import Node
from splnode.rpc.call import current_call
from splnode.rpc.client import Client
from tests.access.conftest import settings, written
from tests.net.certificates import mesh_key

WHO = splnode.Protocol.parse("""{
  "protocol": "Who", "messages": {"who": {"request": [], "response": "string"}}
}""")
ASKS = splnode.Protocol.parse("""{
  "protocol": "Asks", "messages": {
    "who": {"request": [{"name": "how", "type": "string"}], "response": "string"}
  }
}""")
EVERYBODY = '[[rule]]\nwho = ["*"]\nallow = ["*"]\n'


class Who:
    """At the second node."""

    def who(self) -> str:
        call = current_call()
        return f"{call.identity} {' '.join(sorted(call.identity.groups))} by {call.peer.identity}"


class Asks:
    """At the first node: asks the second one."""

    def __init__(self, node: Node) -> None:
        self._who = node.client(WHO)
        self._left: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def who(self, how: str) -> str:
        if how == "as node":
            with splnode.as_node():
                return str(await self._who.who())
        if how == "leave":
            task = asyncio.create_task(self._later(current_call()))
            task.add_done_callback(lambda done: self._left.set_result(done.result()))
            return ""
        if how == "what was left":
            return await self._left
        return str(await self._who.call("who", {}, metadata={"spl-identity": b"node anyone own"}))

    async def _later(self, call: Any) -> str:
        while not call.ended:
            await asyncio.sleep(0)  # clock: a turn of the loop; the call ends in one of the next
        return str(await self._who.who())


class Both:
    """The first node, a client of it over TLS that shows no certificate, and the name of the mesh."""

    def __init__(self, first: Node, second: Node, client: Client, mesh: str, folder: Path) -> None:
        self.first, self.second, self.client, self.mesh, self.folder = first, second, client, mesh, folder


def node_in(folder: Path, name: str, key: str, *peers: str) -> Node:
    config = settings(
        written(folder, EVERYBODY), f"[discovery]\nmdns = 'off'\nsame_host = false\npeers = {list(peers)}"
    )
    replace = msgspec.structs.replace
    node = replace(config.node, id=name, listen=("tls://127.0.0.1:0", f"unix://{folder}/s"))
    return Node(replace(config, node=node, tls=TlsConfig(mesh_key=key)))


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[Both]:
    key = mesh_key(tmp_path)
    mesh = Tls(mesh_key=key, node="x").mesh
    async with node_in(tmp_path / "b", "b", key) as second:
        second.serve(WHO, Who())
        where = str(second.endpoints[0].replace(node="b"))
        async with node_in(tmp_path / "a", "a", key, where) as first:
            first.serve(ASKS, Asks(first))
            async with splnode.connect(first.endpoints[1], ASKS) as client:
                yield Both(first, second, client, mesh, tmp_path)


async def test_a_member_says_whom_its_call_is_for(both: Both) -> None:
    a = f"spiffe://{both.mesh}/node/a"
    assert await both.client.who(how="") == f"uid:{os.getuid()} anyone mesh by {a}"
    assert await both.client.who(how="as node") == f"{a} anyone mesh by {a}"
    assert await both.first.client(WHO).who() == f"{a} anyone mesh by {a}"


async def test_what_a_handler_leaves_running_is_not_the_nodes(both: Both) -> None:
    await both.client.who(how="leave")
    found = await asyncio.wait_for(both.client.who(how="what was left"), 10)
    assert found.startswith(f"uid:{os.getuid()} anyone mesh by")


async def test_the_next_node_holds_both_to_its_rules(both: Both) -> None:
    async def told(rules: str, how: str = "") -> Code | None:
        (both.folder / "b" / "policy.toml").write_text(rules)
        both.second.reload(both.second.config)
        try:
            await both.client.who(how=how)
        except CallError as error:
            assert "policy" not in error.message  # the other node's rules are not this caller's
            return error.code
        return None

    member = '[[rule]]\nwho = ["spiffe://*"]\nallow = ["*"]\n'
    assert await told(member) is Code.INTERNAL
    assert await told(member, "as node") is None
    assert await told('[[rule]]\nwho = ["uid:*"]\nallow = ["*"]\n') is Code.INTERNAL
    assert await told('[[rule]]\nwho = ["uid:*"]\nallow = ["*"]\n' + member) is None
