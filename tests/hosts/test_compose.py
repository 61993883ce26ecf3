"""docker-compose.yml on a real engine: what a newcomer types. What faults of containers cost is in test_faults.py."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.hosts.composed import Composed
from tests.hosts.containers import BUILDS, docker
from tests.hosts.node import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(BUILDS)]
compose = Composed("splnodetest", "docker-compose.yml")
shell = compose.shell


@pytest.fixture(scope="module")
def hosts() -> Iterator[None]:
    """All hosts, up and healthy."""
    with compose.up():
        yield


def container(host: str) -> str:
    return compose("ps", "--quiet", host).strip()


@pytest.mark.usefixtures("hosts")
def test_the_image_is_small_and_runs_as_nobody_special() -> None:
    base = next(
        line.split("=")[1] for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("ARG PYTHON")
    )
    size, below = (int(docker("image", "inspect", "--format", "{{.Size}}", image)) for image in ("splnode", base))
    assert size - below < 200e6
    assert docker("run", "--rm", "--network", "none", "--entrypoint", "id", "splnode", "-u") == "10001"
    assert "codec: native" in docker("run", "--rm", "--network", "none", "splnode", "version")


def all_up(host: str) -> dict[str, Any]:
    """The nodes that a host lists, by name, once nothing speaks against any: on a busy machine a look takes long."""
    for _ in range(20):
        nodes = shell(host, "nodes", "--json")
        if {(node["state"], node["problem"]) for node in nodes} == {("UP", "")}:
            break
    else:
        pytest.fail(f"not all are up: {nodes}")
    return {node["nodeId"]: node for node in nodes}


@pytest.mark.usefixtures("hosts")
def test_each_host_is_healthy_and_sees_the_others() -> None:
    for host in ("kitchen", "cellar", "attic", "garden"):
        assert docker("inspect", "--format", "{{.State.Health.Status}}", container(host)) == "healthy"
    for host, others in (("kitchen", {"cellar": "mdns", "attic": "mdns"}), ("garden", {"kitchen": "static"})):
        nodes = all_up(host)
        assert nodes.keys() == {host, *others}
        found = {name: {each["source"] for each in nodes[name]["endpoints"]} for name in others}
        assert found == {name: {source} for name, source in others.items()}


@pytest.mark.usefixtures("hosts")
def test_a_service_is_reached_from_every_host() -> None:
    assert shell("kitchen", "call", "com.acme.Shop.where") == ["kitchen"]  # it serves it itself
    assert shell("garden", "call", "com.acme.Shop.where") == ["kitchen"]  # by its static peer, from another network
    assert shell("cellar", "call", "--to", "attic", "com.acme.Shop.where") == ["attic"]
    answers = shell("kitchen", "call", "--all", "com.acme.Shop.where")
    assert sorted(answer["result"] for answer in answers) == ["attic", "cellar", "kitchen"]


@pytest.mark.usefixtures("hosts")
def test_another_version_of_the_contract_is_called_where_it_resolves() -> None:
    sku = ("-d", '{"sku": "A1"}')
    assert shell("cellar", "call", "--to", "attic", "com.acme.Shop.buy", *sku) == ["attic"]
    assert shell("cellar", "call", "--to", "kitchen", "com.acme.Shop.price", *sku) == [2]
    rows = {row["nodeId"]: row for row in shell("cellar", "services", "com.acme.Shop", "--json")}
    assert {name: row["fit"] for name, row in rows.items()} == {"kitchen": "SAME", "cellar": "SAME", "attic": "PARTLY"}
    assert rows["attic"]["reasons"] == ["price: response: the writer's string cannot be read as the reader's int"]
    code, said = compose.refused("cellar", "splnode", "call", "--to", "attic", "com.acme.Shop.price", *sku)
    assert code == 4
    assert "none of the 2 nodes of com.acme.Shop takes price" in said  # cellar itself was not meant
    assert "response: the writer's string cannot be read as the reader's int" in said
