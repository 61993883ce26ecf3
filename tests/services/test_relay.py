import asyncio
from typing import Any

import pytest

from splnode.avro.protocol import Protocol
from splnode.errors import CallError, Code, DeclaredError
from splnode.rpc.call import Call
from splnode.rpc.route import NODE_KEY, Route
from splnode.services.relay import Relay
from splnode.wire.message import Contract

PROTOCOL = Protocol.parse(
    """{"protocol": "x.Shop", "types": [{"type": "error", "name": "Empty", "fields": [{"name": "n", "type": "int"}]}],
    "messages": {"buy": {"request": [{"name": "sku", "type": "string"}, {"name": "n", "type": "int"}],
    "response": "string", "errors": ["Empty"]}, "tell": {"request": [], "response": "null", "one-way": true}}}"""
)
BUY = b"\x04A1\x06"
NO_WISHES = dict.fromkeys(("policy", "key", "to", "pin", "hedge"))


class Empty(DeclaredError):
    schema_name = "x.Empty"


class Far:
    """A Channel that answers as it is told."""

    def __init__(self, answer: Any = "bought") -> None:
        self.answer = answer
        self.calls: list[Call] = []

    async def call(self, call: Call) -> object:
        self.calls.append(call)
        call.answer_metadata = {"k": b"v", NODE_KEY: b"n2"}
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def close(self) -> None: ...


async def ask(far: Far, message: str = "buy", params: bytes = BUY, **wishes: Any) -> dict[str, Any]:
    return await Relay(far).call(PROTOCOL.text, message, params, {"who": b"me"}, {**NO_WISHES, **wishes})


async def test_the_bytes_of_a_call_and_those_of_its_answer() -> None:
    far = Far()
    answer = await ask(far, to="n2", policy="weighted")
    assert answer == {"node": "n2", "metadata": {"k": b"v"}, "result": b"\x0cbought"}
    (call,) = far.calls
    assert (call.params, call.metadata) == ({"sku": "A1", "n": 3}, {"who": b"me"})
    assert call.route == Route(policy="weighted", to="n2", tell=True)


async def test_a_declared_error_and_any_other() -> None:
    assert (await ask(Far(Empty(n=1))))["error"] == b"\x02\x02"
    error = CallError(Code.UNAVAILABLE, "no", attempts=["n1: no"], retry_after=0.5, started=False)
    assert (await ask(Far(error)))["failure"] == {
        "code": "UNAVAILABLE",
        "message": "no",
        "attempts": ["n1: no"],
        "started": False,
        "retryAfterMs": 500,
    }


async def test_one_way_there_is_nothing() -> None:
    answer = await ask(Far(None), "tell", b"")
    assert not {"result", "error", "failure"} & set(answer)


async def test_a_message_that_there_is_not() -> None:
    assert (await ask(Far(), "sell"))["failure"]["code"] == "UNIMPLEMENTED"


@pytest.mark.parametrize("params", [b"", b"\x04A", BUY + b"x"])
async def test_parameters_that_are_none(params: bytes) -> None:
    with pytest.raises(ValueError, match="params: "):
        await ask(Far(), "buy", params)


async def test_a_protocol_is_read_once_and_a_long_one_aside() -> None:
    relay, far = Relay(Far()), Far()
    relay = Relay(far)
    long = PROTOCOL.text[:-1] + ', "doc": "' + "x" * 20_000 + '"}'
    for text in (PROTOCOL.text, PROTOCOL.text, long, long):
        await relay.call(text, "buy", BUY, {}, NO_WISHES)
    contracts = [call.contract for call in far.calls]
    assert contracts[0] is contracts[1] and contracts[2] is contracts[3] and contracts[0] is not contracts[2]
    with pytest.raises(ValueError, match="protocol: "):
        await relay.call("{}", "buy", BUY, {}, NO_WISHES)


async def test_it_ends_with_the_call_that_it_serves() -> None:
    class Slow(Far):
        async def call(self, call: Call) -> object:
            await asyncio.Event().wait()
            return None

    task = asyncio.create_task(ask(Slow()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_the_contract_is_the_callers_own() -> None:
    assert Contract(PROTOCOL).calling(PROTOCOL).prepare("buy").request.encode({"sku": "A1", "n": 3}) == BUY
