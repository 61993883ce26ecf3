"""The method of each message."""

from typing import Any

import pytest

from splnode.avro.protocol import Protocol
from splnode.errors import SchemaError
from splnode.rpc.binding import bind, blocking
from tests.rpc.conftest import PROTOCOL, Inventory, Item

KEYWORDS = Protocol.parse("""{"protocol": "K", "messages": {
  "import": {"request": [{"name": "from", "type": "string"}, {"name": "x", "type": "int"}], "response": "string"}}}""")


def test_names_types_and_blocking() -> None:
    bound = bind(PROTOCOL, Inventory())
    assert bound["add"].fields == bound["add"].names == ("a", "b")
    assert bound["reserve"].types == {"item": Item}
    assert [name for name, each in bound.items() if each.blocks] == ["block"]


def test_parameters_that_are_keywords_are_renamed() -> None:
    class Service:
        def import_(self, x: int, from_: str) -> str:
            return f"{from_} {x}"

    bound = bind(KEYWORDS, Service())["import"]
    assert (bound.fields, bound.names) == (("from", "x"), ("from_", "x"))
    assert bound.plain()(**{"from": "a", "x": 1}) == "a 1"


def test_a_method_that_takes_all_gets_the_messages_own_names() -> None:
    class Service:
        def import_(self, **params: Any) -> str:
            return str(params)

    bound = bind(KEYWORDS, Service())["import"]
    assert bound.names == ("from", "x")
    assert bound.plain() == bound.method


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(SchemaError, match="message import has no method import"):
        bind(KEYWORDS, object())


def test_an_async_method_does_not_block() -> None:
    with pytest.raises(TypeError, match="is async"):

        @blocking
        async def handler() -> None: ...
