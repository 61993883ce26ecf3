"""What a method takes and is, by either engine. How it is awaited: tests/net/test_calling.py."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import splnode
from splnode.errors import CallError, DeclaredError, EncodeError
from splnode.net.channel import EndpointChannel
from splnode.rpc.call import Call, running
from splnode.rpc.channel import Channel, track_of
from splnode.rpc.client import Client
from splnode.rpc.method import make_method
from splnode.rpc.server import Server
from splnode.wire.message import Contract
from splnode.wire.track import make_track
from tests.engines import ENGINES, engine_for_a_test
from tests.rpc.conftest import PROTOCOL, Inventory
from tests.rpc.test_call import a_call


@pytest.fixture(params=ENGINES, autouse=True)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    yield from engine_for_a_test(request.param, monkeypatch)


async def test_parameters_by_position_and_by_name() -> None:
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}) as server:
        async with splnode.connect(server.endpoints[0], PROTOCOL) as client:
            for call in (
                client.add(1, 2),
                client.add(1, b=2),
                client.add(b=2, a=1),
                client.call("add", {"a": 1, "b": 2}),
            ):
                assert await call == 3
            name = "".join(["b", ""])  # a string of its own
            assert await client.add(1, **{name: 2}) == 3
            assert (await client.reserve({"sku": "A1"}))["count"] == 1  # a field's default
            for call, text in (
                (client.add(1, 2, 3), r"add takes 2 parameters \(a, b\), 3 were given"),
                (client.add(1, a=2), "add: 'a' is given by position and by name"),
            ):
                with pytest.raises(TypeError, match=text):
                    await call
            for wrong in (client.add(b=1), client.add(1, c=2), client.add(1, "x"), client.call("add", {"b": 1})):
                with pytest.raises(EncodeError):
                    await wrong
            with pytest.raises(CallError, match="has no message 'subtract'"):
                await client.call("subtract")
            with pytest.raises(AttributeError, match="has no message 'subtract'"):
                _ = client.subtract
            assert await client.tell(text="x") is None


async def test_it_carries_name_and_documentation() -> None:
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}) as server:
        async with splnode.connect(server.endpoints[0], PROTOCOL) as client:
            assert client.add is client.add
            assert (client.add.__name__, client.add.__doc__) == ("add", PROTOCOL.messages["add"].doc)
            assert "add" in repr(client.add)
            assert callable(client.add)
            assert str(inspect.signature(client.add)) == "(*args: Any, **params: Any) -> Any"


async def test_in_process_it_goes_through_the_channel() -> None:
    client = Client(Server(PROTOCOL, Inventory()), PROTOCOL)
    assert await client.add(1, 2) == 3
    assert await client.call("add", {"a": 1, "b": 2}, timeout=1) == 3


NATIVE = pytest.mark.parametrize("engine", ["native"], indirect=True)


class Account:
    """A track over a client's connection that keeps account of its calls, and what it was given back."""

    def __init__(self, channel: Channel, contract: Contract) -> None:
        inner = track_of(channel, contract)
        assert inner is not None
        self.track, self.contract = make_track(), contract
        self.track.lines, self.track.failed = (inner,), self.failed
        self.given: list[tuple[Call, Exception]] = []
        self.general: list[Call] = []

    def method(self, name: str) -> Any:
        return make_method(self.track, self.contract, PROTOCOL.messages[name], self.proceed, 30.0)

    async def failed(self, call: Call, error: Exception) -> object:
        self.given.append((call, error))
        await asyncio.sleep(0)
        if isinstance(error, CallError):
            return "instead"
        raise error

    async def proceed(self, call: Call) -> object:
        self.general.append(call)
        return "generally"

    @property
    def counts(self) -> tuple[int, int, int]:
        return self.track.begun, self.track.ended, self.track.well


@pytest.fixture
async def account(engine: str) -> AsyncIterator[Account]:
    assert engine == "native"  # the plain engine goes through the channels
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}) as server:
        channel = EndpointChannel(server.endpoints[0], Contract(PROTOCOL))
        await channel.connect()
        yield Account(channel, channel.contract)
        await channel.close()


@NATIVE
async def test_calls_over_a_track_that_keeps_account_are_counted(account: Account) -> None:
    add = account.method("add")
    waiting = add(1, 2)
    assert account.counts == (0, 0, 0)  # nothing is done before it is awaited
    assert await waiting == 3
    assert await account.method("tell")(text="x") is None  # one-way
    assert account.counts == (2, 2, 2)
    holding = asyncio.create_task(account.method("wait")(name="k"))
    await asyncio.sleep(0)
    assert account.counts == (3, 2, 2)
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding
    assert account.counts == (3, 3, 2)
    assert (account.given, account.general) == ([], [])


@NATIVE
async def test_what_fails_there_is_given_back_with_all_that_it_needs(account: Account) -> None:
    assert await account.method("fail")(how="call") == "instead"
    ((call, error),) = account.given
    assert isinstance(error, CallError)
    assert (call.message.name, call.params, call.metadata) == ("fail", {"how": "call"}, {})
    assert 15 < call.remaining < 30  # clock: its own timeout, of which not much has passed
    assert account.counts == (1, 1, 0)
    with pytest.raises(EncodeError):
        await account.method("add")(1, "x")  # it was not even sent
    with pytest.raises(DeclaredError):
        await account.method("reserve")({"sku": "A1", "count": 100})
    assert [type(error).__name__ for _, error in account.given[1:]] == ["EncodeError", "OutOfStock"]
    assert account.counts == (3, 3, 0)
    account.track.failed = None  # nobody keeps account any more
    with pytest.raises(CallError):
        await account.method("fail")(how="call")
    assert account.counts == (3, 3, 0)


@NATIVE
async def test_an_error_that_is_given_back_may_be_cancelled_too(account: Account) -> None:
    async def failed(call: Call, error: Exception) -> object:
        await asyncio.Event().wait()

    account.track.failed = failed
    call = asyncio.create_task(account.method("fail")(how="call"))
    while account.counts != (1, 1, 0):
        await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


@NATIVE
async def test_what_somebody_may_have_to_look_at_goes_the_general_way(account: Account) -> None:
    add = account.method("add")
    assert await add.call({"a": 1, "b": 2}, None, {"k": b"v"}) == "generally"
    token = running.set(a_call(5))
    assert await add(1, 2) == "generally"  # a handler's
    running.reset(token)
    account.track.lines = ()
    assert await add(1, 2) == "generally"
    assert account.counts == (0, 0, 0)


@NATIVE
async def test_the_account_is_that_of_the_line_that_was_picked(account: Account) -> None:
    other, above = Account.__new__(Account), make_track()
    other.track = make_track()
    other.track.failed, other.track.lines = account.failed, account.track.lines
    above.lines = (account.track, other.track)
    add = make_method(above, account.contract, PROTOCOL.messages["add"], account.proceed, 30.0)
    for _ in range(100):
        assert await add(1, 2) == 3
    assert account.counts[0] + other.counts[0] == 100
    assert min(account.counts[0], other.counts[0]) > 10
