import pytest

from splnode.errors import CallError, Code, DeclaredError
from splnode.rpc.call import Call
from splnode.rpc.client import Client
from splnode.rpc.interceptor import Proceed
from splnode.rpc.route import ANY, Route
from splnode.rpc.server import Server
from splnode.wire.message import Contract
from tests.rpc.conftest import PROTOCOL, Inventory, Item


class OutOfStock(DeclaredError):
    pass


async def test_results_and_errors_of_ones_own_classes() -> None:
    contract = Contract(PROTOCOL, results={"reserve": Item}, errors={"OutOfStock": OutOfStock})
    client = Client(Server(PROTOCOL, Inventory()), contract)
    assert await client.reserve(item=Item("A1", 3)) == Item("A1", 3, ["reserved"])
    with pytest.raises(OutOfStock) as caught:
        await client.reserve(item=Item("A1", 30))
    assert caught.value.left == 10


async def test_its_interceptors_see_the_call_first() -> None:
    async def refuse(call: Call, proceed: Proceed) -> object:
        raise CallError(Code.PERMISSION_DENIED, f"not {call.name}")

    client = Client(Server(PROTOCOL, Inventory()), PROTOCOL, interceptors=[refuse])
    with pytest.raises(CallError, match=r"not com\.acme\.Inventory\.add"):
        await client.add(1, 2)


async def test_too_many_parameters_by_position() -> None:
    client = Client(Server(PROTOCOL, Inventory()), PROTOCOL)
    with pytest.raises(TypeError, match=r"add takes 2 parameters \(a, b\), 3 were given"):
        await client.add(1, 2, 3)
    with pytest.raises(TypeError, match="add: 'a' is given by position and by name"):
        await client.add(1, a=2)


async def test_methods_carry_the_name_and_are_made_once() -> None:
    client = Client(Server(PROTOCOL, Inventory()), PROTOCOL)
    assert client.add is client.add
    assert client.add.__name__ == "add"
    with pytest.raises(AttributeError):
        client.__wrapped__  # noqa: B018 - what inspect and copy ask for


async def test_where_a_call_wants_to_go_is_said_with_it() -> None:
    seen: list[Call] = []

    async def look(call: Call, proceed: Proceed) -> object:
        seen.append(call)
        return await proceed(call)

    client = Client(Server(PROTOCOL, Inventory()), PROTOCOL, interceptors=[look])
    wish = Route(policy="round_robin", to="n2")
    assert await client.call("add", {"a": 1, "b": 2}, route=wish, timeout=5.0, metadata={"who": b"me"}) == 3
    assert await client.call("add", {"a": 1, "b": 2}) == 3
    assert await client.send(client.prepare("add", {"a": 1, "b": 2}, route=wish)) == 3
    assert [call.route for call in seen] == [wish, ANY, wish]
    assert seen[0].remaining < 5.0
    assert seen[0].metadata == {"who": b"me"}
    with pytest.raises(CallError, match="ad"):
        await client.call("ad", route=wish)
