"""What a method takes and is, by either engine. How it is awaited: tests/net/test_calling.py."""

import inspect
from collections.abc import Iterator

import pytest

import splnode
from splnode.errors import CallError, EncodeError
from splnode.rpc.client import Client
from splnode.rpc.server import Server
from tests.engines import ENGINES, engine_for_a_test
from tests.rpc.conftest import PROTOCOL, Inventory


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
