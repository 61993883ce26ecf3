"""What a handler may count on, sync or async, over a connection: it may run in the very step that read its request."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest

import splnode
from splnode.avro.protocol import Protocol
from splnode.errors import CallError, Code
from splnode.net.listener import Listener
from splnode.rpc.admission import Admission
from splnode.rpc.call import current_call
from splnode.rpc.client import Client
from splnode.rpc.router import Router
from splnode.rpc.server import Server
from splnode.wire.directory import Directory
from splnode.wire.engine import native_engine
from splnode.wire.intake import FRESH, SLICE
from tests.net.conftest import turns

PROTOCOL = Protocol.parse("""{"protocol": "Play", "messages": {
  "now": {"request": [{"name": "what", "type": "string"}], "response": "string"},
  "later": {"request": [{"name": "what", "type": "string"}], "response": "string"},
  "tell": {"request": [{"name": "what", "type": "string"}], "response": "null", "one-way": true}}}""")
MARK: ContextVar[str] = ContextVar("mark", default="unset")


class Play:
    """Handlers that do what the test says under `what`."""

    def __init__(self) -> None:
        self.sync: dict[str, Callable[[], Any]] = {"plain": lambda: "answer"}
        self.waits: dict[str, Callable[[], Awaitable[Any]]] = {}
        self.told: list[str] = []

    def now(self, what: str) -> Any:
        return self.sync[what]()

    async def later(self, what: str) -> Any:
        if what in self.sync:
            return self.sync[what]()
        return await self.waits[what]()

    def tell(self, what: str) -> None:
        self.told.append(what)


class Stand:
    """A listener, what it serves, and a client."""

    def __init__(self, play: Play, server: Server, admission: Admission, listener: Listener, client: Client) -> None:
        self.play = play
        self.server = server
        self.admission = admission
        self.listener = listener
        self.client = client


@contextlib.asynccontextmanager
async def standing(running: int = 256, queued: int = 128, **options: Any) -> AsyncIterator[Stand]:
    play, admission = Play(), Admission(running, queued)
    server = Server(PROTOCOL, play, interceptors=(admission,))
    listener = Listener(Router({PROTOCOL.name: server}), Directory([server.contract]), **options)
    endpoint = await listener.open(splnode.Endpoint.parse("tcp://127.0.0.1:0"))
    try:
        async with splnode.connect(endpoint, PROTOCOL, timeout=10) as client:
            await client.now(what="plain")  # from here on the messages are known
            play.waits["plain"] = turns
            with contextlib.suppress(CallError):
                await client.later(what="plain")
            yield Stand(play, server, admission, listener, client)
    finally:
        await listener.close()
    assert admission.running == 0
    assert [tally.in_flight for tally in server.tallies.values()] == [0, 0, 0]


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    async with standing() as made:
        yield made


async def code_of(call: Awaitable[object]) -> Code:
    with pytest.raises(CallError) as caught:
        await call
    return caught.value.code


BOTH = pytest.mark.parametrize("message", ["now", "later"])


@BOTH
async def test_tasks_may_be_made_and_know_their_call(stand: Stand, message: str) -> None:
    made: list[asyncio.Task[bool]] = []

    async def behind() -> bool:
        await asyncio.sleep(0)
        return current_call().ended

    def handler() -> str:
        made.append(asyncio.get_running_loop().create_task(behind()))
        made.append(asyncio.create_task(behind()))
        return current_call().message.name

    stand.play.sync["x"] = handler
    assert await stand.client.call(message, {"what": "x"}) == message
    assert await asyncio.gather(*made) == [True, True]


async def test_an_async_handler_has_a_task_of_its_own(stand: Stand) -> None:
    tasks: list[Any] = []
    stand.play.sync["x"] = lambda: str(tasks.append(asyncio.current_task()))
    await stand.client.later(what="x")
    assert isinstance(tasks[0], asyncio.Task)
    assert tasks[0] is not asyncio.current_task()
    assert tasks[0].get_loop() is asyncio.get_running_loop()
    await stand.client.now(what="x")
    assert tasks[1] is None


@BOTH
async def test_what_one_call_sets_is_not_seen_by_the_next(stand: Stand, message: str) -> None:
    def mark() -> str:
        before = MARK.get()
        MARK.set("mine")
        return before

    async def mark_and_wait() -> str:
        before = mark()
        await asyncio.sleep(0)
        assert MARK.get() == "mine"
        return before

    stand.play.sync["x"] = mark
    stand.play.waits["y"] = mark_and_wait
    for _ in range(3):
        assert await stand.client.call(message, {"what": "x"}) == "unset"
        assert await stand.client.later(what="y") == "unset"
    assert await asyncio.gather(*(stand.client.later(what="xy"[i % 2]) for i in range(8))) == ["unset"] * 8


async def test_a_timeout_in_the_first_step_ends_the_wait(stand: Stand) -> None:
    async def waits() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.get_running_loop().create_future()
        except TimeoutError:
            task = asyncio.current_task()
            assert task is not None
            assert not task.cancelling()
            return "in time"
        return "never"

    async def at_once() -> str:
        async with asyncio.timeout(10):  # noqa: ASYNC100 - what it does to a task that goes on is the point
            return "at once"

    async def too_late() -> str:
        async with asyncio.timeout(-1):
            await asyncio.Event().wait()
        return "never"

    stand.play.waits |= {"waits": waits, "at once": at_once, "late": too_late}
    for _ in range(3):
        assert await stand.client.later(what="waits") == "in time"
        assert await stand.client.later(what="at once") == "at once"
        assert await code_of(stand.client.later(what="late")) is Code.INTERNAL


async def test_a_group_of_tasks_in_the_first_step(stand: Stand) -> None:
    async def part(value: str) -> str:
        await asyncio.sleep(0)
        return value

    async def works() -> str:
        async with asyncio.TaskGroup() as group:
            parts = [group.create_task(part(each)) for each in "ab"]
        return "".join(each.result() for each in parts)

    async def fails() -> str:
        async with asyncio.TaskGroup() as group:
            group.create_task(part("a"))
            await asyncio.sleep(0)
            raise ValueError
        return "never"

    stand.play.waits |= {"works": works, "fails": fails}
    for _ in range(3):
        assert await stand.client.later(what="works") == "ab"
        assert await code_of(stand.client.later(what="fails")) is Code.INTERNAL


@pytest.mark.parametrize("count", [1, 2, 5])
async def test_turns_of_the_loop_within_a_handler(stand: Stand, count: int) -> None:
    async def waits() -> str:
        for _ in range(count):
            await asyncio.sleep(0)
        return "done"

    stand.play.waits["x"] = waits
    assert await asyncio.gather(*(stand.client.later(what="x") for _ in range(20))) == ["done"] * 20


async def test_what_a_handler_hangs_on_its_task_is_done_when_it_ends(stand: Stand) -> None:
    ended = asyncio.Event()

    async def hangs() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda _: ended.set())
        return "done"

    stand.play.waits["x"] = hangs
    assert await stand.client.later(what="x") == "done"
    await asyncio.wait_for(ended.wait(), 20)


async def test_a_handler_that_cancels_itself_harms_no_other(stand: Stand) -> None:
    async def cancels() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "all the same"

    async def waits() -> str:
        await cancels()
        await asyncio.sleep(0)
        return "never"

    stand.play.waits |= {"x": cancels, "y": waits}
    stand.play.sync["fine"] = lambda: "fine"
    for _ in range(3):
        assert await stand.client.later(what="x") == "all the same"
        assert await stand.client.later(what="fine") == "fine"
        assert await code_of(stand.client.later(what="y")) is Code.CANCELLED


async def test_a_task_that_was_kept_and_is_cancelled_later(stand: Stand) -> None:
    kept: list[asyncio.Task[Any]] = []

    async def keeps() -> str:
        task = asyncio.current_task()
        assert task is not None
        kept.append(task)
        return "kept"

    stand.play.waits["x"] = keeps
    stand.play.sync["fine"] = lambda: "fine"
    for _ in range(3):
        assert await stand.client.later(what="x") == "kept"
        kept.pop().cancel()
        assert await stand.client.later(what="fine") == "fine"


class Odd(BaseException):
    """No Exception, and nobody's."""


@BOTH
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("s3cret"), Code.INTERNAL),
        (SystemExit(3), Code.INTERNAL),
        (Odd("s3cret"), Code.INTERNAL),
        (asyncio.CancelledError(), Code.INTERNAL),
        (StopIteration(3), Code.INTERNAL),
        (CallError(Code.NOT_FOUND, "no such thing"), Code.NOT_FOUND),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_errors(stand: Stand, message: str, error: BaseException, code: Code) -> None:
    def fails() -> str:
        raise error

    async def fails_later() -> str:
        await asyncio.sleep(0)
        raise error

    stand.play.sync["x"] = fails
    stand.play.waits["y"] = fails_later
    for what in "xy" if message == "later" else "x":
        assert await code_of(stand.client.call(message, {"what": what})) is code
    assert stand.server.tallies[message].failures[code.name] == (2 if message == "later" else 1)


async def test_a_plain_method_may_give_an_awaitable(stand: Stand) -> None:
    async def inner(wait: bool) -> str:
        assert not current_call().ended
        assert current_call().message.name == "now"
        if wait:
            await asyncio.sleep(0)
        return "awaited"

    future = asyncio.get_running_loop().create_future()
    stand.play.sync |= {"x": lambda: inner(False), "y": lambda: inner(True), "z": lambda: future}
    assert await stand.client.now(what="x") == "awaited"
    assert await stand.client.now(what="y") == "awaited"
    call = asyncio.create_task(stand.client.now(what="z"))
    while stand.admission.running < 1:
        await asyncio.sleep(0)
    future.set_result("from elsewhere")
    assert await call == "from elsewhere"


@BOTH
async def test_values_that_do_not_fit(stand: Stand, message: str) -> None:
    async def unfit() -> Any:
        await asyncio.sleep(0)
        return 5

    stand.play.sync["x"] = lambda: 5
    stand.play.waits["y"] = unfit
    assert await code_of(stand.client.call(message, {"what": "x"})) is Code.INTERNAL
    assert await code_of(stand.client.later(what="y")) is Code.INTERNAL
    assert await stand.client.now(what="plain") == "answer"


@BOTH
async def test_metadata_of_the_answer(stand: Stand, message: str) -> None:
    def answers() -> str:
        current_call().answer_metadata = {"x": b"y"}
        return dict(current_call().metadata)["mine"].decode()

    async def answers_later() -> str:
        await asyncio.sleep(0)
        return answers()

    stand.play.sync["x"] = answers
    stand.play.waits["y"] = answers_later
    for what in "xy" if message == "later" else "x":
        call = stand.client.prepare(message, {"what": what}, metadata={"mine": b"hello"})
        assert await stand.client.send(call) == "hello"
        assert call.answer_metadata == {"x": b"y"}


async def test_the_deadline_cancels_what_waits(stand: Stand) -> None:
    cancelled = asyncio.Event()

    async def waits() -> str:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return "never"

    stand.play.waits["x"] = waits
    for _ in range(3):
        call = stand.client.call("later", {"what": "x"}, timeout=0.05)
        assert await code_of(call) is Code.DEADLINE_EXCEEDED
        await asyncio.wait_for(cancelled.wait(), 20)
        cancelled.clear()


async def test_what_nobody_waits_for_is_cancelled(stand: Stand) -> None:
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def waits() -> str:
        began.set()
        try:
            await asyncio.create_task(asyncio.Event().wait())
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return "never"

    stand.play.waits["x"] = waits
    call = asyncio.create_task(stand.client.later(what="x"))
    await asyncio.wait_for(began.wait(), 20)
    call.cancel()
    await asyncio.wait_for(cancelled.wait(), 20)
    cancelled.clear()
    began.clear()
    async with splnode.connect(stand.listener.endpoints[0], PROTOCOL) as other:
        call = asyncio.create_task(other.later(what="x"))
        await asyncio.wait_for(began.wait(), 20)
    await asyncio.wait_for(cancelled.wait(), 20)
    with pytest.raises(CallError):
        await call


@BOTH
async def test_a_handler_that_closes_its_connection(stand: Stand, message: str) -> None:
    (connection,) = stand.listener.host.connections

    def closes() -> str:
        connection.close()
        return "to nobody"

    async def closes_then_waits() -> str:
        connection.close()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "to nobody"

    stand.play.sync["x"] = closes
    stand.play.waits["y"] = closes_then_waits
    with pytest.raises(CallError) as caught:
        await stand.client.call(message, {"what": "x" if message == "now" else "y"})
    assert caught.value.code is Code.UNAVAILABLE
    while stand.admission.running:
        await asyncio.sleep(0)


async def test_places_are_taken_and_given_back() -> None:
    async with standing(running=2, queued=1) as stand:
        futures = [asyncio.get_running_loop().create_future() for _ in range(3)]
        waiting = iter(futures)

        async def waits() -> str:
            return str(await next(waiting))

        stand.play.waits["x"] = waits
        calls = [asyncio.create_task(stand.client.later(what="x")) for _ in range(3)]
        while stand.admission.waiting < 1:
            await asyncio.sleep(0)
        assert stand.admission.running == 2
        assert await code_of(stand.client.now(what="plain")) is Code.RESOURCE_EXHAUSTED
        assert await code_of(stand.client.later(what="plain")) is Code.RESOURCE_EXHAUSTED
        for number, future in enumerate(futures):
            future.set_result(number)
        assert sorted(await asyncio.gather(*calls)) == ["0", "1", "2"]
        assert stand.admission.running == 0
        assert await stand.client.now(what="plain") == "answer"


async def test_one_peer_waits_for_its_own_share() -> None:
    async with standing(share=1) as stand:
        future = asyncio.get_running_loop().create_future()
        stand.play.waits["x"] = lambda: future
        first = asyncio.create_task(stand.client.later(what="x"))
        while stand.admission.running < 1:
            await asyncio.sleep(0)
        second = asyncio.create_task(stand.client.now(what="plain"))
        async with splnode.connect(stand.listener.endpoints[0], PROTOCOL) as other:
            assert await other.now(what="plain") == "answer"
        assert not second.done()
        future.set_result("first")
        assert await first == "first"
        assert await second == "answer"


@BOTH
async def test_a_node_that_is_closing_refuses(stand: Stand, message: str) -> None:
    stand.admission.close("the node is stopping")
    with pytest.raises(CallError) as caught:
        await stand.client.call(message, {"what": "plain"})
    assert (caught.value.code, caught.value.started) == (Code.UNAVAILABLE, False)


@BOTH
async def test_a_route_that_is_taken_away(stand: Stand, message: str) -> None:
    router = stand.listener.host.channel
    assert isinstance(router, Router)
    stand.play.sync["x"] = lambda: str(router.remove(PROTOCOL.name))
    await stand.client.call(message, {"what": "x"})
    assert await code_of(stand.client.call(message, {"what": "x"})) is Code.UNAVAILABLE
    router.add(PROTOCOL.name, stand.server)
    assert await stand.client.now(what="plain") == "answer"


async def test_long_handlers_of_one_peer_let_others_in_between(stand: Stand) -> None:
    order: list[str] = []

    def long() -> str:
        order.append("a")
        time.sleep(SLICE / 5)  # clock: the turn ends with the time that its handlers take
        return "long"

    stand.play.sync |= {"a": long, "b": lambda: str(order.append("b"))}
    async with splnode.connect(stand.listener.endpoints[0], PROTOCOL) as other:
        await other.now(what="plain")
        many = [asyncio.create_task(stand.client.now(what="a")) for _ in range(60)]
        while not order:
            await asyncio.sleep(0)
        await other.now(what="b")
        await asyncio.gather(*many)
    assert order.index("b") < 55


async def test_a_handler_that_calls_its_own_node(stand: Stand) -> None:
    at_home = Client(Router({PROTOCOL.name: stand.server}), PROTOCOL)
    stand.play.waits["home"] = lambda: at_home.now(what="plain")
    stand.play.waits["out"] = lambda: stand.client.now(what="plain")
    assert await asyncio.gather(*(stand.client.later(what=what) for what in ("home", "out") * 5)) == ["answer"] * 10


async def test_one_way(stand: Stand) -> None:
    for number in range(5):
        await stand.client.tell(what=str(number))
    await stand.client.now(what="plain")
    assert stand.play.told == list("01234")


async def test_every_way_is_counted(stand: Stand) -> None:
    stand.play.sync["x"] = lambda: "x"

    async def waits() -> str:
        assert stand.server.tallies["later"].in_flight == 1
        await asyncio.sleep(0)
        assert stand.server.tallies["later"].in_flight == 1
        return "y"

    stand.play.waits["y"] = waits
    now, later = stand.server.tallies["now"], stand.server.tallies["later"]
    before = now.calls, later.calls
    await stand.client.now(what="x")
    await stand.client.later(what="x")
    await stand.client.later(what="y")
    assert (now.calls - before[0], later.calls - before[1]) == (1, 2)
    assert later.seconds > 0


async def test_no_tasks_are_left_of_a_connection(stand: Stand) -> None:
    async def waits() -> str:
        await turns(3)
        return "waited"

    async with splnode.connect(stand.listener.endpoints[0], PROTOCOL) as other:
        stand.play.waits["x"] = waits
        await asyncio.gather(*(other.later(what="x") for _ in range(20)))
        stand.play.sync["y"] = lambda: "y"
        await asyncio.gather(*(other.later(what="y") for _ in range(20)))
    while len(stand.listener.host.connections) > 1:
        await asyncio.sleep(0)
    await turns(5)
    before = asyncio.all_tasks()
    await stand.listener.close()
    await turns(5)
    waiting = [task for task in before if "Stage" in repr(task)]
    assert len(waiting) <= 22
    assert all(task.done() for task in waiting)


async def test_tasks_of_handlers_that_suspend_are_used_again(stand: Stand) -> None:
    """The native engine keeps them; none of them shows what the call before has done."""
    if native_engine() is None:
        pytest.skip("the plain engine makes a task for each call")
    tasks: list[asyncio.Task[Any] | None] = []

    async def waits() -> str:
        tasks.append(asyncio.current_task())
        await asyncio.sleep(0)
        assert asyncio.current_task() is tasks[-1]
        assert current_call().message.name == "later"
        return "waited"

    async def marks() -> str:
        MARK.set("mine")
        return await waits()

    stand.play.waits |= {"waits": waits, "marks": marks}
    for _ in range(5):
        await stand.client.later(what="waits")
    assert len({id(task) for task in tasks}) == 1
    await stand.client.later(what="marks")
    await stand.client.later(what="waits")
    assert tasks[-1] is not tasks[-2]


async def test_the_next_call_finds_no_call_of_before(stand: Stand) -> None:
    seen: list[object] = []
    stand.play.sync["x"] = lambda: str(seen.append(current_call()))
    stand.play.waits["y"] = lambda: asyncio.sleep(0, str(seen.append(current_call())))
    for what in "xyxy":
        await stand.client.later(what=what)
    assert len({id(call) for call in seen}) == 4


async def test_the_first_answers_are_on_their_way_while_the_last_requests_wait(stand: Stand) -> None:
    """The peer of a busy connection works on what it has, instead of waiting for all of it."""
    seen: list[int] = []

    def look() -> str:
        time.sleep(FRESH)  # clock: answers go out by themselves when they have waited so long
        (connection,) = stand.listener.host.connections
        seen.append(connection._outbox.written)  # type: ignore[attr-defined]  # it is a ServerConnection
        return "answer"

    stand.play.sync["look"] = look
    await stand.client.now("look")
    seen.clear()
    assert await asyncio.gather(*(stand.client.now("look") for _ in range(20))) == ["answer"] * 20
    if native_engine() is not None:
        assert len(set(seen)) >= 3
