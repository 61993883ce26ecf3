from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from splnode.avro.protocol import find_protocol
from splnode.observe import metrics
from splnode.observe.metrics import Family
from splnode.services.metrics import MetricsService
from tests.cli.conftest import Shell
from tests.cli.echo import serving

FAMILIES = [metrics.family("a_total", "COUNTER", "How many.", [({"of": "x"}, 1), ({}, 2.5)]), *metrics.process()]


async def families() -> list[Family]:
    return FAMILIES


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("measured")
    with serving([f"unix://{folder}/s"], more={find_protocol("splnode.Metrics"): MetricsService(families)}) as where:
        yield where[0]


def test_as_prometheus_reads_them(shell: Shell, measured: str) -> None:
    done = shell("metrics", to=measured)
    assert done.code == 0
    read = {family.name: family for family in text_string_to_metric_families(done.out)}
    assert [(sample.labels, sample.value) for sample in read["a"].samples] == [({"of": "x"}, 1), ({}, 2.5)]
    assert "process_open_fds" in read


def test_as_json(shell: Shell, measured: str) -> None:
    assert shell("metrics", "--json", to=measured).results == FAMILIES


def test_a_server_without_metrics(shell: Shell, stock: str) -> None:
    done = shell("metrics", to=stock)
    assert done.code == 3
    assert "does not serve splnode.Metrics" in done.err
