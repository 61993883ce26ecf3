import pytest

from splnode.errors import CallError, Code
from splnode.rpc.call import Call
from splnode.rpc.route import Route
from splnode.rpc.router import Router
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
