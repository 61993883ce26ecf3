"""Calls that stay in their process: every engine gives the same answers, the same Odds, and counts the same."""

import asyncio
import gc
import sys
import weakref
from array import array
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from splnode.errors import EncodeError
from splnode.rpc.call import Call, current_call, running
from splnode.wire import local as plain
from splnode.wire.engine import native_engine
from splnode.wire.handling import BUCKETS, CALLS, IN_FLIGHT, NANOSECONDS, TIMES
from splnode.wire.local import FAILED, FULL, LATE, NOT_BEGUN, UNFIT, WAITS, Odd, local
from splnode.wire.message import Contract
from tests.wire.conftest import CALCULATOR

CONTRACT = Contract(CALCULATOR)
MESSAGE = next(iter(CALCULATOR.messages.values()))


def modules() -> dict[str, ModuleType]:
    native = native_engine()
    return {"plain": plain} | ({"native": native} if native is not None else {})


class Doorkeeper:
    """A gate that counts."""

    def __init__(self) -> None:
        self.open = True
        self.inside = 0

    def enter(self) -> bool:
        self.inside += self.open
        return self.open

    def leave(self) -> None:
        self.inside -= 1


class Site:
    """A Local and what is handed in to it."""

    def __init__(self, make: Any, *, one_way: bool = False) -> None:
        self.now = 100.0
        self.function: Callable[..., Any] = lambda **params: params
        self.gate = Doorkeeper()
        self.counts = array("q", bytes(8 * (TIMES + BUCKETS)))
        self.blank = Call(CONTRACT, MESSAGE, {}, 0.0, checked=True)
        self.local = make(
            self.blank,
            running=running,
            clock=lambda: self.now,
            params=self.params,
            result=None if one_way else self.result,
            function=self.handler,
            gate=self.gate,
            counts=self.counts,
        )

    def handler(self, **params: Any) -> Any:
        return self.function(**params)

    def params(self, value: Any) -> Any:
        if "bad" in value:
            raise EncodeError("bad parameters")
        return dict(value)

    def result(self, value: Any) -> Any:
        if value == "unfit":
            raise EncodeError("no answer")
        return ("given", value)

    def call(self, **params: Any) -> Call:
        return Call(CONTRACT, MESSAGE, params, 130.0, {"trace": b"1"})

    def run(self, **params: Any) -> Any:
        return self.local.run(self.call(**params))

    def odd(self, **params: Any) -> Odd:
        given = self.run(**params)
        assert type(given) is Odd
        return given


@pytest.fixture(params=modules())
def module(request: pytest.FixtureRequest) -> ModuleType:
    return modules()[request.param]


@pytest.fixture
def site(module: ModuleType) -> Site:
    return Site(module.Local)


def test_an_answer_is_given_at_once(site: Site) -> None:
    assert site.run(a=1) == ("given", {"a": 1})
    assert (site.counts[CALLS], site.counts[IN_FLIGHT], site.gate.inside) == (1, 0, 0)


def test_the_handler_has_a_call_of_its_own(site: Site) -> None:
    seen: list[Any] = []

    def handler(**params: Any) -> None:
        call = current_call()
        call.answer_metadata = {"answer": b"2"}
        state = call.begun, call.ended, site.gate.inside, site.counts[IN_FLIGHT]
        seen.append((call, call.contract, call.message, call.params, call.deadline, call.metadata, call.peer, state))

    site.function = handler
    call = site.call(a=1)
    assert site.local.run(call) == ("given", None)
    served, *rest = seen[0]
    assert rest == [CONTRACT, MESSAGE, {"a": 1}, 130.0, {"trace": b"1"}, call.peer, (True, False, 1, 1)]
    assert served is not call
    assert (served.checked, served.route, served.ended) == (True, site.blank.route, True)
    assert call.answer_metadata == {"answer": b"2"}
    assert running.get() is None
    assert not site.blank.begun


def test_what_it_took_is_counted(site: Site) -> None:
    def handler() -> None:
        site.now += 0.003

    site.function = handler
    site.run()
    site.run()
    place = TIMES + (3000).bit_length()
    assert (site.counts[CALLS], site.counts[place]) == (2, 2)
    assert site.counts[NANOSECONDS] == pytest.approx(6_000_000, rel=1e-6)


def test_a_message_without_an_answer(module: ModuleType) -> None:
    assert Site(module.Local, one_way=True).run(a=1) is None


def test_parameters_that_do_not_fit_go_through(site: Site) -> None:
    with pytest.raises(EncodeError, match="bad parameters"):
        site.run(bad=1)
    assert list(site.counts) == [0] * len(site.counts)


def test_late(site: Site) -> None:
    site.now = 130.0
    odd = site.odd()
    assert (odd.what, odd.call, odd.began, list(site.counts)) == (LATE, None, 130.0, [0] * len(site.counts))


def test_full(site: Site) -> None:
    site.gate.open = False
    odd = site.odd(a=1)
    assert (odd.what, odd.call.params, odd.call.begun, odd.gate) == (FULL, {"a": 1}, False, None)
    assert (site.gate.inside, site.counts[IN_FLIGHT], running.get()) == (0, 0, None)


def test_a_call_within_a_call_is_let_in_already(site: Site) -> None:
    site.gate.open = False
    outer = site.call()
    token = running.set(outer)
    try:
        assert site.run(a=1) == ("given", {"a": 1})
        assert running.get() is outer
        outer.ended = True
        assert site.odd().what == FULL
    finally:
        running.reset(token)
    assert site.gate.inside == 0


@pytest.mark.parametrize("error", [ValueError("mine"), StopIteration(3), KeyboardInterrupt(), asyncio.CancelledError()])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_failed(site: Site, error: BaseException, asynchronous: bool) -> None:
    def handler() -> None:
        raise error

    async def coroutine() -> None:
        raise error

    site.function = coroutine if asynchronous else handler
    odd = site.odd()
    if asynchronous and isinstance(error, StopIteration):
        assert type(odd.value) is RuntimeError  # as Python has it
    else:
        assert odd.value is error
    assert (odd.what, odd.began, odd.gate, odd.call.begun, odd.call.ended) == (FAILED, 100.0, None, True, True)
    assert (site.gate.inside, site.counts[CALLS], site.counts[IN_FLIGHT], running.get()) == (0, 0, 0, None)


def test_unfit(site: Site) -> None:
    site.function = lambda: "unfit"
    odd = site.odd()
    assert (odd.what, str(odd.value), odd.call.ended) == (UNFIT, "no answer", True)
    assert (site.gate.inside, site.counts[CALLS], site.counts[IN_FLIGHT]) == (0, 1, 0)


def test_an_async_handler_that_does_not_wait(site: Site) -> None:
    async def handler(**params: Any) -> Any:
        assert current_call().params == params
        return params

    site.function = handler
    assert site.run(a=1) == ("given", {"a": 1})
    assert (site.counts[CALLS], site.counts[IN_FLIGHT], site.gate.inside) == (1, 0, 0)


async def test_an_async_handler_that_waits(site: Site) -> None:
    future = asyncio.get_running_loop().create_future()

    async def handler() -> Any:
        return await future

    site.function = handler
    odd = site.odd()
    assert (odd.what, odd.first, odd.gate, odd.call.ended) == (WAITS, future, site.gate, False)
    assert (site.gate.inside, site.counts[CALLS], site.counts[IN_FLIGHT], running.get()) == (1, 0, 1, None)
    future.set_result(5)
    with pytest.raises(StopIteration) as stopped:
        odd.value.send(None)
    assert stopped.value.value == 5


async def test_an_awaitable_that_is_no_coroutine_is_not_begun(site: Site) -> None:
    future = asyncio.get_running_loop().create_future()
    site.function = lambda: future
    odd = site.odd()
    assert (odd.what, odd.value, odd.first, odd.gate) == (WAITS, future, NOT_BEGUN, site.gate)
    assert site.counts[IN_FLIGHT] == 1


def test_a_call_of_a_class_of_its_own(site: Site) -> None:
    class Other:
        params = {"a": 1}
        deadline = 200
        metadata: dict[str, bytes] = {}
        peer = None

    assert site.local.run(Other()) == ("given", {"a": 1})
    with pytest.raises(AttributeError):
        site.local.run(object())


def test_a_gate_that_fails_is_not_silent(site: Site) -> None:
    def broken() -> None:
        raise LookupError("gate")

    site.gate.leave = broken  # type: ignore[method-assign]  # the test's own
    with pytest.raises(LookupError, match="gate"):
        site.run()


def test_nothing_is_kept_of_a_call(site: Site) -> None:
    class Params(dict[str, Any]):
        pass

    kept: list[Any] = []
    for function in (lambda **_: None, lambda **_: "unfit", lambda **_: 1 / 0):
        site.function = function
        call = site.call()
        call.params = Params(a=object())
        kept.append(weakref.ref(call.params))
        site.local.run(call)
        del call
    gc.collect()
    assert [ref() for ref in kept] == [None] * 3
    site.function = lambda **params: params
    site.run(a=1)
    before = sys.getrefcount(site.blank)
    for _ in range(100):
        site.run(a=1)
    after = sys.getrefcount(site.blank)
    assert after == before


def test_a_local_is_freed(module: ModuleType) -> None:
    site = Site(module.Local)
    gone = weakref.ref(site)
    del site
    gc.collect()
    assert gone() is None


@pytest.mark.skipif("native" not in modules(), reason="only the native engine fills slots and memory")
def test_the_native_one_takes_only_what_it_can_fill() -> None:
    native = native_engine()
    assert native is not None

    class NoSlots:
        pass

    site = Site(native.Local)
    handed_in = {
        "running": running,
        "clock": lambda: 0.0,
        "params": dict,
        "result": None,
        "function": print,
        "gate": None,
        "counts": site.counts,
    }
    with pytest.raises(AttributeError, match="__slots__"):
        native.Local(NoSlots(), **handed_in)
    with pytest.raises(ValueError, match="integers of 64 bits"):
        native.Local(site.blank, **handed_in | {"counts": array("q", [0])})
    with pytest.raises(TypeError):
        native.Local(site.blank, **handed_in | {"running": None})


def test_the_engine_that_is_used() -> None:
    assert type(Site(local).local) is (native_engine() or plain).Local
