"""Three hosts and one key: the nodes find each other, call each other, and nobody else reads or calls."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from tests.hosts.network import Network, needs_namespaces
from tests.hosts.node import HostNode, has
from tests.net.certificates import Mesh, mesh_key

ALL = ("n1", "n2", "n3")
EVERYTHING = 0x0003  # linux/if_ether.h, ETH_P_ALL
WHOLE = '{"service": ""}'
WORD = "what-nobody-else-reads"


class Encrypted(HostNode):
    exposed = ()


@asynccontextmanager
async def running(nodes: list[HostNode]) -> AsyncIterator[None]:
    try:
        for node in nodes:
            await node.start()
            await node.watch()
        yield
    finally:
        for node in nodes:
            await node.close()


@contextmanager
def listening(network: Network, host: int) -> Iterator[list[bytes]]:
    """Every frame that the host sends or gets meanwhile."""
    frames: list[bytes] = []
    with network.inside(host):
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERYTHING))
    tap.setblocking(False)
    tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
    loop = asyncio.get_running_loop()
    loop.add_reader(tap, lambda: frames.append(tap.recv(1 << 17)))
    try:
        yield frames
    finally:
        loop.remove_reader(tap)
        tap.close()


async def test_one_key_is_all_that_three_nodes_share(tmp_path: Path) -> None:
    needs_namespaces()
    key = mesh_key(tmp_path)
    with Network(3) as network:
        nodes: list[HostNode] = [Encrypted(network, host, tmp_path, "--mesh-key", key) for host in network.hosts]
        async with running(nodes):
            for node in nodes:
                await node.sees(has(*ALL))
            first, _, third = nodes
            _, rows, _ = await first.shell("nodes")
            found = {row["nodeId"]: row["endpoint"] for row in rows}
            assert found["n2"] == "tls://10.99.0.2:9090?node=n2"
            far = "tls://10.99.0.2:9090"
            with listening(network, 2) as frames:
                for words in (("--to", "n2"), ("--to", far, "--mesh-key", key)):
                    code, [answer], said = await first.shell("call", "splnode.Health.check", "-d", WHOLE, *words)
                    assert (code, answer["status"]) == (0, "SERVING"), said
                    await first.shell("call", "splnode.Health.check", "-d", f'{{"service": "{WORD}"}}', *words)
            wire = b"".join(frames)
            assert b"\x16\x03" in wire, "a handshake was seen"
            assert WORD.encode() not in wire and b"spl-timeout-ms" not in wire
            await strangers(third, far, mesh_key(tmp_path, "other.key"))


async def strangers(here: HostNode, far: str, other: str) -> None:
    """Who has another key, none, or speaks plain."""
    for words, said in (
        (("--mesh-key", other), "of an authority that is not ours"),
        ((), "of an authority that is not ours"),
    ):
        code, _, text = await here.shell("health", "--to", far, *words)
        assert code == 3 and said in text
    code, _, text = await here.shell("health", "--to", far.replace("tls", "tcp"))
    assert code == 3 and "this port speaks TLS" in text


async def test_certificates_say_which_node_is_which(tmp_path: Path) -> None:
    """Two with certificates of the mesh; a third that has another node's does not start under its own name."""
    needs_namespaces()
    mesh = Mesh(tmp_path)
    with Network(3) as network:
        nodes: list[HostNode] = [
            Encrypted(network, host, tmp_path, "--cert", str(mesh.certificate(f"n{host}"))) for host in (1, 2)
        ]
        async with running(nodes):
            for node in nodes:
                await node.sees(has("n1", "n2"))
            liar = Encrypted(network, 3, tmp_path, "--cert", str(mesh.certificate("n4")), name="n3")
            with pytest.raises(AssertionError, match="is of the node n4, and this one is n3"):
                await liar.start()
