"""What is special about a call in process; what is the same everywhere is in test_channel.py."""

import asyncio
import enum

import pytest

from splnode.errors import CallError, Code
from splnode.limits import Limits
from splnode.rpc import inprocess
from splnode.rpc.admission import Admission
from splnode.rpc.call import current_call
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


async def test_a_handler_that_waits_keeps_its_place_and_the_next_one_waits_for_it() -> None:
    admission, inventory = Admission(running=1), Inventory()
    server = Server(PROTOCOL, inventory, interceptors=(admission,))
    client = Client(server, PROTOCOL)
    first = asyncio.create_task(client.call("wait", {"name": "first"}))
    await inventory.began.wait()
    second = asyncio.create_task(client.call("add", {"a": 1, "b": 2}))
    await asyncio.sleep(0)
    assert (admission.running, admission.waiting) == (1, 1)
    assert (server.tallies["wait"].in_flight, server.tallies["wait"].calls) == (1, 0)
    inventory.waiting["first"].set_result("done")
    assert await first == "done"
    assert await second == 3
    assert (admission.running, admission.waiting) == (0, 0)
    assert (server.tallies["wait"].in_flight, server.tallies["wait"].calls, server.tallies["add"].calls) == (0, 1, 1)


async def test_what_ends_a_call_is_counted_once() -> None:
    inventory = Inventory()
    server = Server(PROTOCOL, inventory, interceptors=(Admission(),))
    client = Client(server, PROTOCOL)
    with pytest.raises(CallError):
        await client.fail("exception")
    with pytest.raises(CallError):
        await client.fail("unfit-answer")
    task = asyncio.create_task(client.call("wait", {"name": "x"}))
    await inventory.began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(CallError):
        await client.call("wait", {"name": "x"}, timeout=0.01)
    failed, waited = server.tallies["fail"], server.tallies["wait"]
    assert (failed.calls, failed.in_flight, failed.failures) == (2, 0, {"INTERNAL": 1})
    assert (waited.calls, waited.in_flight, waited.failures) == (2, 0, {"CANCELLED": 2})


class Early(Inventory):
    """Uses its task before it waits for the first time, and calls itself."""

    def __init__(self, client: list[Client]) -> None:
        super().__init__()
        self.client = client

    async def wait(self, name: str) -> str:
        assert asyncio.current_task() is not None
        before = current_call()
        async with asyncio.timeout(0.01 if name == "late" else 10), asyncio.TaskGroup() as group:
            added = group.create_task(self.client[0].call("add", {"a": 1, "b": 2}))
            if name == "late":
                await asyncio.Event().wait()
        assert current_call() is before
        return f"{name} {added.result()}"

    def echo(self, value: object) -> object:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, value)
        return future


async def test_the_task_of_a_handler_is_its_callers_from_the_first_step() -> None:
    clients: list[Client] = []
    client = Client(Server(PROTOCOL, Early(clients), interceptors=(Admission(running=1),)), PROTOCOL)
    clients.append(client)
    assert await client.call("wait", {"name": "now"}) == "now 3"
    with pytest.raises(CallError) as caught:
        await client.call("wait", {"name": "late"})
    assert caught.value.code is Code.INTERNAL  # a TimeoutError of its own
    assert await client.echo([]) == []
    with pytest.raises(LookupError):
        current_call()
