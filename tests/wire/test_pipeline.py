"""The calls on their way, with literal bytes and no socket. How tasks wait for them: tests/net/test_calling.py."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from splnode.errors import CallError, Code, DataError, EncodeError, LimitExceeded, RemoteWireError
from splnode.limits import Limits
from splnode.wire.engine import native_engine
from splnode.wire.holder import Holder
from splnode.wire.message import ClientCall, Contract
from splnode.wire.session import ClientSession
from tests.engines import ENGINES, engine_for_a_test
from tests.wire.conftest import CALCULATOR, netty, string

SHOOK = netty(0, bytes(4) + b"\x02" + string("spl-peer") + b"\x021\0\0")
ADD = b"\0" + string("add") + b"\x04\x50"


class Ask:
    """What a test calls."""

    def __init__(self, name: str, deadline: float = 1e12, metadata: Any = None, **params: Any) -> None:
        self.message = CALCULATOR.messages[name]
        self.params = params
        self.deadline = deadline
        self.metadata = metadata or {}
        self.answer_metadata: Any = None


class End:
    """A session whose pipeline is held by a test."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.session = ClientSession(Contract(CALCULATOR, limits=self.limits), limits=self.limits)
        self.pipeline = self.session.pipeline
        self.session.start()
        self.session.receive_data(SHOOK)
        self.session.data_to_send()
        self.said: list[Any] = []
        self.now = 0.0
        self.tasks: list[object] = []
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        done.set_result(None)
        self.pipeline.hold(
            Holder(
                loop=loop,
                call_soon=loop.call_soon,
                clock=lambda: self.now,
                current_task=asyncio.current_task,
                task=asyncio.Task,
                done=done,
                cancelled=asyncio.CancelledError,
                raised=self.raised,
                high_water=100_000,
                general=self.general,
                head=self.head,
                arm=lambda deadline: self.said.append(("arm", deadline)),
                soon=lambda: self.said.append("soon"),
                flush=lambda: self.said.append("flush"),
                freed=lambda: self.said.append("freed"),
                session=self.session,
                forget=self.forget,
                expired=self.expired,
                refusal=self.session.too_large,
            )
        )
        self.pipeline.open = True

    def raised(self, error: BaseException) -> None:
        raise error

    async def general(self, call: Any) -> object:
        return f"general {call.message.name}"

    def head(self, left: int, metadata: Any) -> bytes:
        self.said.append(("head", left))
        return self.session.head(metadata) if metadata else b"\0"

    def forget(self, serial: int) -> None:
        self.said.append(("forget", serial))
        self.session.cancel(serial)

    def expired(self, call: ClientCall) -> CallError:
        return CallError(Code.DEADLINE_EXCEEDED, f"{call.message.name} is late")

    def sent(self) -> bytes:
        return b"".join(self.pipeline.take())

    def feed(self, data: bytes) -> list[Any]:
        return self.session.receive_data(data)


@pytest.fixture(params=ENGINES, autouse=True)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    yield from engine_for_a_test(request.param, monkeypatch)


async def test_a_call_and_its_answer_as_bytes() -> None:
    end = End()
    answer = asyncio.ensure_future(end.pipeline.call(Ask("add", a=2, b=40)))
    await asyncio.sleep(0)
    assert end.sent() == netty(1, ADD)
    assert (end.pipeline.waiting, end.pipeline.in_flight, end.session.in_flight) == (1, 1, 1)
    assert end.feed(netty(1, b"\0\0\x54")) == []
    assert (end.pipeline.waiting, end.pipeline.in_flight) == (0, 0)
    assert await answer == 42
    assert end.said.count("soon") == 1


async def test_answers_in_any_order_and_pieces() -> None:
    end = End()
    asks = [asyncio.ensure_future(end.pipeline.call(Ask("echo", text=str(i)))) for i in range(50)]
    await asyncio.sleep(0)
    assert end.sent() == b"".join(netty(i + 1, b"\0" + string("echo") + string(str(i))) for i in range(50))
    answers = b"".join(netty(i + 1, b"\0\0" + string(str(i))) for i in reversed(range(50)))
    for start in range(0, len(answers), 7):
        end.feed(answers[start : start + 7])
    assert await asyncio.gather(*asks) == [str(i) for i in range(50)]
    assert end.said.count("soon") == 1


async def test_a_frame_of_several_buffers_among_plain_ones() -> None:
    end = End()
    asks = [asyncio.ensure_future(end.pipeline.call(Ask("echo", text=""))) for _ in range(3)]
    await asyncio.sleep(0)
    end.feed(netty(1, b"\0\0" + string("a")) + netty(2, b"\0", b"\0", string("b")) + netty(3, b"\0\0" + string("c")))
    assert await asyncio.gather(*asks) == ["a", "b", "c"]


async def test_what_is_no_plain_value_the_session_reads() -> None:
    end = End()
    asks = [Ask("add", a=1, b=2) for _ in range(5)]
    calls = [asyncio.ensure_future(end.pipeline.call(ask)) for ask in asks]
    await asyncio.sleep(0)
    end.feed(
        netty(1, b"\0\x01\0\x04no")
        + netty(2, b"\0\x01\x02\x0e")
        + netty(3, b"\x02" + string("k") + string("v") + b"\0\0\x06")
        + netty(4, b"\0\0")
        + netty(5, b"\0\0\x06\0")
    )
    no, overflow, value, cut, more = await asyncio.gather(*calls, return_exceptions=True)
    assert str(no) == "UNKNOWN: no"
    assert (type(overflow).__name__, overflow.limit) == ("Overflow", 7)  # type: ignore[union-attr]  # a DeclaredError
    assert (value, asks[2].answer_metadata) == (3, {"k": b"v"})
    assert "response of add cannot be read" in str(cut)
    assert "1 bytes too many" in str(more)


async def test_an_answer_that_the_session_has_read() -> None:
    end = End()
    waits = asyncio.ensure_future(end.pipeline.call(Ask("add", a=1, b=2)))
    await asyncio.sleep(0)
    (serial,) = (int.from_bytes(frame[:4]) for frame in frames(b"".join(end.session.data_to_send())))
    found = end.pipeline.called(serial)
    assert isinstance(found, ClientCall)
    assert found.message.name == "add"
    assert end.pipeline.called(serial + 1) is None
    end.pipeline.complete(serial, "a value")
    assert end.pipeline.called(serial) is None
    assert await waits == "a value"
    assert end.pipeline.in_flight == 0
    end.pipeline.complete(serial, "late")  # nobody waits any more


async def test_a_large_answer_is_received_where_it_stays(engine: str) -> None:
    end = End()
    waits = [asyncio.ensure_future(end.pipeline.call(Ask("echo", text="x"))) for _ in range(3)]
    await asyncio.sleep(0)
    serials = [int.from_bytes(frame[:4]) for frame in frames(b"".join(end.session.data_to_send()))]
    text = "large " * 20_000
    for serial in serials[:2]:
        frame = netty(serial, b"\0\0" + string(text))
        parcel = end.pipeline.begin_large(frame[:20_000], 0, 20_000)
        if parcel is None:
            assert engine == "plain"
            end.pipeline.answer(serial, frame[12:], end.session)
            continue
        with parcel.space() as space:
            space[: len(frame) - 20_000] = frame[20_000:]
        parcel.add(len(frame) - 20_000)
        assert parcel.frame() == frame
        assert end.pipeline.answer_large(parcel) is True
        assert end.pipeline.answer_large(parcel) is False  # nobody waits any more
    assert [await each for each in waits[:2]] == [text, text]
    for odd in (
        netty(serials[2], b"\0\1" + string(text)),
        netty(serials[2], b"\0\0" + string(text) + b"behind"),
        netty(serials[2] + 5, b"\0\0" + string(text)),
        netty(serials[2], b"\0\0" + string(text), b""),
    ):
        assert end.pipeline.begin_large(odd, 0, 20_000) is None
    waits[2].cancel()


async def test_who_has_gone_is_not_told() -> None:
    end = End()
    waits = asyncio.ensure_future(end.pipeline.call(Ask("add", a=1, b=2)))
    await asyncio.sleep(0)
    waits.cancel()
    await asyncio.wait([waits])
    assert end.pipeline.called(1) is None
    end.session.pipeline.complete(1, 3)
    assert waits.cancelled()


async def test_what_is_not_open_goes_the_general_way() -> None:
    end = End(Limits(calls_per_connection=1))
    end.pipeline.open = False
    assert await end.pipeline.call(Ask("add", a=1, b=2)) == "general add"
    end.pipeline.open = True
    assert await end.pipeline.call(Ask("add", deadline=0.0005, a=1, b=2)) == "general add"
    waiting = asyncio.ensure_future(end.pipeline.call(Ask("add", a=1, b=2)))
    await asyncio.sleep(0)
    assert await end.pipeline.call(Ask("add", a=1, b=2)) == "general add"
    with pytest.raises(RuntimeError, match="no room"):
        end.pipeline.put(Ask("add", a=1, b=2))
    end.feed(netty(1, b"\0\0\x06"))
    assert await waiting == 3


async def test_put_goes_past_those_who_wait() -> None:
    end = End()
    end.pipeline.open = False
    answer = end.pipeline.put(Ask("add", a=2, b=40))
    assert end.sent() == netty(1, ADD)
    end.feed(netty(1, b"\0\0\x54"))
    assert await answer == 42
    assert await end.pipeline.put(Ask("log", line="x")) is None
    assert end.sent() == netty(2, b"\0" + string("log") + string("x"))
    assert end.pipeline.in_flight == 0


async def test_faults_of_the_caller_send_nothing() -> None:
    end = End(Limits(message_bytes=100))
    for ask, error in (
        (Ask("add", a="x", b=1), EncodeError),
        (Ask("add", a=1), DataError),
        (Ask("echo", text="x" * 95), LimitExceeded),
        (Ask("add", metadata={"k": 3}, a=1, b=2), EncodeError),
    ):
        with pytest.raises(error):
            await end.pipeline.call(ask)
    unknown = Ask("add")
    unknown.message = type("Message", (), {"name": "subtract"})()
    with pytest.raises(CallError, match="subtract"):
        await end.pipeline.call(unknown)
    assert (end.sent(), end.pipeline.in_flight, end.pipeline.queued) == (b"", 0, 0)


async def test_metadata_goes_before_the_name() -> None:
    end = End()
    asyncio.ensure_future(end.pipeline.call(Ask("nothing", metadata={"k": b"v"}))).cancel()
    waiting = asyncio.ensure_future(end.pipeline.call(Ask("nothing", metadata={"k": b"v"})))
    await asyncio.sleep(0)
    assert end.sent() == netty(1, b"\x02\x02k\x02v\0" + string("nothing"))
    end.feed(netty(1, b"\0\0"))
    assert await waiting is None


async def test_expired_calls_fail_and_are_told_to_the_server() -> None:
    end = End()
    soon, late = (asyncio.ensure_future(end.pipeline.call(Ask("nothing", deadline=d))) for d in (5.0, 9.0))
    await asyncio.sleep(0)
    assert ("arm", 5.0) in end.said
    assert ("arm", 9.0) not in end.said
    end.sent()
    end.pipeline.expire(4.9)
    assert (end.pipeline.waiting, end.pipeline.armed) == (2, 5.0)
    end.pipeline.expire(5.0)
    assert (end.pipeline.waiting, end.pipeline.armed) == (1, 9.0)
    with pytest.raises(CallError, match="nothing is late"):
        await soon
    assert end.sent() == netty(3, b"\x02" + string("spl-cancel") + string("1") + b"\0\0")
    assert end.feed(netty(1, b"\0\0") + netty(2, b"\0\0")) == []
    assert await late is None
    assert end.pipeline.in_flight == 1  # the server's word on the cancelling
    end.pipeline.expire(99.0)
    assert end.pipeline.armed == float("inf")


async def test_calls_that_expire_together_are_cancelled_in_their_order() -> None:
    end = End()
    kept = []
    for number in range(100):
        call = asyncio.ensure_future(end.pipeline.call(Ask("nothing", deadline=5.0)))
        await asyncio.sleep(0)
        serial = int.from_bytes(end.sent()[:4])
        if number % 7:
            end.feed(netty(serial, b"\0\0"))
            await call
        else:
            kept.append((serial, call))
    end.pipeline.expire(5.0)
    await asyncio.wait([call for _, call in kept])
    told = b"".join(string("spl-cancel") + string(str(serial)) for serial, _ in kept)
    assert b"".join(part[13:-2] for part in frames(end.sent())) == told
    for _, call in kept:
        call.exception()


async def test_a_call_whose_answer_breaks_the_connection_ends_with_it() -> None:
    end = End()
    broken, other = (asyncio.ensure_future(end.pipeline.call(Ask("nothing"))) for _ in range(2))
    await asyncio.sleep(0)
    with pytest.raises(RemoteWireError):
        end.feed(netty(1, b"\x02\x02\xff\0\0\0\0"))  # the name of its metadata is no text
    assert (end.pipeline.in_flight, end.pipeline.waiting) == (2, 2)

    async def gone(call: Any) -> object:
        raise CallError(Code.UNAVAILABLE, "gone")

    end.pipeline.close(lambda: CallError(Code.UNAVAILABLE, "broken"), gone)
    for call in (broken, other):
        with pytest.raises(CallError, match="broken"):
            await call


def frames(data: bytes) -> Iterator[bytes]:
    while data:
        length = 12 + int.from_bytes(data[8:12])
        yield data[:length]
        data = data[length:]


async def test_closed_all_fail_each_with_an_error_of_its_own() -> None:
    end = End()
    calls = [asyncio.ensure_future(end.pipeline.call(Ask("nothing"))) for _ in range(3)]
    await asyncio.sleep(0)

    async def gone(call: Any) -> object:
        raise CallError(Code.UNAVAILABLE, "gone")

    begun = end.pipeline.call(Ask("nothing"))
    end.pipeline.close(lambda: CallError(Code.UNAVAILABLE, "lost"), gone)
    errors = await asyncio.gather(*calls, return_exceptions=True)
    assert [str(error) for error in errors] == ["UNAVAILABLE: lost"] * 3
    assert len({id(error) for error in errors}) == 3
    for call in (begun, end.pipeline.call(Ask("nothing"))):
        with pytest.raises(CallError, match="gone"):
            await call
    with pytest.raises(RuntimeError):
        end.pipeline.put(Ask("nothing"))
    assert (end.pipeline.in_flight, end.pipeline.waiting, end.sent()) == (0, 0, b"")


async def test_much_is_flushed_at_once() -> None:
    end = End()
    calls = [asyncio.ensure_future(end.pipeline.call(Ask("echo", text="x" * 40_000))) for _ in range(3)]
    await asyncio.sleep(0)
    assert "flush" in end.said
    for call in calls:
        call.cancel()


async def test_told_once_for_what_is_taken_together() -> None:
    end = End()
    calls = [asyncio.ensure_future(end.pipeline.call(Ask("nothing"))) for _ in range(3)]
    await asyncio.sleep(0)
    assert end.said.count("soon") == 1
    end.sent()
    calls.append(asyncio.ensure_future(end.pipeline.call(Ask("nothing"))))
    await asyncio.sleep(0)
    assert end.said.count("soon") == 2
    for call in calls:
        call.cancel()


async def test_serials_of_long_calls_are_passed_over() -> None:
    end = End(Limits(calls_per_connection=100_000))
    table = end.pipeline
    kept = {table.serial(): object() for _ in range(5)}
    for serial, entry in kept.items():
        table.expect(serial, entry)
    seen = set(kept)
    for _ in range(200):
        serial = table.serial()
        assert serial not in seen
        seen.add(serial)
        table.expect(serial, entry := object())
        assert table.entry(serial) is entry
        assert table.pop(serial) is entry
    for serial, entry in kept.items():
        assert table.entry(serial) is entry
    assert (table.in_flight, table.pop(12345678), table.entry(12345678)) == (5, None, None)
    many = {serial: table.expect(serial, serial) for serial in (table.serial() for _ in range(3000))}
    assert all(table.entry(serial) == serial for serial in many)
    assert table.in_flight == 3005


async def test_parameters_whose_code_calls_again() -> None:
    """What is written while a request is being encoded stands before it, whole."""
    end = End()
    inner: list[Any] = []

    class Number:
        def __index__(self) -> int:
            inner.append(end.pipeline.put(Ask("echo", text="in")))
            return 40

    class Params(dict[str, Any]):
        pass

    ask = Ask("add", a=2, b=40)
    ask.params = Params(a=2, b=Number())
    try:
        outer = end.pipeline.put(ask)
    except EncodeError:  # an engine that takes no such number has not sent it
        assert end.sent() == b"".join(netty(i + 1, b"\0" + string("echo") + string("in")) for i in range(len(inner)))
    else:
        assert end.sent().count(netty(1, b"\0" + string("echo") + string("in"))) == 1
        outer.close()  # type: ignore[attr-defined]  # a coroutine
    for each in inner:
        each.close()


async def test_a_clock_is_asked_for_each_call() -> None:
    end, calls = End(), []
    for end.now in (100.0, 101.0):
        calls.append(asyncio.ensure_future(end.pipeline.call(Ask("nothing", deadline=103.0))))
        await asyncio.sleep(0)
    assert [said[1] for said in end.said if said[0] == "head"] == [3000, 2000]
    for call in calls:
        call.cancel()


async def test_a_chunk_of_plain_answers_is_taken_and_what_they_cause_is_written() -> None:
    end = End()
    written: list[bytes] = []
    end.pipeline.outlet = written.append
    asks = [asyncio.ensure_future(end.pipeline.call(Ask("echo", text=""))) for _ in range(5)]

    async def again() -> object:
        first = await end.pipeline.call(Ask("echo", text="first"))
        return first, await end.pipeline.call(Ask("nothing"))

    more = asyncio.ensure_future(again())
    await asyncio.sleep(0)
    end.sent()
    plain = b"".join(netty(serial, b"\0\0" + string("a")) for serial in (1, 2, 6))
    buffer = memoryview(bytearray(plain + netty(3, b"\0\x01\0\x04no") + netty(4, b"\0\0\0") + b"junk"))
    chunk = len(plain) + len(netty(3, b"\0\x01\0\x04no"))
    taken: list[int] = []
    asyncio.get_running_loop().call_soon(lambda: taken.append(end.pipeline.feed(buffer, chunk)))
    await asyncio.sleep(0)
    if native_engine() is None:
        assert taken == [0]
    else:
        assert taken == [len(plain)]  # an error is the session's to read
        assert written == []  # who takes the rest writes, too
        assert await asyncio.gather(*asks[:2]) == ["a", "a"]
        end.pipeline.expect(7, object())  # something of the session's: it is left there
        assert end.pipeline.feed(netty(7, b"\0\0"), 14) == 0
        end.pipeline.take()
        end.pipeline.pop(7)
        assert end.pipeline.feed(buffer[chunk:], len(netty(4, b"\0\0\0"))) == len(netty(4, b"\0\0\0"))
        assert await asks[3] == ""
        with pytest.raises(ValueError, match="bytes of a buffer of"):
            end.pipeline.feed(buffer, len(buffer) + 1)
    for task in (*asks, more):
        task.cancel()


async def test_what_is_sent_in_answer_to_an_answer_is_written_with_the_chunk() -> None:
    end = End()
    written: list[bytes] = []
    end.pipeline.outlet = written.append
    if native_engine() is None:  # the plain one leaves writing to its holder
        return

    async def twice() -> object:
        await end.pipeline.call(Ask("nothing"))
        return await end.pipeline.call(Ask("add", a=2, b=40))

    tasks = [asyncio.ensure_future(twice()) for _ in range(2)]
    await asyncio.sleep(0)
    end.sent()
    answers = netty(1, b"\0\0") + netty(2, b"\0\0")
    asyncio.get_running_loop().call_soon(end.pipeline.feed, answers, len(answers))
    await asyncio.sleep(0)
    assert written == [netty(3, ADD) + netty(4, ADD)]
    assert end.said.count("soon") == 1  # for the first two
    answers = netty(3, b"\0\0\x54") + netty(4, b"\0\0\x54")
    asyncio.get_running_loop().call_soon(end.pipeline.feed, answers, len(answers))
    assert await asyncio.gather(*tasks) == [42, 42]
    assert len(written) == 1


async def test_the_holder_hears_of_room_where_somebody_may_stand_in_line() -> None:
    if native_engine() is None:  # the plain one leaves all to its holder
        return
    end = End()
    end.pipeline.outlet = lambda _: None
    tasks = [asyncio.ensure_future(end.pipeline.call(Ask("nothing"))) for _ in range(3)]
    await asyncio.sleep(0)
    end.sent()
    end.pipeline.feed(memoryview(netty(1, b"\0\0")), 14)
    assert "freed" not in end.said
    end.pipeline.open = False
    end.pipeline.feed(memoryview(netty(2, b"\0\0")), 14)
    assert end.said.count("freed") == 1
    end.pipeline.open, end.pipeline.outlet = True, None
    end.pipeline.feed(memoryview(netty(3, b"\0\0")), 14)
    assert end.said.count("freed") == 2
    await asyncio.gather(*tasks)
    end.pipeline.close(RuntimeError, end.general)
    with pytest.raises(RuntimeError):
        end.pipeline.feed(memoryview(netty(3, b"\0\0")), 14)


async def test_a_task_that_was_resumed_has_more_received() -> None:
    """Through a transport in memory: no other is resumed inside of it."""
    end = End()
    order: list[str] = []

    async def first() -> None:
        await end.pipeline.call(Ask("nothing"))
        end.feed(netty(2, b"\0\0"))
        order.append("first")

    async def second() -> None:
        await end.pipeline.call(Ask("nothing"))
        order.append("second")

    tasks = [asyncio.ensure_future(first()), asyncio.ensure_future(second())]
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(end.feed, netty(1, b"\0\0"))
    await asyncio.gather(*tasks)
    assert order == ["first", "second"]
