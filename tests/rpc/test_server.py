from typing import Any

import pytest

from splnode.avro.protocol import Protocol
from splnode.errors import SchemaError
from splnode.rpc.client import Client
from splnode.rpc.server import Server
from tests.rpc.conftest import PROTOCOL, Inventory

KEYWORDS = Protocol.parse("""{"protocol": "K", "messages": {
  "import": {"request": [{"name": "from", "type": "string"}, {"name": "x", "type": "int"}], "response": "string"}}}""")


def test_says_each_message_that_is_not_served() -> None:
    class Half:
        def add(self, a: int) -> int:
            return a

        def echo(self, value: object, extra: int) -> object:
            return value

        async def fail(self, how: str, more: int = 1) -> None: ...

        block = "not a method"

    with pytest.raises(SchemaError) as caught:
        Server(PROTOCOL, Half())
    said = str(caught.value)
    assert said.startswith("Half does not serve com.acme.Inventory: ")
    assert "message add: its method takes no 'b'" in said
    assert "message echo: its method wants 'extra', which the message does not have" in said
    assert "message block has no method block()" in said
    assert "message reserve has no method reserve('item',)" in said
    assert "message fail" not in said


async def test_python_keywords_get_an_underscore() -> None:
    class Service:
        def import_(self, from_: str, x: int) -> str:
            return f"{from_} {x}"

    client = Client(Server(KEYWORDS, Service()), KEYWORDS)
    assert await client.call("import", {"from": "a", "x": 1}) == "a 1"
    assert await client.import_(**{"from": "a", "x": 1}) == "a 1"


async def test_one_method_may_take_all() -> None:
    class Service:
        async def import_(self, **params: Any) -> str:
            return str(params)

    assert await Client(Server(KEYWORDS, Service()), KEYWORDS).call("import", {"from": "a", "x": 1}) == str(
        {"from": "a", "x": 1}
    )


async def test_a_sync_method_may_give_an_awaitable() -> None:
    class Service(Inventory):
        def add(self, a: int, b: int) -> Any:
            async def later() -> int:
                return a + b

            return later()

    assert await Client(Server(PROTOCOL, Service()), PROTOCOL).add(1, 2) == 3


async def test_closes_what_it_serves() -> None:
    inventory = Inventory()
    await Server(PROTOCOL, inventory).close()
    assert inventory.closed
    await Server(KEYWORDS, type("S", (), {"import_": lambda self, **params: ""})()).close()
