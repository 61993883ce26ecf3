import shutil
import socket
import subprocess
import time
from typing import Any

import pytest

from splnode.discovery import doctor
from splnode.discovery.doctor import Finding, diagnose, firewall_hint, loop_back
from splnode.discovery.interfaces import Interface
from splnode.discovery.resolver import Address, Board, Instance, Service
from splnode.discovery.roster import Roster
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code
from tests.hosts.network import Network, needs_namespaces
from tests.require import require

LO = Interface("lo", 1, ("127.0.0.1", "::1"), True, "it is named")
ETH0 = Interface("eth0", 2, ("10.0.0.2",), False, "it has no carrier (a cable?)")
SERVES = (Service("x.Y", "", b"w" * 16, b"r" * 16),)
GOOD, BAD = Endpoint("tcp", "10.0.0.1", 1), Endpoint("tcp", "10.0.0.2", 2)


class Multicast:
    def __init__(self, problem: str = "", **rejected: str) -> None:
        self.problem = problem
        self.interfaces = (LO, ETH0)
        self.rejected = rejected


class Heard(Board):
    name = "mdns"


class Broken:
    name = "dns"

    async def watch(self, service: str = "") -> Any:
        raise OSError("no servers")
        yield


async def reach(endpoint: Endpoint) -> None:
    if endpoint == BAD:
        raise CallError(Code.UNAVAILABLE, f"cannot connect to {endpoint}: no route")


async def clock(endpoint: Endpoint) -> float:
    return time.time() + 100


async def examined(
    network: Multicast | None, *instances: Instance, listening: tuple[Endpoint, ...] = ()
) -> list[Finding]:
    heard = Heard()
    heard.post(instances)

    async def follow(endpoint: Endpoint) -> Any:
        raise AssertionError("nobody needs to be asked")
        yield

    roster = Roster([heard, Broken()], follow, reach)
    roster.start()
    assert await roster.settled(5)
    found = await diagnose(network, roster, listening, reach, clock)
    await roster.close()
    return found


def those(found: list[Finding], check: str) -> list[tuple[str, str]]:
    return [(each.grade, each.text) for each in found if each.check == check]


async def test_everything_is_looked_at() -> None:
    peers = [Instance((Address(each, "mdns"),), node, 1, SERVES) for each, node in ((GOOD, "good"), (BAD, "bad"))]
    listening = (Endpoint("tcp", "0.0.0.0", 9090), BAD)
    found = await examined(Multicast(forged="txtvers is 9"), *peers, listening=listening)
    assert [grade for grade, _ in those(found, "interface")] == ["GOOD", "NOTE"]
    assert "no carrier" in those(found, "interface")[1][1]
    assert those(found, "multicast") == [("GOOD", "lo (127.0.0.1): what is sent to 224.0.0.251:5353 comes back")]
    assert [grade for grade, _ in those(found, "port")] == ["GOOD", "BAD"]
    assert "tcp://127.0.0.1:9090" in those(found, "port")[0][1]
    assert those(found, "source") == [("GOOD", "mdns: 2 found"), ("BAD", "dns: no servers; kept from before: 0")]
    assert "'forged' is not believed: txtvers is 9" in those(found, "announcement")[0][1]
    assert [(grade, "no route" in text) for grade, text in those(found, "peers")] == [("BAD", True), ("GOOD", False)]
    assert those(found, "clock") == [("BAD", "good: its clock is 100.0 s ahead of ours")]
    assert all(each.fix for each in found if each.grade == "BAD" and each.check != "source")


async def test_alone_and_without_multicast() -> None:
    found = await examined(None, listening=(Endpoint("unix", path="/run/s"),))
    assert those(found, "multicast")[0][0] == "NOTE"
    assert "no other node can call it" in those(found, "port")[-1][1]
    assert [each.fix for each in found if each.check == "peers"] == ["give discovery.peers, or SPLNODE_PEERS"]
    found = await examined(Multicast("no interface can be used"))
    assert ("BAD", "no interface can be used") in those(found, "multicast")


async def test_a_clock_that_was_never_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.time, "time", lambda: 3600.0)
    assert those(await examined(None), "clock")[0][0] == "BAD"


async def test_a_check_that_fails_keeps_no_other_from_being_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(address: str, index: int) -> str:
        raise RuntimeError("bug")

    monkeypatch.setattr(doctor, "loop_back", broken)
    found = await examined(Multicast())
    assert "RuntimeError: bug" in those(found, "doctor")[0][1]
    assert those(found, "interface")


def test_what_is_sent_comes_back() -> None:
    assert loop_back("127.0.0.1", 1) == ""


def test_what_does_not_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "HEARING", 0.05)
    assert "nothing can be sent" in loop_back("203.0.113.7", 1)
    needs_namespaces()
    require(shutil.which("nft") is not None, "nft", "apt-get install nftables")
    with Network(1) as network, network.inside(1):
        index = socket.if_nametoindex("eth0")
        assert loop_back("10.99.0.1", index) == ""
        rule = "udp dport 5353 drop"
        table = f"table inet fw {{ chain in {{ type filter hook input priority 0; {rule}; }}; }}"
        subprocess.run(["nft", "-f", "-"], input=table, text=True, check=True)
        assert "does not come back" in loop_back("10.99.0.1", index)


@pytest.mark.parametrize(("problem", "fix"), [
    ("cannot connect to tcp://x:1: connection refused", "start the node there"),
    ("cannot connect to tls://x:1: its certificate is of an authority that is not ours", "one mesh key"),
    ("tcp://x:1: this port speaks TLS", "one mesh key"),
    ("cannot connect to tcp://x:1: no answer", "a firewall?"),
])  # fmt: skip
def test_what_to_do_about_a_peer(problem: str, fix: str) -> None:
    assert fix in doctor._peer_fix(problem, Endpoint("tcp", "x", 1))


def test_the_hint_names_the_ports() -> None:
    hint = firewall_hint([Endpoint("tcp", "x", 7777)])
    assert "5353" in hint and "7777" in hint
    assert "9090" in firewall_hint(())
