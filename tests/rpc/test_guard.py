"""What a router does with a guard: whatever it is asked, no call gets past it."""

import pytest

from splnode.avro.protocol import Protocol
from splnode.errors import CallError, Code
from splnode.identity import Identity
from splnode.rpc.call import Call, Peer
from splnode.rpc.router import Router
from splnode.rpc.server import Server
from splnode.wire.message import Contract
from tests.rpc.conftest import PROTOCOL, Inventory
from tests.rpc.test_call import a_call, a_call_of
from tests.rpc.test_router import Fake

ANN, BOB = Identity("ann"), Identity("bob")


class OnlyAnn:
    watchful = False

    def __init__(self) -> None:
        self.asked: list[tuple[str, bool]] = []

    def check(self, call: Call, *, here: bool = True) -> None:
        self.asked.append((call.identity.name, here))
        if call.identity.name != "ann":
            raise CallError(Code.PERMISSION_DENIED, "no", started=False)

    def lets(self, peer: Peer, service: str, message: str) -> bool:
        return peer.identity is ANN

    def bearer(self, peer: Peer, authorization: str) -> Peer:
        return peer

    def login(self, peer: Peer, name: str, token: str) -> Peer:
        return peer


def guarded(guard: OnlyAnn) -> Router:
    router = Router({PROTOCOL.name: Fake([])})
    router.obey(guard)
    return router


async def test_every_call_that_comes_is_asked_about() -> None:
    guard = OnlyAnn()
    router = guarded(guard)
    assert await router.call(a_call_of(ANN)) == "com.acme.Inventory.add"
    with pytest.raises(CallError, match="no"):
        await router.call(a_call_of(BOB))
    router.remove(PROTOCOL.name)
    router.elsewhere = Fake([])
    with pytest.raises(CallError, match="no"):
        await router.call(a_call_of(BOB))
    assert guard.asked == [("ann", True), ("bob", True), ("bob", False)]


async def test_what_the_node_calls_itself_is_asked_about_where_it_may_matter() -> None:
    guard = OnlyAnn()
    router = guarded(guard)
    assert await router.call(a_call(1))
    assert guard.asked == []
    with pytest.raises(CallError, match="no"):
        await router.call(a_call(1, {"spl-identity": b"bob"}))
    guard.watchful = True
    with pytest.raises(CallError, match="no"):
        await router.call(a_call(1))


async def test_only_what_the_guard_lets_runs_where_it_was_read() -> None:
    server = Server(PROTOCOL, Inventory())
    router = Router({PROTOCOL.name: server})
    router.obey(OnlyAnn())
    codec = server.contract.serving(PROTOCOL).prepare(b"add")
    assert not isinstance(codec, CallError)
    assert router.handler(codec, Peer("", None, BOB)) is None
    given = router.handler(codec, Peer("", None, ANN))
    assert given is not None
    router.withdraw()
    assert given.withdrawn
    fresh = router.handler(codec, Peer("", None, ANN))
    assert fresh is not None
    assert not fresh.withdrawn


class Contracted(Fake):
    def __init__(self, protocol: Protocol) -> None:
        super().__init__([])
        self.contract = Contract(protocol)


def test_who_may_call_everything_is_known_until_something_changes() -> None:
    class Listed(OnlyAnn):
        allowed = ("add", "seen")

        def lets(self, peer: Peer, service: str, message: str) -> bool:
            return message in self.allowed

    one = Protocol.parse('{"protocol": "One", "messages": {"add": {"request": [], "response": "null"}}}')
    two = Protocol.parse('{"protocol": "Two", "messages": {"tell": {"request": [], "response": "null"}}}')
    router = Router()
    router.add("One", Contracted(one))
    assert router.lets(ANN)  # nobody minds
    guard = Listed()
    router.obey(guard)
    assert router.lets(ANN)
    router.add("Two", Contracted(two))
    assert not router.lets(ANN)
    guard.allowed = ("add", "tell")
    assert not router.lets(ANN)
    guard.changed()
    assert router.lets(ANN)
    router.add("Three", Fake([]))  # of which nothing is known
    assert not router.lets(ANN)
