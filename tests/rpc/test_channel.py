"""One suite over every way that a call can go: the same values, the same checks, the same errors."""

import asyncio
from pathlib import Path

import pytest

from splnode.avro.protocol import Protocol
from splnode.errors import CallError, Code, DeclaredError, EncodeError
from splnode.rpc.call import deadline
from tests.rpc.conftest import PROTOCOL, WAYS, Reach, reach


async def test_a_record_goes_there_and_back_with_its_defaults(reached: Reach) -> None:
    assert await reached.client.reserve(item={"sku": "A1"}) == {"sku": "A1", "count": 1, "tags": ["reserved"]}
    assert reached.calls == ["reserve"]


async def test_by_name_by_position_and_with_a_default(reached: Reach) -> None:
    assert await reached.client.add(1, 2) == 3
    assert await reached.client.add(a=1, b=2) == 3
    assert await reached.client.call("add", {"a": 2}) == 42


@pytest.mark.parametrize(
    "value", [None, True, 7, -(2**63), 2.5, b"\x00\xff", "text", "", ["a", "b"], {"a": 1}, "x" * 300_000]
)
async def test_every_value_comes_back_as_it_went(reached: Reach, value: object) -> None:
    answer = await reached.client.echo(value=value)
    assert answer == value
    assert type(answer) is type(value)


async def test_what_the_caller_holds_is_out_of_the_handlers_reach(reached: Reach) -> None:
    item = {"sku": "A1", "count": 2, "tags": ["mine"]}
    answer = await reached.client.reserve(item=item)
    assert item == {"sku": "A1", "count": 2, "tags": ["mine"]}
    assert answer["tags"] == ["mine", "reserved"]


async def test_a_declared_error(reached: Reach) -> None:
    with pytest.raises(DeclaredError) as caught:
        await reached.client.reserve(item={"sku": "A1", "count": 11})
    assert caught.value.schema_name == "com.acme.OutOfStock"
    assert dict(caught.value.value) == {"sku": "A1", "left": 10}
    assert caught.value.left == 10


async def test_a_code_said_by_the_handler(reached: Reach) -> None:
    with pytest.raises(CallError) as caught:
        await reached.client.fail(how="code")
    error = caught.value
    assert (error.code, error.message, error.retry_after, error.started) == (Code.NOT_FOUND, "no such thing", 1.5, True)


@pytest.mark.parametrize("how", ["undeclared", "exception", "unfit-error", "remote", "unfit-answer"])
async def test_nothing_undeclared_leaks(reached: Reach, how: str) -> None:
    with pytest.raises(CallError) as caught:
        await reached.client.fail(how=how)
    assert caught.value.code is Code.INTERNAL
    assert "internal error; the node's log has it under" in caught.value.message
    assert "s3cret" not in str(caught.value)
    assert "ValueError" not in str(caught.value)


async def test_parameters_that_do_not_fit_are_the_callers_and_nothing_runs(reached: Reach) -> None:
    with pytest.raises(EncodeError) as caught:
        await reached.client.reserve(item={"sku": "A1", "count": "three"})
    assert caught.value.path == "item.count"
    with pytest.raises(EncodeError):
        await reached.client.call("add", {"a": 1, "c": 2})
    assert reached.calls == []


async def test_a_message_that_is_not_there(reached: Reach) -> None:
    with pytest.raises(CallError, match="no message 'nothing'; it has reserve, echo") as caught:
        await reached.client.call("nothing")
    assert caught.value.code is Code.UNIMPLEMENTED
    with pytest.raises(AttributeError, match="no message 'nothing'"):
        _ = reached.client.nothing


async def test_the_deadline_ends_the_call_and_the_handler(reached: Reach) -> None:
    with pytest.raises(CallError) as caught:
        await reached.client.call("wait", {"name": "x"}, timeout=0.2)
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    await asyncio.wait_for(reached.inventory.cancelled.wait(), 20)


async def test_a_deadline_around_calls_wins_over_their_own(reached: Reach) -> None:
    with deadline(0.2), pytest.raises(CallError) as caught:
        await reached.client.call("wait", {"name": "x"}, timeout=9)
    assert caught.value.code is Code.DEADLINE_EXCEEDED


async def test_what_is_left_of_the_deadline_travels(reached: Reach) -> None:
    with deadline(9):
        left = await reached.client.remaining()
    assert 3 < left <= 9


async def test_cancelling_reaches_the_handler(reached: Reach) -> None:
    call = asyncio.create_task(reached.client.call("wait", {"name": "x"}))
    await asyncio.wait_for(reached.inventory.began.wait(), 20)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    if reached.way in ("spec", "sasl"):
        # Avro has no word for it, and in these framings a reply is due for every request: it runs to its deadline.
        assert not reached.inventory.cancelled.is_set()
    else:
        await asyncio.wait_for(reached.inventory.cancelled.wait(), 20)


async def test_calls_overlap(reached: Reach) -> None:
    first = asyncio.create_task(reached.client.wait(name="first"))
    second = asyncio.create_task(reached.client.wait(name="second"))
    waiting = reached.inventory.waiting
    while len(waiting) < 2:
        reached.inventory.began.clear()
        await asyncio.wait_for(reached.inventory.began.wait(), 20)
    waiting["second"].set_result("2")
    waiting["first"].set_result("1")
    assert await asyncio.gather(first, second) == ["1", "2"]


async def test_a_blocking_handler_does_not_stop_the_others(reached: Reach) -> None:
    blocked = asyncio.create_task(reached.client.block())
    assert await reached.client.add(1, 1) == 2
    reached.inventory.release.set()
    assert await blocked != "MainThread"


async def test_metadata_goes_both_ways(reached: Reach) -> None:
    call = reached.client.prepare("seen", metadata={"traceparent": b"00-1", "blob": b"\xff"})
    assert await reached.client.send(call) == {"traceparent": b"00-1", "blob": b"\xff"}
    assert call.answer_metadata.get("answered") == b"yes"


async def test_one_way_is_heard_and_gives_nothing(reached: Reach) -> None:
    assert await reached.client.tell(text="hello") is None
    await asyncio.wait_for(reached.inventory.heard.wait(), 20)
    assert reached.inventory.told == ["hello"]
    assert await reached.client.add(1, 1) == 2


NEWER = PROTOCOL.text.replace(
    '{"name": "sku", "type": "string"},\n      {"name": "count", "type": "int", "default": 1}',
    '{"name": "code", "type": "string", "aliases": ["sku"]},\n      {"name": "count", "type": "long", "default": 1},'
    '\n      {"name": "price", "type": "double", "default": 9.5}',
).replace('"response": "long"', '"response": "string"')


@pytest.mark.parametrize("way", WAYS)
async def test_another_version_of_the_contract(way: str, tmp_path: Path) -> None:
    # The server reads int where this client writes long, and does not know `code`: the request cannot be resolved.
    async with reach(way, tmp_path, Protocol.parse(NEWER)) as reached:
        with pytest.raises(CallError) as caught:
            await reached.client.reserve(item={"code": "A1"})
        assert caught.value.code is Code.FAILED_PRECONDITION
        assert not caught.value.started
        assert "count" in caught.value.message or "sku" in caught.value.message
        with pytest.raises(CallError) as caught:
            await reached.client.add(a=1, b=2)
        assert caught.value.code is Code.FAILED_PRECONDITION
        assert await reached.client.echo(value=1) == 1  # the others are served
        assert reached.calls == ["echo"]


OLDER = (
    PROTOCOL.text.replace(',\n      {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []}', "")
    .replace('{"name": "count", "type": "int", "default": 1}', '{"name": "count", "type": "int"}')
    .replace('"response": "long"', '"response": "double"')
    .replace(',\n      {"name": "left", "type": ["null", "int"], "default": null}', "")
)


@pytest.mark.parametrize("way", WAYS)
async def test_an_older_version_that_resolves(way: str, tmp_path: Path) -> None:
    async with reach(way, tmp_path, Protocol.parse(OLDER)) as reached:
        assert await reached.client.reserve(item={"sku": "A1", "count": 2}) == {"sku": "A1", "count": 2}
        answer = await reached.client.add(a=1, b=2)
        assert (answer, type(answer)) == (3.0, float)
        with pytest.raises(DeclaredError) as caught:
            await reached.client.reserve(item={"sku": "A1", "count": 11})
        assert dict(caught.value.value) == {"sku": "A1"}


@pytest.mark.parametrize("way", WAYS)
async def test_the_implementation_is_closed_with_its_server(way: str, tmp_path: Path) -> None:
    async with reach(way, tmp_path) as reached:
        inventory = reached.inventory
        assert await reached.client.add(1, 1) == 2
    assert inventory.closed
