"""What is special about a call in process; what is the same everywhere is in test_channel.py."""

import asyncio
import enum

import pytest

from splnode.errors import CallError, Code
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


class Stubborn(Inventory):
    """Makes something of its own of being cancelled."""

    async def wait(self, name: str) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if name == "returns":
                return "late"
            raise CallError(Code.ABORTED, "late") from None
        raise AssertionError


@pytest.mark.parametrize("name", ["returns", "raises"])
async def test_past_the_deadline_it_is_the_deadline_whatever_the_handler_says(name: str) -> None:
    task = asyncio.current_task()
    assert task is not None
    with pytest.raises(CallError) as caught:
        await Client(Server(PROTOCOL, Stubborn()), PROTOCOL).call("wait", {"name": name}, timeout=0.02)
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert not task.cancelling()


@pytest.mark.parametrize("timeout", [0, -1])
async def test_no_time_at_all_runs_nothing(timeout: float) -> None:
    inventory = Inventory()
    with pytest.raises(CallError) as caught:
        await Client(Server(PROTOCOL, inventory), PROTOCOL).call("tell", {"text": "x"}, timeout=timeout)
    assert (caught.value.code, caught.value.started) == (Code.DEADLINE_EXCEEDED, False)
    assert inventory.told == []


async def test_the_callers_own_cancelling_is_no_deadline() -> None:
    inventory = Inventory()
    client = Client(Server(PROTOCOL, inventory), PROTOCOL)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await client.call("wait", {"name": "x"}, timeout=9)
    call = asyncio.create_task(client.call("wait", {"name": "x"}, timeout=0.02))
    asyncio.get_running_loop().call_later(0.02, call.cancel)  # both at once: either is right, and nothing else
    with pytest.raises((CallError, asyncio.CancelledError)) as caught:
        await call
    assert not isinstance(caught.value, CallError) or caught.value.code is Code.DEADLINE_EXCEEDED
