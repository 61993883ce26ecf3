"""A node with a policy, and ways to call it."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import splnode
from splnode.access.tokens import TokenFile
from splnode.avro.protocol import Protocol
from splnode.config import Config, parse
from splnode.endpoint import Endpoint
from splnode.node import Node
from splnode.rpc.call import current_call
from splnode.rpc.client import Client
from tests.rpc.conftest import PROTOCOL, Inventory

POLICY = """\
[[rule]]
who = ["@own"]
allow = ["*"]
[[rule]]
who = ["loopback", "@token"]
allow = [
    "com.acme.Inventory.add", "com.acme.Inventory.seen", "com.acme.Inventory.wait", "com.acme.Front", "SPLNodeService",
    "SPLExecuteService.listAvailableModules",
]
"""
FRONT = Protocol.parse("""{
  "protocol": "Front", "namespace": "com.acme",
  "messages": {
    "who": {"request": [{"name": "through", "type": "int"}], "response": "string"},
    "reserve": {"request": [{"name": "as_node", "type": "boolean"}], "response": "string"}
  }
}""")
ITEM = {"item": {"sku": "A1", "count": 1, "tags": []}}


class Front:
    """Calls others for whom it serves."""

    def __init__(self, node: Node) -> None:
        self._self = node.client(FRONT)
        self._inventory = node.client(PROTOCOL)

    async def who(self, through: int) -> str:
        if through:
            return str(await self._self.who(through=through - 1))
        who = current_call().identity
        return f"{who.name} {' '.join(sorted(who.groups))}"

    async def reserve(self, as_node: bool) -> str:
        if not as_node:
            return str((await self._inventory.reserve(**ITEM))["sku"])
        with splnode.as_node():
            return str((await self._inventory.reserve(**ITEM))["sku"])


class Served(Inventory):
    """The inventory that says how many of its handlers ran."""

    def add(self, a: int, b: int) -> int:
        self.ran.append("add")
        return a + b


class Place:
    """A node that runs in the test, and what it serves."""

    def __init__(self, node: Node, inventory: Served, folder: Path) -> None:
        self.node = node
        self.inventory = inventory
        self.folder = folder
        self.tokens = TokenFile(folder / "node" / "tokens.json")

    @property
    def tcp(self) -> Endpoint:
        return self.node.endpoints[0]

    @property
    def unix(self) -> Endpoint:
        return self.node.endpoints[1]

    def at(self, way: str) -> str:
        if way == "http":
            return f"http+avro://127.0.0.1:{self.tcp.port}/com.acme.Inventory"
        if way == "unix":
            return str(self.unix)
        return f"{self.tcp}{'' if way == 'tcp' else f'?framing={way}'}"

    @contextlib.asynccontextmanager
    async def client(self, way: str = "tcp", protocol: Any = PROTOCOL) -> AsyncIterator[Client]:
        async with splnode.connect(self.at(way), protocol, timeout=10) as client:
            yield client

    def token(self, name: str = "ci", *allow: str, expires: float | None = None) -> str:
        """A new one, which the node knows from now on."""
        text = self.tokens.create(name, allow or ("*",), [], 0.0, expires)
        self.reload()
        return text

    def reload(self, policy: str | None = None) -> None:
        """As SIGHUP does."""
        if policy is not None:
            (self.folder / "policy.toml").write_text(policy)
        self.node.reload(self.node.config)

    @property
    def audit(self) -> Path:
        return self.folder / "node" / "audit.jsonl"


def settings(folder: Path, more: str = "", access: str = "") -> Config:
    return parse(
        f'[node]\ndirectory = "{folder}/node"\nlisten = ["tcp://127.0.0.1:0", "unix://{folder}/s"]\n'
        f'drain_seconds = 0.0\n[access]\npolicy = "{folder}/policy.toml"\n{access}\n{more}',
    )


def written(folder: Path, policy: str) -> Path:
    """The folder, with a policy in it."""
    folder.mkdir(exist_ok=True)
    (folder / "policy.toml").write_text(policy)
    return folder


@contextlib.asynccontextmanager
async def placed(folder: Path, policy: str = POLICY, more: str = "", access: str = "") -> AsyncIterator[Place]:
    """A node with its own files in `folder`."""
    async with Node(settings(written(folder, policy), more, access)) as node:
        inventory = Served()
        node.serve(PROTOCOL, inventory)
        node.serve(FRONT, Front(node))
        yield Place(node, inventory, folder)


@pytest.fixture
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    if "engine" in request.fixturenames:  # the node is of it too
        request.getfixturevalue("engine")
    async with placed(tmp_path) as made:
        yield made
