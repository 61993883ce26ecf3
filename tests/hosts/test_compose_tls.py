"""docker-compose.tls.yml on a real engine: the same hosts with one mesh key, and nobody else among them."""

from collections.abc import Iterator

import pytest

from tests.hosts.composed import Composed
from tests.hosts.containers import BUILDS, docker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(BUILDS)]
compose = Composed("splnodetlstest", "docker-compose.yml", "docker-compose.tls.yml")
THERE = "tls://kitchen:9090"


@pytest.fixture(scope="module")
def hosts() -> Iterator[None]:
    """Two of the hosts, up and healthy."""
    with compose.up("kitchen", "cellar"):
        yield


@pytest.mark.usefixtures("hosts")
def test_they_find_and_call_each_other_by_tls() -> None:
    nodes = {node["nodeId"]: node["endpoint"] for node in compose.shell("kitchen", "nodes", "--json")}
    assert nodes == {"kitchen": "tls://0.0.0.0:9090", "cellar": "tls://10.78.1.12:9090?node=cellar"}
    assert compose.shell("kitchen", "call", "--to", "cellar", "com.acme.Shop.where") == ["cellar"]
    assert compose.shell("cellar", "call", "--to", THERE, "com.acme.Shop.where") == ["kitchen"]
    found = [each for each in compose.shell("cellar", "doctor", "--json") if each["check"] == "certificate"]
    assert [each["grade"] for each in found] == ["GOOD"] and "/mesh/mesh.key: a mesh key" in found[0]["text"]


@pytest.mark.usefixtures("hosts")
@pytest.mark.parametrize(
    ("where", "words"), [(THERE, "of an authority that is not ours"), ("tcp://kitchen:9090", "this port speaks TLS")]
)
def test_who_has_no_key_is_no_peer(where: str, words: str) -> None:
    without = ("env", "-u", "SPLNODE_MESH_KEY", "splnode", "call", "--to", where, "com.acme.Shop.where")
    code, said = compose.refused("cellar", *without)
    assert code == 3 and words in said


@pytest.mark.usefixtures("hosts")
def test_the_key_is_the_nodes_user_s_alone_and_in_no_log() -> None:
    key = compose("exec", "--no-TTY", "kitchen", "sh", "-c", "stat -c %a:%U /mesh/mesh.key; cat /mesh/mesh.key")
    mode, text = key.split()
    assert mode == "600:splnode"
    made = docker("inspect", *compose("ps", "--all", "--quiet").split())
    assert text not in compose("logs") and text not in made
    assert "not encrypted" not in compose("logs")
