import asyncio
import sys
from typing import Any

import pytest
import structlog

from splnode.avro.protocol import Protocol
from splnode.errors import CallError, Code, SchemaError
from splnode.rpc import server
from splnode.rpc.call import Call
from splnode.rpc.client import Client
from splnode.rpc.interceptor import Proceed
from splnode.rpc.server import Server, blocking
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


REFUSED = CallError(Code.UNAVAILABLE, "another node was not reached", started=False)


async def error_of(server: Server, message: str = "echo") -> CallError:
    with pytest.raises(CallError) as caught:
        await Client(server, PROTOCOL).call(message, {"value": 1} if message == "echo" else {})
    return caught.value


async def test_a_handler_has_run_although_its_own_call_was_not_started() -> None:
    class Front(Inventory):
        def echo(self, value: object) -> object:
            raise REFUSED

    error = await error_of(Server(PROTOCOL, Front()))
    assert (error.code, error.message, error.started) == (Code.UNAVAILABLE, "another node was not reached", True)
    assert not REFUSED.started  # it may be somebody else's too


async def test_what_an_interceptor_says_before_and_after_the_handler() -> None:
    async def before(call: Call, proceed: Proceed) -> object:
        raise REFUSED

    async def after(call: Call, proceed: Proceed) -> object:
        await proceed(call)
        raise REFUSED

    assert not (await error_of(Server(PROTOCOL, Inventory(), interceptors=[before]))).started
    assert (await error_of(Server(PROTOCOL, Inventory(), interceptors=[after]))).started


@pytest.mark.parametrize(
    "error", [SystemExit(1), BaseException("odd"), asyncio.CancelledError(), StopIteration(), TimeoutError("mine")]
)
async def test_nothing_that_a_handler_raises_ends_more_than_its_call(error: BaseException) -> None:
    class Service(Inventory):
        async def echo(self, value: object) -> object:
            raise error

    assert (await error_of(Server(PROTOCOL, Service()))).code is Code.INTERNAL


async def test_time_is_over_here_too_if_it_is_over_in_the_node_behind() -> None:
    class Front(Inventory):
        def echo(self, value: object) -> object:
            raise CallError(Code.DEADLINE_EXCEEDED, "s3cret", remote=True)

    error = await error_of(Server(PROTOCOL, Front()))
    assert (error.code, error.remote, error.started) == (Code.DEADLINE_EXCEEDED, False, True)
    assert "s3cret" not in str(error)


def test_blocking_is_not_for_async_handlers() -> None:
    async def handler() -> None: ...

    with pytest.raises(TypeError, match="is async"):
        blocking(handler)


def test_a_method_without_a_signature() -> None:
    class Service(Inventory):
        add = min

    with pytest.raises(SchemaError, match="message add: its method does not tell its parameters"):
        Server(PROTOCOL, Service())


async def test_a_keyword_in_a_thread() -> None:
    class Service:
        @blocking
        def import_(self, from_: str, x: int) -> str:
            return f"{from_} {x} {sys._getframe().f_code.co_name}"

    assert await Client(Server(KEYWORDS, Service()), KEYWORDS).call("import", {"from": "a", "x": 1}) == "a 1 import_"


async def test_one_that_does_not_close_keeps_nothing_else_from_closing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(Inventory):
        async def close(self) -> None:
            raise ValueError("mine")

    class Hanging(Inventory):
        async def close(self) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(server, "CLOSE_SECONDS", 0.02)
    with structlog.testing.capture_logs() as logs:
        await Server(PROTOCOL, Failing()).close()
        await Server(PROTOCOL, Hanging()).close()
    assert [line["event"] for line in logs] == ["service not closed"] * 2
    assert [type(line["exc_info"]) for line in logs] == [ValueError, TimeoutError]
