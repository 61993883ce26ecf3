"""Deadlines and answers of what a peer has running, without a socket."""

import asyncio
from pathlib import Path

import pytest

import splnode
from splnode.errors import CallError, Code
from splnode.limits import DEFAULT_LIMITS
from splnode.net.serving import Host
from splnode.rpc.call import TIMEOUT_KEY, Call, Peer
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
        await asyncio.wait_for(self.answered.wait(), 5)
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
    await asyncio.wait_for(inventory.cancelled.wait(), 5)
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
    pair.exchange()
    error = (await pair.answer()).error
    assert isinstance(error, CallError)
    assert error.code is Code.DEADLINE_EXCEEDED


async def test_cancelled_by_the_client_it_is_answered_all_the_same() -> None:
    inventory = Inventory()
    pair = Pair(inventory)
    serial = pair.client.call("wait", {"name": "x"})
    pair.exchange()
    await asyncio.wait_for(inventory.began.wait(), 5)
    pair.client.cancel(serial)
    pair.exchange()
    await asyncio.wait_for(inventory.cancelled.wait(), 5)
    await asyncio.wait_for(pair.answered.wait(), 5)
    assert pair.exchange() == []  # the client had forgotten it
    assert pair.session.in_flight == 0


async def test_closing_cancels_what_runs_and_answers_nothing() -> None:
    inventory = Inventory()
    pair = Pair(inventory)
    pair.client.call("wait", {"name": "x"})
    pair.exchange()
    await asyncio.wait_for(inventory.began.wait(), 5)
    pair.serving.close()
    await asyncio.wait_for(inventory.cancelled.wait(), 5)
    assert not pair.answered.is_set()


async def test_a_turn_holds_handlers_back() -> None:
    inventory = Inventory()
    pair = Pair(inventory)
    pair.serving.turn = asyncio.get_running_loop().create_future()
    pair.client.call("add", {"a": 1, "b": 1})
    pair.exchange()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not pair.answered.is_set()
    turn, pair.serving.turn = pair.serving.turn, None
    turn.set_result(None)
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
