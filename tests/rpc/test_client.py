import pytest

from splnode.errors import CallError, Code, DeclaredError
from splnode.rpc.call import Call
from splnode.rpc.client import Client
from splnode.rpc.interceptor import Proceed
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
