import pytest

from splnode.discovery.interfaces import LOOPBACK, MULTICAST, RUNNING, UP, Link, choose, scan

GOOD = UP | RUNNING | MULTICAST
LO = Link("lo", 1, ("127.0.0.1", "::1"), UP | RUNNING | LOOPBACK)
ETH0 = Link("eth0", 2, ("192.0.2.2", "fd00::2", "fe80::2"), GOOD, routed=True)
ETH1 = Link("eth1", 3, ("10.0.0.2",), GOOD)
DOCKER = Link("docker0", 4, ("172.17.0.1",), GOOD)
TUN = Link("tun0", 5, ("10.8.0.2",), UP | RUNNING, routed=True)


@pytest.mark.parametrize(
    ("links", "wanted", "used"),
    [
        ([LO, ETH0, ETH1, DOCKER], ["default"], ["eth0"]),
        ([LO, ETH0, ETH1, DOCKER], ["default", "eth1"], ["eth0", "eth1"]),
        ([LO, ETH0, ETH1, DOCKER], ["docker*"], ["docker0"]),
        ([LO, ETH0, ETH1, DOCKER], ["lo"], ["lo"]),
        ([LO, ETH1, DOCKER], ["default"], ["eth1"]),  # no default route anywhere
        ([LO, ETH0, TUN], ["default"], ["eth0"]),  # a tunnel takes the default route
        ([LO, TUN], ["default"], []),
        ([LO, TUN], ["tun0"], ["tun0"]),
        ([LO], ["default"], []),
        ([Link("eth0", 2, ("192.0.2.2",), UP | MULTICAST, routed=True), ETH1], ["default"], ["eth1"]),
    ],
)
def test_which_are_used(links: list[Link], wanted: list[str], used: list[str]) -> None:
    found = choose(links, wanted)
    assert [each.name for each in found if each.used] == used
    assert len(found) == len(links)


@pytest.mark.parametrize(
    ("link", "wanted", "reason"),
    [
        (ETH0, ["default"], "default route"),
        (ETH0, ["eth1"], "not named"),
        (ETH1, ["eth*"], "is named"),
        (LO, ["default"], "loopback"),
        (DOCKER, ["default"], "docker* is skipped unless"),
        (Link("eth0", 2, ("1.2.3.4",), MULTICAST), ["eth0"], "is down"),
        (Link("eth0", 2, ("1.2.3.4",), UP | MULTICAST), ["eth0"], "no carrier"),
        (Link("eth0", 2, (), GOOD), ["eth0"], "no address"),
        (Link("ppp0", 2, ("1.2.3.4",), UP | RUNNING), ["default"], "no multicast"),
    ],
)
def test_why(link: Link, wanted: list[str], reason: str) -> None:
    assert reason in choose([link], wanted)[0].reason


def test_families() -> None:
    (found,) = choose([ETH0], ["default"])
    assert (found.ipv4, found.ipv6) == (("192.0.2.2",), ("fd00::2", "fe80::2"))


def test_this_host_has_a_loopback() -> None:
    loopback = next(each for each in scan(["lo"]) if each.name == "lo")
    assert loopback.used
    assert "127.0.0.1" in loopback.ipv4
    assert [each.name for each in scan(["lo"]) if each.used] == ["lo"]
    assert not next(each for each in scan() if each.name == "lo").used
