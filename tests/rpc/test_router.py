import gc

import pytest

from splnode.errors import CallError, Code
from splnode.rpc.call import Call
from splnode.rpc.guard import Guard
from splnode.rpc.route import Route
from splnode.rpc.router import Router
from splnode.wire.message import Contract
from splnode.wire.track import Track, make_track
from tests.rpc.conftest import PROTOCOL
from tests.rpc.test_call import a_call


class Fake:
    def __init__(self, log: list[str], name: str = "") -> None:
        self.log, self.name = log, name

    async def call(self, call: Call) -> object:
        return call.name

    async def close(self) -> None:
        self.log.append(self.name)


async def test_goes_to_the_route_of_the_callers_protocol() -> None:
    router = Router({"com.acme.Inventory": Fake([])})
    assert await router.call(a_call(1)) == "com.acme.Inventory.add"
    assert router.services == ("com.acme.Inventory",)


async def test_no_route_says_what_there_is_and_nothing_was_started() -> None:
    router = Router({"Other": Fake([])})
    with pytest.raises(CallError, match=r"no endpoint serves com\.acme\.Inventory; this node has Other") as caught:
        await router.call(a_call(1))
    assert (caught.value.code, caught.value.started) == (Code.UNAVAILABLE, False)
    assert router.remove("Other") is not None
    assert router.remove("Other") is None


async def test_closes_the_newest_first() -> None:
    log: list[str] = []
    router = Router()
    router.add("a", Fake(log, "a"))
    router.add("b", Fake(log, "b"))
    await router.close()
    await router.close()
    assert log == ["b", "a"]


async def test_a_call_that_names_another_place_goes_elsewhere() -> None:
    class Other(Fake):
        async def call(self, call: Call) -> object:
            return "elsewhere"

    router = Router({"com.acme.Inventory": Fake([])})
    router.elsewhere = Other([])
    router.here = lambda call: call.route.to == "me"
    call = a_call(1)
    assert await router.call(call) == "com.acme.Inventory.add"
    call.route = Route(to="me")
    assert await router.call(call) == "com.acme.Inventory.add"
    call.route = Route(to="n2")
    assert await router.call(call) == "elsewhere"
    router.elsewhere = None
    with pytest.raises(CallError, match="no endpoint serves"):
        await router.call(call)


class Tracked(Fake):
    def __init__(self) -> None:
        super().__init__([])
        self.inner = make_track()

    def track(self, contract: Contract) -> Track:
        return self.inner


class Watches(Guard):
    watchful = False


async def test_calls_may_go_straight_elsewhere_while_there_is_no_route_and_nobody_watches() -> None:
    router, away, contract = Router(), Tracked(), Contract(PROTOCOL)
    track = router.track(contract)
    assert router.track(contract) is track
    assert track.lines == ()
    router.elsewhere = away
    assert tuple(track.lines) == (away.inner,)
    router.add("com.acme.Inventory", Fake([]))
    assert track.lines == ()
    router.remove("com.acme.Inventory")
    assert tuple(track.lines) == (away.inner,)
    guard = Watches()
    router.obey(guard)
    guard.watchful = True
    guard.changed()
    assert track.lines == ()
    guard.watchful = False
    router.withdraw()
    assert tuple(track.lines) == (away.inner,)
    router.elsewhere = Fake([])  # which has none
    assert track.lines == ()


async def test_a_contract_that_nobody_has_any_more_leaves_nothing() -> None:
    router = Router()
    for _ in range(10):
        router.track(Contract(PROTOCOL))
    gc.collect()
    assert len(router._tracks) == 0
