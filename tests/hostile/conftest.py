"""Nodes to attack, one for each file of tests: what an attack leaves behind, the next one would meet."""

from collections.abc import Iterator

import pytest

from splnode.avro.codec import engines
from tests.hostile.victim import Victim


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """A node with the engine that it takes by itself."""
    with Victim(tmp_path_factory.mktemp("victim"), config=CONFIG) as node:
        yield node
        node.stays_well()


@pytest.fixture(scope="module", params=engines())
def each_victim(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """A node with each of the engines."""
    environment = {"SPLNODE_ENGINE": request.param}
    with Victim(tmp_path_factory.mktemp("victim"), config=CONFIG, env=environment) as node:
        yield node
        node.stays_well()


CONFIG = "drain_seconds = 0.0\n[limits]\nhandshake_seconds = 4.0\n"
