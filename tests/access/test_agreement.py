"""What `splnode policy test` says is what a node does: random policies, and everybody calls."""

import contextlib
import json
import os
import random
import time
from pathlib import Path

import splnode
from splnode.access.policy import parse
from splnode.access.tokens import TokenFile, Tokens
from splnode.cli.policy import decide, identity_of
from splnode.errors import CallError, Code
from splnode.rpc.client import Client
from tests.net.certificates import Mesh
from tests.rpc.conftest import PROTOCOL, Inventory

WHO = [
    f"uid:{os.getuid()}", "uid:*", "uid:77", "loopback", "spiffe://home/node/*", "spiffe://other/*", "token:ci",
    "token:*", "*", "anyone", "@own", "@unix", "@loopback", "@mesh", "@insecure", "@anyone", "@token", "@some",
    "@testers",
]  # fmt: skip
WHAT = [
    "*", "com.acme.Inventory", "com.acme.*", "Inventory", "com.acme.Inventory.add", "*.echo", "*.e*", "*add", "@added",
    "splnode.*", "SPLDataService", "com.acme.Inventory.a*d", "com.acme.inventory",
]  # fmt: skip
CALLS = {"add": {"a": 1, "b": 2}, "echo": {"value": 1}}


def policy_of(chance: random.Random) -> str:
    """A policy of some rules."""

    def some(words: list[str]) -> str:
        return json.dumps(chance.sample(words, chance.randint(1, 3)))

    members = [word for word in WHO if not word.startswith("@")]
    lines = ['then = "default"'] if chance.random() < 0.4 else []
    lines += ["[groups]", f"some = {some(members)}", "testers = []"]
    for _ in range(chance.randint(0, 6)):
        lines += ["[[rule]]", f"who = {some(WHO)}", f"{chance.choice(['allow', 'deny'])} = {some(WHAT)}"]
    return "\n".join(lines)


async def test_the_shell_says_what_the_node_does(tmp_path: Path) -> None:
    chance, mesh, file = random.Random(5), Mesh(tmp_path), TokenFile(tmp_path / "tokens.json")
    wide = file.create("ci", ["*"], ["testers"], time.time(), None)
    narrow = file.create("narrow", ["com.acme.Inventory.add"], [], time.time(), None)
    tokens, guard = Tokens(file.read()), splnode.Guard()
    where = ["tcp://127.0.0.1:0", f"unix://{tmp_path}/s", "tls://127.0.0.1:0"]
    async with (
        splnode.listen(where, {PROTOCOL: Inventory()}, guard=guard, tls=mesh.tls("kitchen")) as server,
        contextlib.AsyncExitStack() as stack,
    ):
        tcp, unix, tls = server.endpoints
        people: dict[str, Client] = {}
        for name, endpoint, more in (
            (f"uid:{os.getuid()}", unix, {}),
            ("loopback", tcp, {}),
            ("spiffe://home/node/cellar", tls, {"tls": mesh.tls("cellar")}),
            ("token:ci", tcp, {"token": wide}),
            ("token:narrow", unix, {"token": narrow}),
        ):
            people[name] = await stack.enter_async_context(splnode.connect(endpoint, PROTOCOL, **more))
        seen = set[bool]()
        for _ in range(60):
            text = policy_of(chance)
            policy = parse(text)
            guard.replace(policy, tokens)
            for name, client in people.items():
                for message, params in CALLS.items():
                    said = decide(policy, file, identity_of(name, []), f"com.acme.Inventory.{message}")
                    code = None
                    try:
                        await client.call(message, params)
                    except CallError as error:
                        code = error.code
                        assert said.line == 0 or f"{said.source}:{said.line}" in error.message, (text, error)
                    assert code is (None if said.allowed else Code.PERMISSION_DENIED), (text, name, message, said)
                    seen.add(said.allowed)
        assert seen == {True, False}
