import pytest

from splnode.discovery.resolver import Address, Instance, Service
from splnode.endpoint import Endpoint
from splnode.errors import ConfigError
from splnode.services.node_info import from_info, to_info

SERVICE = Service("a.B", "1", b"w" * 16, b"r" * 16, b"m" * 16)
INSTANCE = Instance(
    (Address(Endpoint("tcp", "10.0.0.1", 1), "mdns"), Address(Endpoint("unix", path="/s"), "mdns")),
    "n", 7, (SERVICE,), "drain", 2.0,
)  # fmt: skip


def test_there_and_back() -> None:
    info = to_info(INSTANCE, load=0.5)
    assert (info["nodeId"], info["endpoint"], info["load"]) == ("n", "tcp://10.0.0.1:1", 0.5)
    assert (info["capabilities"], info["state"]) == (["a.B"], "DRAINING")
    assert from_info(info, "mdns") == INSTANCE


def test_what_the_source_documents_have_is_enough() -> None:
    least = to_info(Instance(())) | {"nodeId": "n", "endpoint": "tcp://h:1", "capabilities": ["a.B"]}
    assert from_info(least, "x").services == (Service("a.B"),)
    assert from_info(least | {"capabilities": []}, "x").services is None


@pytest.mark.parametrize(
    ("change", "words"),
    [({"endpoint": ""}, "no endpoint"), ({"endpoint": "nope"}, "must begin"), ({"weight": float("nan")}, "weight")],
)
def test_what_makes_no_sense(change: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        from_info(to_info(INSTANCE) | {"endpoints": []} | change, "x")


def test_fingerprints_that_are_none() -> None:
    odd = to_info(INSTANCE) | {"services": [{"name": "a.B", "wire": "zz"}]}
    assert from_info(odd, "x").services == (Service("a.B"),)
