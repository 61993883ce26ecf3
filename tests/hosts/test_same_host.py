"""Nodes on one host that only heard each other call over the Unix socket; those that may not, over TCP."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.network import Network, needs_namespaces
from tests.hosts.node import HostNode, has

SHOP = Path(__file__).with_name("shop")
ONE = f"{SHOP}/shop.avpr={SHOP}/shop.py:Shop"
WHERE = "com.acme.Shop.where"


@pytest.fixture(autouse=True)
def able() -> None:
    needs_namespaces()


def node(network: Network, host: int, folder: Path, name: str, port: int, *options: str, runtime: Path) -> HostNode:
    made = HostNode(network, host, folder, *options, name=name, port=port)
    runtime.mkdir(mode=0o700, exist_ok=True)
    made.environ["XDG_RUNTIME_DIR"] = str(runtime)
    return made


async def ways(asking: HostNode, name: str) -> list[tuple[str, str]]:
    """The endpoints of a node's channel, and their states, once it was called and one of them is connected."""
    while True:
        assert await asking.shell("call", WHERE, "--to", name) == (0, [name], "")
        _, rows, _ = await asking.shell("channels", "Shop")
        found = [(row["endpoint"], row["state"]) for row in rows if row["nodeId"] == name]
        if any(state == "READY" for _, state in found):
            return found


def sources(nodes: list[dict[str, Any]], name: str) -> list[tuple[str, str]]:
    (row,) = (row for row in nodes if row["nodeId"] == name)
    return [(each["endpoint"].partition(":")[0], each["source"]) for each in row["endpoints"]]


async def test_local_first(tmp_path: Path) -> None:
    shared, other = tmp_path / "run", tmp_path / "run-of-another"
    with Network(2) as network:
        asking = node(network, 1, tmp_path, "asking", 9090, runtime=shared)
        near = node(network, 1, tmp_path, "near", 9091, "--service", ONE, runtime=shared)
        # As a container that has the folder mounted has it: the same files, another network namespace.
        boxed = node(network, 2, tmp_path, "boxed", 9090, "--service", ONE, runtime=shared)
        # As another user has it.
        theirs = node(network, 1, tmp_path, "theirs", 9092, "--service", ONE, runtime=other)
        nodes = [asking, near, boxed, theirs]
        try:
            await asyncio.gather(*(each.start() for each in nodes))
            await asking.watch()
            await asking.sees(
                lambda known: (
                    has("near", "boxed", "theirs")(known)
                    and known["near"]["endpoints"][0]["source"] == "host"
                    and all(len(known[each]["services"] or ()) > 6 for each in ("near", "boxed", "theirs"))
                )
            )
            _, listed, _ = await asking.shell("nodes")
            assert sources(listed, "near")[:2] == [("unix", "host"), ("tcp", "mdns")]
            assert {scheme for scheme, _ in sources(listed, "boxed") + sources(listed, "theirs")} == {"tcp"}
            over = await ways(asking, "near")
            assert over[0] == (near.unix, "READY")
            assert all(state == "IDLE" for _, state in over[1:])  # there was no need for TCP
            for far in ("boxed", "theirs"):
                assert all(endpoint.startswith("tcp://") for endpoint, _ in await ways(asking, far))
            (shared / "splnode-nodes").chmod(0o777)  # anybody may write there now: it is believed no more
            late = node(network, 1, tmp_path, "late", 9093, "--service", ONE, runtime=shared)
            nodes.append(late)
            await late.start()
            assert "can be written by others" in (late.folder / "log").read_text()
            await asking.sees(lambda known: has("late")(known) and len(known["late"]["services"] or ()) > 6)
            assert all(endpoint.startswith("tcp://") for endpoint, _ in await ways(asking, "late"))
        finally:
            for each in nodes:
                await each.close()


async def test_where_the_socket_is_gone_calls_go_over_tcp(tmp_path: Path) -> None:
    with Network(1) as network:
        asking = node(network, 1, tmp_path, "asking", 9090, runtime=tmp_path / "run")
        near = node(network, 1, tmp_path, "near", 9091, "--service", ONE, runtime=tmp_path / "run")
        try:
            await asyncio.gather(asking.start(), near.start())
            await asking.watch()
            await asking.sees(
                lambda known: has("near")(known) and known["near"]["endpoints"][0]["source"] == "host"
                and len(known["near"]["services"]) > 6
            )  # fmt: skip
            (near.folder / "s").unlink()
            over = dict(await ways(asking, "near"))
            assert over.pop(near.unix) == "TRANSIENT_FAILURE"
            assert "READY" in over.values()
        finally:
            await asking.close()
            await near.close()
