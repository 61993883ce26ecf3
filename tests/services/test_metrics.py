from splnode.observe import metrics
from splnode.observe.metrics import Family
from splnode.services.metrics import MetricsService
from tests.services.conftest import Serve

FAMILIES = [metrics.family("a_total", "COUNTER", "How many.", [({"of": "x"}, 1), ({}, 2.5)]), *metrics.places(3, 4)]


async def test_gives_them_both_ways(serve: Serve) -> None:
    async def families() -> list[Family]:
        return FAMILIES

    client = serve("splnode.Metrics", MetricsService(families))
    assert await client.read() == FAMILIES
    assert await client.text() == metrics.text(FAMILIES)
