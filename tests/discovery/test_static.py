import pytest

from splnode.discovery.static import Static, peers_from_environment
from splnode.endpoint import Endpoint
from splnode.errors import ConfigError


async def test_each_peer_is_an_instance_of_which_nothing_else_is_known() -> None:
    static = Static(["tcp://10.0.0.1:9090", "unix:///run/s", "tcp://[fd00::1]:9090", "tcp://10.0.0.1:9090"])
    found = await anext(static.watch("any.Service"))
    assert {str(each.endpoints[0]) for each in found} == {
        "tcp://10.0.0.1:9090",
        "unix:///run/s",
        "tcp://[fd00::1]:9090",
    }
    assert all(each.sources == ("static",) and each.services is None and not each.node for each in found)


@pytest.mark.parametrize(("text", "words"), [("nope", "must begin with"), ("tcp://host:0", "needs its port")])
def test_what_cannot_be_dialled_is_named(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Static([text])


def test_peers_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPLNODE_PEERS", raising=False)
    assert peers_from_environment() == ()
    monkeypatch.setenv("SPLNODE_PEERS", " tcp://a:1,tcp://b:2  tcp://c:3,\n")
    assert peers_from_environment() == ("tcp://a:1", "tcp://b:2", "tcp://c:3")
    assert Endpoint.parse(peers_from_environment()[0]).host == "a"
