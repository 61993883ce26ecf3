"""A call as its caller has it, by either engine and on both loops: awaited, given up, dropped, asked twice."""

import asyncio
import contextvars
import gc
import inspect
import sys
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

import splnode
from splnode.avro.protocol import Protocol
from splnode.errors import CallError, Code
from splnode.limits import Limits
from splnode.net.channel import EndpointChannel
from splnode.rpc.call import Call, current_call, deadline
from splnode.rpc.client import Client
from splnode.rpc.interceptor import Proceed
from splnode.wire.message import Contract
from tests.engines import ENGINES, engine_for_a_test
from tests.net.conftest import forget_cancelled_timers, turns
from tests.rpc.conftest import PROTOCOL, Inventory

Loops = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture(params=ENGINES, autouse=True)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    yield from engine_for_a_test(request.param, monkeypatch)


class Reached:
    """A client, the channel below it and the implementation behind."""

    def __init__(self, channel: EndpointChannel, inventory: Inventory) -> None:
        self.channel = channel
        self.client: Any = Client(channel, channel.contract, timeout=10)
        self.inventory = inventory

    @property
    def session(self) -> Any:
        """Of the connection that there is."""
        return self.channel._connection._session  # type: ignore[union-attr]  # connected

    async def begun(self, count: int = 1) -> None:
        """Returns when so many of the server's handlers wait."""
        while len(self.inventory.waiting) < count:
            self.inventory.began.clear()
            await asyncio.wait_for(self.inventory.began.wait(), 20)

    async def silent(self) -> None:
        """Returns when nothing is in flight, what was cancelled included."""
        while self.session.in_flight:
            await asyncio.sleep(0)


@asynccontextmanager
async def reach(**options: Any) -> AsyncIterator[Reached]:
    inventory = Inventory()
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: inventory}) as server:
        channel = EndpointChannel(server.endpoints[0], Contract(PROTOCOL), **options)
        await channel.connect()
        try:
            yield Reached(channel, inventory)
        finally:
            await channel.close()


# -- what asyncio makes of it


async def test_everything_that_takes_a_coroutine_takes_it() -> None:
    async with reach() as reached:
        add = reached.client.add
        loop = asyncio.get_running_loop()
        assert await add(1, 2) == 3
        assert await asyncio.create_task(add(1, 2), name="of its own") == 3
        assert await loop.create_task(add(1, 2)) == 3
        assert await asyncio.ensure_future(add(1, 2)) == 3
        assert await asyncio.wait_for(add(1, 2), 20) == 3
        assert await asyncio.shield(add(1, 2)) == 3
        assert await asyncio.gather(*(add(i, i) for i in range(100))) == [2 * i for i in range(100)]
        done, _ = await asyncio.wait([asyncio.create_task(add(i, 1)) for i in range(3)])
        assert {task.result() for task in done} == {1, 2, 3}
        assert sorted([await each for each in asyncio.as_completed([add(i, 0) for i in range(3)])]) == [0, 1, 2]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(reached.client.call("add", {"a": i, "b": 0})) for i in range(3)]
        assert [task.result() for task in tasks] == [0, 1, 2]
        async with asyncio.timeout(20):
            assert await add(1, 2) == 3
        asked = reached.client.prepare("seen", metadata={"k": b"v"})
        assert await reached.client.send(asked) == {"k": b"v"}
        assert asked.answer_metadata["answered"] == b"yes"


async def test_it_looks_like_a_coroutine() -> None:
    async with reach() as reached:
        for call in (reached.client.add(1, 2), reached.client.call("add", {"a": 1, "b": 2})):
            assert asyncio.iscoroutine(call)
            assert isinstance(call, Coroutine)
            assert inspect.isawaitable(call)
            assert not asyncio.isfuture(call)
            assert "add" in repr(asyncio.ensure_future(call)) or "call" in repr(call)
        await turns()


async def test_a_task_that_waits_for_one_can_be_printed() -> None:
    async with reach() as reached:
        task = asyncio.create_task(reached.client.wait(name="x"))
        await reached.begun()
        assert "pending" in repr(task)
        task.print_stack(file=None)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_awaited_twice() -> None:
    async with reach() as reached:
        call = reached.client.add(1, 2)
        assert await call == 3
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await call
        call.close()  # nothing more

        waiting = reached.client.wait(name="x")
        first = asyncio.create_task(waiting)
        await reached.begun()

        async def second() -> object:
            return await waiting

        with pytest.raises(RuntimeError, match="being awaited already"):
            await second()
        reached.inventory.waiting["x"].set_result("there")
        assert await first == "there"


async def test_never_awaited() -> None:
    async with reach() as reached:
        for make in (lambda: reached.client.add(1, 2), lambda: reached.client.call("add", {"a": 1, "b": 2})):
            with pytest.warns(RuntimeWarning, match="was never awaited"):
                make()
                gc.collect()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            reached.client.add(1, 2).close()
            with pytest.raises(ValueError, match="mine"):
                reached.client.add(1, 2).throw(ValueError("mine"))
            gc.collect()
        assert reached.session.in_flight == 0


async def test_stepped_by_hand() -> None:
    async with reach() as reached:
        call = reached.client.wait(name="x")
        with pytest.raises(TypeError, match="can't send non-None value"):
            call.send(1)
        future = call.send(None)
        assert future._asyncio_future_blocking
        assert future.get_loop() is asyncio.get_running_loop()
        assert not future.done()
        await reached.begun()
        with pytest.raises(ValueError, match="mine"):
            call.throw(ValueError("mine"))
        await asyncio.wait_for(reached.inventory.cancelled.wait(), 20)
        for wrong in (lambda: call.send(None), lambda: call.throw(ValueError("late"))):
            with pytest.raises(RuntimeError, match="cannot reuse"):
                wrong()

        call = reached.client.wait(name="y")
        call.send(None)
        reached.inventory.cancelled.clear()
        reached.inventory.waiting.clear()
        await reached.begun()
        call.close()
        await asyncio.wait_for(reached.inventory.cancelled.wait(), 20)
        await reached.silent()


async def test_dropped_while_it_waits_the_server_is_told() -> None:
    async with reach() as reached:
        call = reached.client.wait(name="x")
        future = call.send(None)
        await reached.begun()
        del call, future
        gc.collect()
        await asyncio.wait_for(reached.inventory.cancelled.wait(), 20)
        await reached.silent()


# -- given up


@pytest.mark.parametrize("when", range(8))
async def test_cancelled_at_any_moment(when: int) -> None:
    async with reach() as reached:
        for make in (lambda: reached.client.add(1, 2), lambda: reached.client.call("add", {"a": 1, "b": 2})):
            task = asyncio.create_task(make())
            await turns(when)
            task.cancel("enough")
            try:
                assert await task == 3  # it was quicker
            except asyncio.CancelledError as error:
                assert error.args in (("enough",), ())
            assert reached.channel._connection.in_flight == 0  # type: ignore[union-attr]  # connected
            assert await reached.client.add(2, 2) == 4
        await reached.silent()


async def test_a_timeout_of_asyncios_cancels_it_at_the_server() -> None:
    async with reach() as reached:
        for wait in (
            lambda: asyncio.wait_for(reached.client.wait(name="x"), 0.02),
            lambda: asyncio.wait_for(reached.client.call("wait", {"name": "x"}), 0.02),
        ):
            reached.inventory.cancelled.clear()
            with pytest.raises(TimeoutError):
                await wait()
            await asyncio.wait_for(reached.inventory.cancelled.wait(), 20)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await reached.client.wait(name="x")
        await reached.silent()


async def test_a_cancelling_that_is_swallowed_leaves_the_task_alive() -> None:
    async with reach() as reached:

        async def stubborn() -> object:
            try:
                await reached.client.wait(name="x")
            except asyncio.CancelledError:
                return await reached.client.add(1, 2)
            return None

        task = asyncio.create_task(stubborn())
        await reached.begun()
        task.cancel()
        assert await task == 3


async def test_the_answer_is_there_and_the_task_is_cancelled() -> None:
    """Both in one turn of the loop: whichever is first, nothing is left behind."""
    async with reach() as reached:
        tasks: list[asyncio.Task[object]] = []

        async def first() -> object:
            value = await reached.client.add(1, 2)
            tasks[1].cancel()
            return value

        tasks += [asyncio.create_task(first()), asyncio.create_task(reached.client.add(3, 4))]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results[0] == 3
        assert results[1] == 7 or isinstance(results[1], asyncio.CancelledError)
        await reached.silent()
        assert await reached.client.add(1, 2) == 3


# -- time and what is inherited


async def test_deadlines_of_all_kinds() -> None:
    async with reach() as reached:
        slow = Client(reached.channel, reached.channel.contract, timeout=0.02)
        for make in (
            lambda: slow.wait(name="a"),
            lambda: reached.client.call("wait", {"name": "b"}, timeout=0.02),
            lambda: reached.client.send(reached.client.prepare("wait", {"name": "c"}, timeout=0.02)),
        ):
            with pytest.raises(CallError, match=r"com\.acme\.Inventory\.wait: no answer before the deadline") as caught:
                await make()
            assert (caught.value.code, caught.value.started) == (Code.DEADLINE_EXCEEDED, True)
        for timeout in (0, -1.0, 0.0001):
            with pytest.raises(CallError, match="no answer before the deadline") as caught:
                await reached.client.call("add", {"a": 1, "b": 2}, timeout=timeout)
            assert not caught.value.started
        assert await reached.client.call("add", {"a": 1, "b": 2}, timeout=float("inf")) == 3
        assert 86_390 < await reached.client.call("remaining", timeout=10**9) <= 86_400
        async with deadline(0.02):
            with pytest.raises(CallError, match="no answer before the deadline"):
                await reached.client.wait(name="d")
        async with deadline(8):
            assert 2 < await reached.client.remaining() <= 8
        assert 8 < await reached.client.remaining() <= 10
        await reached.silent()


async def test_a_handlers_calls_inherit_deadline_and_trace() -> None:
    async with reach() as reached:
        seen: list[Any] = []

        class Between(Inventory):
            async def remaining(self) -> float:  # type: ignore[override]  # async where the base is not
                seen.append(await reached.client.seen())
                return float(await reached.client.remaining())

        async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Between()}) as server:
            async with splnode.connect(server.endpoints[0], PROTOCOL) as client:
                metadata = {"traceparent": b"00-1", "own": b"x"}
                assert 2 < await client.call("remaining", timeout=9.0, metadata=metadata) <= 9
        assert seen == [{"traceparent": b"00-1"}]


async def test_its_context_is_its_tasks_own() -> None:
    whose: contextvars.ContextVar[int] = contextvars.ContextVar("whose")
    async with reach() as reached:

        async def one(number: int) -> None:
            whose.set(number)
            for _ in range(5):
                await reached.client.add(1, number)
                assert whose.get() == number
                task = asyncio.current_task()
                assert task is not None
                assert task.get_name() == f"task {number}"
                async with asyncio.timeout(20):
                    await reached.client.add(1, number)

        await asyncio.gather(*(asyncio.create_task(one(i), name=f"task {i}") for i in range(20)))
        with pytest.raises(LookupError):
            whose.get()


async def test_a_task_of_another_kind_is_woken_too() -> None:
    """A class of one's own, and one in plain Python."""
    async with reach() as reached:

        class Own(asyncio.Task[Any]):
            pass

        loop = asyncio.get_running_loop()
        python_task: Any = asyncio.tasks._PyTask  # type: ignore[attr-defined]  # asyncio's own twin of its C class
        for kind in (Own, python_task):
            assert await kind(reached.client.add(1, 2), loop=loop) == 3
            waiting = kind(reached.client.wait(name="x"), loop=loop)
            reached.inventory.waiting.clear()
            await reached.begun()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting


# -- failures


async def test_lost_in_the_middle_all_are_told_that_they_may_have_run() -> None:
    async with reach() as reached:
        calls = [asyncio.create_task(reached.client.wait(name=str(i))) for i in range(5)]
        calls += [asyncio.create_task(reached.client.call("wait", {"name": str(i)})) for i in range(5, 10)]
        begun = reached.client.add(1, 2)
        await reached.begun(10)
        reached.channel._connection.abort()  # type: ignore[union-attr]  # connected
        for call in calls:
            with pytest.raises(CallError, match="closed by this end; the call may have run") as caught:
                await call
            assert (caught.value.code, caught.value.started) == (Code.UNAVAILABLE, True)
        assert await begun == 3  # on a new connection


async def test_a_caller_that_closes_the_channel_when_its_answer_comes() -> None:
    """In the middle of a chunk of answers: those behind it have failed."""
    async with reach() as reached:
        connection: Any = reached.channel._connection

        async def closing() -> None:
            await reached.client.add(1, 2)
            connection.abort()

        calls = [asyncio.create_task(closing())]
        calls += [asyncio.create_task(reached.client.add(1, i)) for i in range(50)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert results[0] is None
        assert all(isinstance(each, (int, CallError)) for each in results[1:])
        assert connection.in_flight == 0
        assert await reached.client.add(1, 2) == 3


async def test_a_caller_that_has_data_received_while_it_runs() -> None:
    """As a transport in memory would: no task may be resumed inside of another."""
    async with reach() as reached:
        connection: Any = reached.channel._connection
        received: list[bytes] = []
        arrived = asyncio.Event()

        def keep(data: bytes) -> None:
            received.append(data)
            arrived.set()

        waiting = asyncio.create_task(reached.client.wait(name="x"))
        await reached.begun()
        connection.data_received, connection._mouth.feed = keep, None
        reached.inventory.waiting["x"].set_result("there")
        await asyncio.wait_for(arrived.wait(), 20)
        del connection.data_received
        connection._mouth.feed = connection._pipeline.feed
        for data in received:
            connection.get_buffer(-1)[: len(data)] = data
            connection.buffer_updated(len(data))
        assert not waiting.done()
        assert await waiting == "there"


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_what_ends_the_program_ends_it(factory: Loops) -> None:
    """SystemExit and the like out of a task are the loop's affair, not the connection's."""

    async def main() -> None:
        async with reach() as reached:

            async def leaves() -> None:
                await reached.client.add(1, 2)
                raise SystemExit(7)

            others = [asyncio.create_task(reached.client.add(1, i)) for i in range(3)]
            task = asyncio.create_task(leaves())
            try:
                await asyncio.gather(*others)
                await asyncio.wait([task], timeout=5)
                await turns()
            finally:
                task.cancelled()

    with asyncio.Runner(loop_factory=factory) as runner, pytest.raises(SystemExit) as caught:
        runner.run(main())
    assert caught.value.code == 7


async def test_an_interceptor_sees_calls_by_any_way() -> None:
    seen: list[str] = []

    async def watch(call: Call, proceed: Proceed) -> object:
        seen.append(call.message.name)
        return await proceed(call)

    async with reach() as reached:
        client = Client(reached.channel, reached.channel.contract, interceptors=[watch])
        assert await client.add(1, 2) == 3
        assert await client.call("echo", {"value": "x"}) == "x"
        assert seen == ["add", "echo"]


async def test_another_contract_goes_by_the_connections() -> None:
    async with reach() as reached:
        other = Protocol.parse(PROTOCOL.text)
        assert await Client(reached.channel, other, timeout=5).add(1, 2) == 3


async def test_one_way_calls_return_at_once() -> None:
    async with reach() as reached:
        assert await reached.client.tell(text="a") is None
        assert await reached.client.call("tell", {"text": "b"}) is None
        await asyncio.wait_for(reached.inventory.heard.wait(), 20)
        assert await reached.client.add(1, 2) == 3
        assert reached.inventory.told == ["a", "b"]


async def test_calls_that_find_no_room_go_the_general_way_in_order() -> None:
    async with reach(limits=Limits(calls_per_connection=2)) as reached:
        calls = [asyncio.create_task(reached.client.add(0, i)) for i in range(40)]
        calls += [asyncio.create_task(reached.client.call("add", {"a": 0, "b": i})) for i in range(40, 80)]
        assert await asyncio.wait_for(asyncio.gather(*calls), 10) == list(range(80))
        assert reached.channel._connection._pipeline.open  # type: ignore[union-attr]  # connected


# -- nothing is kept


async def test_nothing_is_kept_of_many_calls() -> None:
    async with reach() as reached:
        param, connection = "x" * 50, reached.channel._connection
        contract = reached.channel.contract

        async def work() -> None:
            for number in range(300):
                await reached.client.echo(value=param)
                await reached.client.call("echo", {"value": param})
                with pytest.raises(CallError):
                    await reached.client.fail(how="code")
                task = asyncio.create_task(reached.client.wait(name=str(number)))
                await turns(number % 4)
                task.cancel()
                await asyncio.wait([task])
            await reached.silent()

        await work()
        counts = []
        for _ in range(2):
            await work()
            forget_cancelled_timers()
            gc.collect()
            refs = [sys.getrefcount(each) for each in (param, connection, contract, reached.session.pipeline)]
            counts.append((refs, Counter(type(each).__name__ for each in gc.get_objects())))
        (refs_before, before), (refs_after, after) = counts
        assert all(later - earlier < 10 for earlier, later in zip(refs_before, refs_after, strict=True))
        assert {name: count - before[name] for name, count in after.items() if count - before[name] > 50} == {}


if sys.version_info >= (3, 12):  # before that there are no eager tasks

    async def test_eager_tasks() -> None:
        async with reach() as reached:
            loop = asyncio.get_running_loop()

            def eagerly(loop: Any, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
                return asyncio.Task(coroutine, loop=loop, **{**options, "eager_start": True})

            loop.set_task_factory(eagerly)
            try:
                assert await asyncio.gather(*(reached.client.add(i, 1) for i in range(10))) == list(range(1, 11))
                assert await asyncio.create_task(reached.client.tell(text="x")) is None
            finally:
                loop.set_task_factory(None)


async def test_the_handler_sees_the_metadata_and_the_time() -> None:
    async with reach() as reached:
        assert await reached.client.call("seen", metadata={"k": b"v"}) == {"k": b"v"}
        with pytest.raises(LookupError):
            current_call()
