"""Deadlines and answers of what a peer has running, without a socket."""

import asyncio
import gc
import warnings
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

import splnode
from splnode.errors import CallError, Code
from splnode.limits import DEFAULT_LIMITS
from splnode.net.host import Host
from splnode.rpc.call import TIMEOUT_KEY, Call, Peer, current_call
from splnode.rpc.router import Router
from splnode.rpc.server import Server
from splnode.wire.client import ClientSession
from splnode.wire.directory import Directory
from splnode.wire.events import Cancel, Request, Response
from splnode.wire.message import Contract
from splnode.wire.server import ServerSession
from tests.rpc.conftest import PROTOCOL, Inventory


class Pair:
    """A client's session, a server's, and the calls of the latter running in a Serving."""

    def __init__(self, inventory: Inventory, timeout: float = 30.0) -> None:
        server = Server(PROTOCOL, inventory)
        directory = Directory([server.contract])
        self.host = Host(Router({PROTOCOL.name: server}), directory, DEFAULT_LIMITS, timeout)
        self.session = ServerSession(directory, self.host.clients)
        self.client = ClientSession(Contract(PROTOCOL))
        self.answered = asyncio.Event()
        self.serving = self.host.serving(self.session, Peer("test"), self.answered.set)
        self.client.start()
        self.exchange()

    def exchange(self) -> list[object]:
        """Carries what lies in either session to the other; gives what the client heard."""
        for event in self.session.receive_data(b"".join(self.client.data_to_send())):
            if isinstance(event, Request):
                self.serving.start(event)
            elif isinstance(event, Cancel):
                self.serving.cancel(event.serial)
        return list(self.client.receive_data(b"".join(self.session.data_to_send())))

    async def answer(self) -> Response:
        await asyncio.wait_for(self.answered.wait(), 20)
        self.answered.clear()
        heard = [event for event in self.exchange() if isinstance(event, Response)]
        assert len(heard) == 1
        return heard[0]


async def test_the_deadline_of_the_metadata_ends_the_call_here_too() -> None:
    inventory = Inventory()
    pair = Pair(inventory)
    pair.client.call("wait", {"name": "x"}, {TIMEOUT_KEY: b"30"})
    pair.exchange()
    error = (await pair.answer()).error
    assert isinstance(error, CallError)
    assert (error.code, error.remote) == (Code.DEADLINE_EXCEEDED, True)
    await asyncio.wait_for(inventory.cancelled.wait(), 20)
    assert pair.serving.running == 0


@pytest.mark.parametrize("said", [b"soon", b"", b"1e3", b"\xff"])
async def test_a_deadline_that_is_no_number_is_the_default(said: bytes) -> None:
    inventory = Inventory()
    pair = Pair(inventory, timeout=7)
    pair.client.call("remaining", {}, {TIMEOUT_KEY: said})
    pair.exchange()
    value = (await pair.answer()).value
    assert 6 < value <= 7


async def test_a_deadline_that_has_passed_on_arrival() -> None:
    inventory = Inventory()
    pair = Pair(inventory)
    pair.client.call("wait", {"name": "x"}, {TIMEOUT_KEY: b"-5"})
    (response,) = pair.exchange()
    assert isinstance(response, Response)
    assert isinstance(response.error, CallError)
    assert response.error.code is Code.DEADLINE_EXCEEDED


async def test_cancelled_by_the_client_it_is_answered_all_the_same() -> None:
    inventory = Inventory()
    pair = Pair(inventory)
    serial = pair.client.call("wait", {"name": "x"})
    pair.exchange()
    await asyncio.wait_for(inventory.began.wait(), 20)
    pair.client.cancel(serial)
    pair.exchange()
    await asyncio.wait_for(inventory.cancelled.wait(), 20)
    await asyncio.wait_for(pair.answered.wait(), 20)
    assert pair.exchange() == []  # the client had forgotten it
    assert pair.session.in_flight == 0


async def test_what_a_handler_gave_to_be_awaited_is_closed_if_it_never_begins() -> None:
    class Late(Inventory):
        def remaining(self) -> Any:
            return self.later()

        async def later(self) -> float:
            return 1.0

    pair = Pair(Late())
    pair.client.call("remaining", {})
    pair.exchange()
    assert (await pair.answer()).value == 1.0
    intake = pair.serving.intake(DEFAULT_LIMITS)
    assert intake is not None
    pair.session.run_by(intake)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        pair.client.call("remaining", {})
        pair.exchange()
        assert pair.serving.running == 1
        pair.serving.close()
        for _ in range(3):
            await asyncio.sleep(0)
        gc.collect()
    assert [str(each.message) for each in seen] == []


async def test_closing_cancels_what_runs_and_answers_nothing() -> None:
    inventory = Inventory()
    pair = Pair(inventory)
    pair.client.call("wait", {"name": "x"})
    pair.exchange()
    await asyncio.wait_for(inventory.began.wait(), 20)
    pair.serving.close()
    await asyncio.wait_for(inventory.cancelled.wait(), 20)
    assert not pair.answered.is_set()


async def test_a_turn_holds_handlers_back() -> None:
    inventory = Inventory()
    pair = Pair(inventory)
    pair.serving.hold()
    pair.client.call("add", {"a": 1, "b": 1})
    pair.exchange()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not pair.answered.is_set()
    pair.serving.release()
    assert (await pair.answer()).value == 2


async def test_the_peer_and_the_call_are_known_to_the_handler(tmp_path: Path) -> None:
    seen: list[Call] = []

    class Looking(Inventory):
        def add(self, a: int, b: int) -> int:
            seen.append(splnode.current_call())
            return 0

    pair = Pair(Looking())
    pair.client.call("add", {"a": 1}, {"k": b"v"})
    pair.exchange()
    await pair.answer()
    assert (str(seen[0].peer), seen[0].metadata["k"], seen[0].name) == ("test", b"v", "com.acme.Inventory.add")


@pytest.mark.parametrize("said", [b"1" * 400, b"1" * 5000, b"86400001"])
async def test_a_deadline_beyond_all_measure(said: bytes) -> None:
    pair = Pair(Inventory())
    pair.client.call("remaining", {}, {TIMEOUT_KEY: said})
    pair.exchange()
    value = (await pair.answer()).value
    assert isinstance(value, float)
    assert 20 < value <= 86400


@pytest.mark.parametrize("said", [b"0", b"-5", b"-" + b"9" * 400])
async def test_a_call_that_comes_too_late_never_runs(said: bytes) -> None:
    inventory = Inventory()
    pair = Pair(inventory)
    pair.client.call("wait", {"name": "x"}, {TIMEOUT_KEY: said})
    (response,) = pair.exchange()
    assert isinstance(response, Response)
    assert isinstance(response.error, CallError)
    assert (response.error.code, response.error.started) == (Code.DEADLINE_EXCEEDED, False)
    await asyncio.sleep(0)
    assert not inventory.waiting
    assert pair.serving.running == pair.session.in_flight == 0


async def test_one_that_is_held_back_may_go_without_the_others() -> None:
    pair = Pair(Inventory())
    pair.serving.hold()
    serials = [pair.client.call("add", {"a": number, "b": 0}) for number in range(3)]
    pair.exchange()
    await asyncio.sleep(0)
    pair.serving.cancel(serials[1])
    response = await pair.answer()
    assert isinstance(response.error, CallError)
    assert (response.serial, response.error.code, response.error.started) == (serials[1], Code.CANCELLED, False)
    pair.serving.release()
    heard = []
    while len(heard) < 2:
        await asyncio.wait_for(pair.answered.wait(), 20)
        pair.answered.clear()
        heard += [(event.serial, event.value) for event in pair.exchange() if isinstance(event, Response)]
    assert sorted(heard) == [(serials[0], 0), (serials[2], 2)]


async def test_expired_while_it_was_held_back_it_was_not_started() -> None:
    inventory = Inventory()
    pair = Pair(inventory)
    pair.serving.hold()
    pair.client.call("wait", {"name": "x"}, {TIMEOUT_KEY: b"20"})
    pair.exchange()
    error = (await pair.answer()).error
    assert isinstance(error, CallError)
    assert (error.code, error.started) == (Code.DEADLINE_EXCEEDED, False)
    assert not inventory.waiting


@pytest.mark.parametrize("metadata", [{"a": "text"}, {1: b"x"}, 5, {"a": b"x" * 5_000_000}])
async def test_answer_metadata_that_is_none_is_a_fault_of_the_handler(metadata: object) -> None:
    class Careless(Inventory):
        def echo(self, value: object) -> object:
            current_call().answer_metadata = metadata  # type: ignore[assignment]  # what is tested
            return value

    pair = Pair(Careless())
    pair.client.call("echo", {"value": 1})
    pair.exchange()
    error = (await pair.answer()).error
    assert isinstance(error, CallError)
    assert error.code is Code.INTERNAL
    assert pair.session.in_flight == pair.serving.running == 0


async def test_a_channel_that_breaks_its_promise_is_answered_for() -> None:
    pair = Pair(Inventory())

    class Broken:
        async def call(self, call: Call) -> object:
            raise ZeroDivisionError("s3cret")

        async def close(self) -> None: ...

    pair.serving._channel = Broken()
    pair.client.call("add", {"a": 1})
    pair.exchange()
    error = (await pair.answer()).error
    assert isinstance(error, CallError)
    assert error.code is Code.INTERNAL
    assert "s3cret" not in str(error)


async def test_what_one_call_sets_in_its_context_no_other_sees() -> None:
    who: ContextVar[str] = ContextVar("who", default="nobody")
    who.set("the listener's")
    seen: list[str] = []

    class Marking(Inventory):
        def tell(self, text: str) -> None:
            seen.append(who.get())
            who.set(text)

    pair = Pair(Marking())
    following = asyncio.Event()

    def answered() -> None:  # as a connection does it that was full: the next call starts from the last one's task
        pair.answered.set()
        if not following.is_set():
            following.set()
            pair.client.call("tell", {"text": "second"})
            pair.exchange()

    pair.serving._answered = answered
    who.set("the reader's")
    pair.client.call("tell", {"text": "first"})
    pair.exchange()
    await asyncio.wait_for(following.wait(), 20)
    while len(seen) < 2:
        await asyncio.sleep(0)
    assert seen == ["the listener's"] * 2


async def test_cancelled_with_the_very_bytes_that_brought_it() -> None:
    inventory = Inventory()
    pair = Pair(inventory)
    serial = pair.client.call("wait", {"name": "x"})
    pair.client.cancel(serial)
    pair.exchange()
    await asyncio.wait_for(pair.answered.wait(), 20)
    assert pair.exchange() == []  # the client had forgotten it
    assert pair.session.in_flight == pair.serving.running == pair.client.in_flight == 0
    assert not inventory.waiting
