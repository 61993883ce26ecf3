"""What is special about a call in process; what is the same everywhere is in test_channel.py."""

import enum

import pytest

from splnode.limits import Limits
from splnode.rpc import inprocess
from splnode.rpc.client import Client
from splnode.rpc.inprocess import carries_types
from splnode.rpc.server import Server
from splnode.wire.message import Contract
from tests.rpc.conftest import PROTOCOL, Inventory, Item


async def test_nothing_is_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_codec(*args: object, **kwargs: object) -> object:
        raise AssertionError("a codec was asked for")

    monkeypatch.setattr(inprocess, "encoder", no_codec)
    monkeypatch.setattr(inprocess, "decoder", no_codec)
    assert await Client(Server(PROTOCOL, Inventory()), PROTOCOL).add(1, 2) == 3
    with pytest.raises(AssertionError, match="a codec was asked for"):
        await Client(Server(PROTOCOL, Inventory(), force_codec=True), PROTOCOL).add(1, 2)


async def test_many_contracts_do_not_fill_the_memory() -> None:
    server = Server(PROTOCOL, Inventory(), limits=Limits(client_protocols=3))
    for _ in range(10):
        assert await Client(server, Contract(PROTOCOL)).add(1, 2) == 3
    assert len(server._bridge._routes) <= 3


def test_which_annotations_ask_for_more_than_plain_values() -> None:
    class Colour(enum.Enum):
        RED = "RED"

    assert carries_types(Item)
    assert carries_types(list[Item])
    assert carries_types(dict[str, Item | None])
    assert carries_types(Colour)
    assert not carries_types(int)
    assert not carries_types(dict[str, list[str]])
    assert not carries_types("Item")
