"""What a node counts: from whoever is there by the time it is asked."""

from splnode.limits import DEFAULT_LIMITS
from splnode.net.host import Host
from splnode.observe.metrics import Family
from splnode.rpc.admission import Admission
from splnode.rpc.router import Router
from splnode.rpc.tally import Tally
from splnode.services.figures import Figures, settled
from splnode.wire.directory import Directory


def values(families: list[Family]) -> dict[str, float]:
    return {
        sample["name"]: sample["value"]
        for family in families
        for sample in family["samples"]
        if len(sample["labels"]) < 2
    }


async def test_what_is_not_there_yet_has_no_figures() -> None:
    figures = Figures(Admission(4, 4))
    before = {family["name"] for family in figures.counted()}
    host = figures.host = Host(Router(), Directory(), DEFAULT_LIMITS)
    host.accepted = 3
    after = {family["name"] for family in figures.counted()}
    assert before < after
    assert any(name.startswith("splnode_connections") for name in after - before)
    await host.close()


def test_what_a_limit_is_and_when_the_certificate_ends() -> None:
    plain, secure = settled(DEFAULT_LIMITS, None), settled(DEFAULT_LIMITS, 12345.0)
    assert len(secure) == len(plain) + 1
    assert 12345.0 in values(secure[-1:]).values()


def test_only_services_that_work_are_what_a_node_is_judged_by() -> None:
    figures = Figures(Admission(4, 4))
    busy, idle = Tally(), Tally()
    figures.tallies = {"splnode.Health": {"check": busy}, "test.Echo": {"add": idle}}
    gauge = figures.gauge(lambda: 4, 1)
    assert list(gauge._tallies()) == [idle]
