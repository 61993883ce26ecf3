"""Whole nodes over TLS: who is who, what may be called, workers, and certificates that change."""

import asyncio
import json
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

import splnode
from splnode.config import Config, DiscoveryConfig, NodeConfig, TlsConfig
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code, ConfigError
from splnode.net.tls import Tls
from splnode.node import Node
from splnode.rpc.call import current_call
from tests.daemon import Daemon
from tests.net.certificates import Mesh, mesh_key

HERE = "tls://127.0.0.1:0"
WHO = splnode.Protocol.parse('{"protocol": "Who", "messages": {"who": {"request": [], "response": "string"}}}')


class Who:
    def who(self) -> str:
        call = current_call()
        return f"{call.identity} by {call.peer.identity}"


@pytest.fixture
def mesh(tmp_path: Path) -> Mesh:
    return Mesh(tmp_path)


def config(folder: Path, tls: TlsConfig, name: str | None = None, *peers: str) -> Config:
    node = NodeConfig(id=name, directory=str(folder / (name or "node")), listen=(HERE,), drain_seconds=0.0)
    return Config(node=node, tls=tls, discovery=DiscoveryConfig(mdns="off", peers=peers))


@asynccontextmanager
async def running(settings: Config) -> AsyncIterator[Node]:
    async with Node(settings) as node:
        yield node


async def ask(
    node: Node, message: str, params: dict[str, Any], tls: Tls | None, service: str = "SPLDataService"
) -> Any:
    async with splnode.connect(node.endpoints[0], service, tls=tls) as client:
        return await client.call(message, params)


async def test_the_certificate_names_the_node(mesh: Mesh, tmp_path: Path) -> None:
    certificate = str(mesh.certificate("kitchen"))
    async with running(config(tmp_path, TlsConfig(certificate=certificate))) as node:
        assert node.id == "kitchen"
        assert node.endpoints[0].is_secure
        text = await node.client("splnode.Metrics").call("text", {})
        ends = mesh.tls("kitchen").expires
        assert f"splnode_certificate_expires_seconds {ends:.0f}" in str(text)
    with pytest.raises(ConfigError, match="is of the node kitchen, and this one is attic"):
        async with running(config(tmp_path, TlsConfig(certificate=certificate), "attic")):
            pass


async def test_members_may_more_than_others(mesh: Mesh, tmp_path: Path) -> None:
    async with running(config(tmp_path, TlsConfig(certificate=str(mesh.certificate("kitchen"))))) as node:
        assert await ask(node, "listTopics", {}, mesh.tls("cellar"))
        with pytest.raises(CallError) as caught:
            await ask(node, "listTopics", {}, None)
        assert caught.value.code is Code.UNAVAILABLE, "it does not believe the node"


async def test_identity_is_that_of_the_certificate(mesh: Mesh) -> None:
    async with splnode.listen([HERE], {WHO: Who()}, tls=mesh.tls("kitchen")) as server:
        async with splnode.connect(server.endpoints[0], WHO, tls=mesh.tls("cellar")) as client:
            assert await client.who() == "spiffe://home/node/cellar by spiffe://home/node/cellar"
        async with splnode.connect(server.endpoints[0], WHO, tls=mesh.believer()) as client:
            assert await client.who() == "loopback by loopback"


async def test_two_nodes_with_one_key_find_and_call_each_other(tmp_path: Path) -> None:
    tls = TlsConfig(mesh_key=mesh_key(tmp_path), mutual="on")
    async with running(config(tmp_path, tls, "kitchen")) as kitchen:
        kitchen.serve(WHO, Who())
        where = str(kitchen.endpoints[0].replace(node="kitchen"))
        async with running(config(tmp_path, tls, "cellar", where)) as cellar:
            found = await cellar.client(WHO).call("who", {}, timeout=10)
    name = f"spiffe://{Tls(mesh_key=tls.mesh_key).mesh}/node/cellar"
    assert found == f"{name} by {name}"


async def test_a_certificate_is_read_again_at_sighup_and_with_workers(mesh: Mesh, tmp_path: Path) -> None:
    certificate = mesh.certificate("kitchen", days=50)
    options = ("--cert", str(certificate), "--listen", HERE, "--workers", "2", "--mdns", "off")
    async with Daemon(tmp_path / "daemon", *options) as daemon:
        secure = Endpoint.parse(next(each for each in daemon.endpoints if each.startswith("tls://")))
        client = mesh.tls("cellar")
        for _ in range(8):
            assert await expires(secure, client) == Tls(certificate=str(certificate)).expires
        mesh.certificate("kitchen", days=60)
        os.kill(daemon.pid, signal.SIGHUP)
        wanted = Tls(certificate=str(certificate)).expires
        async with asyncio.timeout(20):
            while {await expires(secure, client) for _ in range(8)} != {wanted}:
                pass
        async with splnode.connect(secure, "splnode.Health", tls=client) as health:
            assert (await health.call("check", {"service": ""}))["status"] == "SERVING"


async def expires(endpoint: Endpoint, client: Tls) -> float:
    _, writer = await asyncio.open_connection(
        endpoint.host, endpoint.port, ssl=client.client(), server_hostname="localhost"
    )
    shown: dict[str, Any] = writer.get_extra_info("ssl_object").getpeercert()
    writer.close()
    return float(ssl.cert_time_to_seconds(shown["notAfter"]))


async def test_the_shell_calls_by_name_and_sees_the_certificate_of_that_name(mesh: Mesh, tmp_path: Path) -> None:
    """A public one, as it were, for `localhost`; by address, and for the mesh, the node's own."""
    away = Mesh(tmp_path, "away")
    public = str(away.certificate("shop", ("localhost",)))
    settings = TlsConfig(certificate=str(mesh.certificate("kitchen", ())), certificates=(public,))
    async with running(config(tmp_path, settings)) as node:
        port = next(each.port for each in node.endpoints if each.is_secure)
        code, _, err = await splnode_(tmp_path, f"health --to tls://localhost:{port} --ca {away.ca}")
        assert code == 0, err
        code, _, err = await splnode_(tmp_path, f"health --to tls://127.0.0.1:{port} --ca {mesh.ca}")
        assert code == 0, err
        code, _, err = await splnode_(tmp_path, f"health --to tls://127.0.0.1:{port} --ca {away.ca}")
        assert code == 3 and "of an authority that is not ours" in err


async def test_what_is_plain_for_others_is_said_once_a_start(mesh: Mesh, tmp_path: Path) -> None:
    open_to_all = NodeConfig(
        directory=str(tmp_path / "n"), listen=("tcp://0.0.0.0:0",), insecure=True, drain_seconds=0.0
    )
    base = config(tmp_path, TlsConfig())
    for tls, said in (
        (TlsConfig(), 1),
        (TlsConfig(certificate=str(mesh.certificate("kitchen"))), 0),
        (TlsConfig(certificate=str(mesh.certificate("kitchen")), plain="both"), 1),
    ):
        with capture_logs() as logs:
            async with Node(msgspec.structs.replace(base, node=open_to_all, tls=tls)):
                pass
        assert len([each for each in logs if "not encrypted, and nobody is asked" in each["event"]]) == said


async def test_two_commands_encrypt_a_mesh(tmp_path: Path) -> None:
    """As the README says it."""
    for words in ("cert init", "cert node kitchen", "cert node cellar"):
        assert (await splnode_(tmp_path, words))[0] == 0
    options = ("--cert", str(tmp_path / "kitchen.pem"), "--listen", "tcp://0.0.0.0:0", "--mdns", "off")
    async with Daemon(tmp_path / "daemon", *options) as daemon:
        (port,) = (Endpoint.parse(each).port for each in daemon.endpoints if each.startswith("tls://0.0.0.0:"))
        there = f"--to tls://127.0.0.1:{port}"
        code, out, _ = await splnode_(tmp_path, f"call SPLDataService.listTopics {there} --cert cellar.pem")
        assert (code, json.loads(out)["topics"]) == (0, [])
        code, _, err = await splnode_(tmp_path, f"health {there}")
        assert code == 3 and "of an authority that is not ours" in err
        code, _, err = await splnode_(tmp_path, f"health --to tcp://127.0.0.1:{port}")
        assert code == 3 and "this port speaks TLS" in err
        assert "--insecure" not in daemon.log and "not encrypted" not in daemon.log


async def splnode_(folder: Path, words: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "splnode", *words.split(), cwd=folder,
        env={**os.environ, "HOME": str(folder), "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, out.decode(), err.decode()
