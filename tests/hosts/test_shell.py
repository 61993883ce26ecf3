"""`splnode` on one host reaches the services of all: by the node there, or by itself where none runs."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.hosts.network import Network, needs_namespaces
from tests.hosts.node import PATIENCE, ROOT, HostNode

SHOP = Path(__file__).with_name("shop")
ONE = f"{SHOP}/shop.avpr={SHOP}/shop.py:Shop"
TWO = f"{SHOP}/shop_2.avpr={SHOP}/shop.py:Shop2"
WHERE = "com.acme.Shop.where"


@pytest.fixture(autouse=True)
def able() -> None:
    needs_namespaces()


async def bare(network: Network, host: int, folder: Path, *words: str) -> tuple[int, str, str]:
    """The shell on a host where no node runs, and nothing is configured."""
    env = {**os.environ, "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder), "PYTHONPATH": str(ROOT)}
    env.pop("SPLNODE_PEERS", None)
    process = await asyncio.create_subprocess_exec(
        *network.command(host, sys.executable, "-m", "splnode", *words),
        env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    return process.returncode or 0, out.decode(), err.decode()


async def test_from_any_host(tmp_path: Path) -> None:
    with Network(4) as network:
        empty = HostNode(network, 1, tmp_path)
        shops = [HostNode(network, host, tmp_path, "--service", ONE) for host in (2, 3)]
        nodes = [empty, *shops]
        try:
            await asyncio.gather(*(node.start() for node in nodes))
            await empty.watch()
            served = "com.acme.Shop"
            await empty.sees(
                lambda known: all(
                    any(each["name"] == served for each in known.get(name, {}).get("services") or ())
                    for name in ("n2", "n3")
                )
            )
            await through_the_node(empty)
            await all_and_first(empty)
            await alone(network, tmp_path)
            await a_node_that_goes(empty, shops[0])
        finally:
            for node in nodes:
                await node.close()


async def through_the_node(node: HostNode) -> None:
    seen = Counter([(await node.shell("call", WHERE))[1][0] for _ in range(12)])
    assert set(seen) == {"n2", "n3"}
    assert (await node.shell("call", WHERE, "--balance", "round_robin"))[0] == 0
    for name in ("n2", "n3"):
        os.environ["SPLNODE_TO"] = node.unix
        try:
            code, out, _ = await bare(node.network, node.host, node.folder, "call", WHERE, "--to", name)
        finally:
            del os.environ["SPLNODE_TO"]
        assert (code, json.loads(out)) == (0, name)
    code, rows, _ = await node.shell("channels", "Shop")
    assert code == 0
    assert {row["nodeId"] for row in rows if row["state"] == "READY"} == {"n2", "n3"}
    assert sum(row["picks"] for row in rows if row["state"] == "READY") >= 15
    code, _, said = await node.shell("call", "com.acme.Shopp.where")
    assert code == 3
    assert "did you mean com.acme.Shop?" in said


async def all_and_first(node: HostNode) -> None:
    code, rows, _ = await node.shell("call", WHERE, "--all")
    assert code == 0
    assert sorted((row["node"], row["result"]) for row in rows) == [("n2", "n2"), ("n3", "n3")]
    code, rows, _ = await node.shell("call", "com.acme.Shop.look", "--first")
    assert code == 0
    assert rows[0] in ("n2", "n3")


async def alone(network: Network, folder: Path) -> None:
    """Host 4 has no node: the shell looks for others itself."""
    code, out, said = await bare(network, 4, folder, "call", WHERE)
    assert code == 0, said
    assert json.loads(out) in ("n2", "n3")
    assert "looking for others from this command" in said
    code, out, said = await bare(network, 4, folder, "call", WHERE, "--all")
    assert code == 0, said
    assert {json.loads(line)["result"] for line in out.splitlines()} == {"n2", "n3"}
    code, out, said = await bare(network, 4, folder, "call", WHERE, "--to", "n3")
    assert (code, out) == (0, '"n3"\n'), said
    code, out, said = await bare(network, 4, folder, "call", "com.acme.Nothing.ask")
    assert (code, out) == (3, "")
    assert "none of the 3 other nodes serves com.acme.Nothing" in said


async def a_node_that_goes(node: HostNode, shop: HostNode) -> None:
    shop.send(signal.SIGKILL)
    await shop.ended()
    for _ in range(6):
        code, rows, said = await node.shell("call", WHERE)
        assert (code, rows) == (0, ["n3"]), said
    code, rows, _ = await node.shell("call", WHERE, "--all", "--max-time", "5")
    assert {row["node"]: "result" in row for row in rows} in ({"n3": True}, {"n2": False, "n3": True})
    assert code == 0 or len(rows) == 2


async def test_versions_and_fingerprints(tmp_path: Path) -> None:
    with Network(3) as network:
        empty = HostNode(network, 1, tmp_path)
        nodes = [empty, *(HostNode(network, n, tmp_path, "--service", what) for n, what in ((2, ONE), (3, TWO)))]
        try:
            await asyncio.gather(*(node.start() for node in nodes))
            code, rows, said = await empty.shell("call", WHERE, "--all")
            while len(rows) < 2:
                code, rows, said = await empty.shell("call", WHERE, "--all")
            assert code == 0, said
            _, rows, _ = await empty.shell("nodes")
            wire = {row["nodeId"]: each["wire"] for row in rows for each in row["services"] if "Shop" in each["name"]}
            for name, pin in wire.items():
                for _ in range(4):
                    assert (await empty.shell("call", WHERE, "--pin", pin[:12]))[1] == [name]
            code, rows, said = await empty.shell("call", WHERE, "--pin", "0123456789")
            assert (code, rows) == (3, [])
            assert "n2: tcp://" in said and "n3: tcp://" in said and "not what was asked for" in said
            old = ("--protocol", f"{SHOP}/shop.avpr", "-d", '{"sku": "A1"}')
            code, rows, _ = await empty.shell("call", "com.acme.Shop.price", *old, "--all")
            assert code == 4
            found = {row["node"]: row for row in rows}
            assert found["n2"]["result"] == 2
            assert "price" in found["n3"]["error"]["message"] and "string" in found["n3"]["error"]["message"]
        finally:
            for node in nodes:
                await node.close()
