"""Ordinary requests, run as they are read: every engine does the same with the same bytes."""

import asyncio
import gc
import sys
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar, copy_context
from types import ModuleType
from typing import Any

import pytest

from splnode.avro.protocol import Protocol
from splnode.limits import DEFAULT_LIMITS, Limits
from splnode.rpc.call import Call, current_call, running
from splnode.wire import intake as plain
from splnode.wire.engine import native_engine
from splnode.wire.handling import BUCKETS, CALLS, IN_FLIGHT, NANOSECONDS, TIMES, Handler
from splnode.wire.intake import ENOUGH, FRESH, HEAVY, MANY, SLICE, TURN
from splnode.wire.message import Contract, ServerCall
from tests.wire.conftest import CALCULATOR, OTHER, hex_bytes, long, netty, protocol, string

HASH = bytes(range(1, 17))


def modules() -> dict[str, ModuleType]:
    native = native_engine()
    return {"plain": plain} | ({"native": native} if native is not None else {})


class Doorkeeper:
    """A gate that counts."""

    def __init__(self) -> None:
        self.open = True
        self.inside = 0
        self.entered = 0

    def enter(self) -> bool:
        self.inside += self.open
        self.entered += self.open
        return self.open

    def leave(self) -> None:
        self.inside -= 1


class Site:
    """An intake and what is handed in to it."""

    def __init__(self, make: Any, limits: Limits = DEFAULT_LIMITS, called: Protocol = CALCULATOR) -> None:
        self.now = 100.0
        self.tick = 0.0
        self.timeout = 30.0
        self.functions: dict[str, Callable[..., Any]] = {
            "add": lambda a, b: a + b,
            "echo": lambda text: text,
            "nothing": lambda: None,
            "log": lambda line: None,
        }
        self.names: dict[str, tuple[str, ...]] = {}
        self.gate: Doorkeeper | None = None
        self.asked: list[str] = []
        self.given: list[Handler] = []
        self.odd: list[tuple[Any, ...]] = []
        self.counts = [0] * (TIMES + BUCKETS)
        self.allowed_of: list[Mapping[str, bytes]] = []
        self.contract = Contract(called, limits=limits)
        self.pair = self.contract.serving(called)
        for message in called.messages:
            self.pair.prepare(message.encode())
        self.context = copy_context()
        self.intake = make(
            limits,
            call=Call,
            peer=self,
            running=running,
            context=self.context,
            clock=self.clock,
            allowed=self.allowed,
            handler=self.handler,
            unusual=self.unusual,
        )
        self.intake.begin(HASH, self.pair.calls)

    def clock(self) -> float:
        self.now += self.tick
        return self.now

    def allowed(self, metadata: Mapping[str, bytes]) -> float:
        self.allowed_of.append(metadata)
        return float(metadata["t"]) if "t" in metadata else self.timeout

    def handler(self, codec: ServerCall) -> Handler | None:
        name = codec.message.name
        self.asked.append(name)
        if name not in self.functions:
            return None
        fields = tuple(field.name for field in codec.message.request.fields)
        made = Handler(self.functions[name], fields, self.names.get(name, fields), self.gate, self.array())
        self.given.append(made)
        return made

    def array(self) -> Any:
        if isinstance(self.counts, list):
            from array import array

            self.counts = array("q", self.counts)  # type: ignore[assignment]  # a list until it is asked for
        return self.counts

    def unusual(self, *what: Any) -> None:
        self.odd.append(what)

    def run(self, *frames: bytes, most: int = 128, seconds: float = 1e9) -> bytes:
        """What it writes; the frames must all be taken."""
        data = b"".join(frames)
        assert self.intake.run(data, 0, most, seconds) == len(data)
        assert self.intake.served == len(frames)
        written: bytes = self.intake.take()
        return written

    def stops(self, data: bytes) -> bool:
        """Whether it does nothing with these bytes but the request before them, nor with that behind."""
        before, behind = add(1, 1, 1), add(2, 1, 1)
        end = self.intake.run(before + data + behind, 0, 128, 1e9)
        return bool(end == len(before) and self.intake.served == 1 and self.intake.take() == three(1, 2))


def add(serial: int, a: int, b: int, metadata: bytes = b"\0") -> bytes:
    return netty(serial, metadata + string("add") + long(a) + long(b))


def three(serial: int, value: int) -> bytes:
    return netty(serial, b"\0\0" + long(value))


@pytest.fixture(params=modules())
def make(request: pytest.FixtureRequest) -> Any:
    return modules()[request.param].Intake


@pytest.fixture
def site(make: Any) -> Iterator[Site]:
    made = Site(make)
    yield made
    made.intake.close()


def test_each_is_answered_behind_the_one_before(site: Site) -> None:
    assert site.run(add(7, 1, 2), add(0xFFFFFFFF, 3, 4), netty(9, b"\0" + string("nothing"))) == (
        three(7, 3) + three(0xFFFFFFFF, 7) + netty(9, b"\0\0")
    )
    assert site.intake.take() == b""
    assert not site.odd


def test_from_the_place_that_is_named(site: Site) -> None:
    assert site.intake.run(b"junk" + add(1, 1, 2), 4, 128, 1e9) == 4 + len(add(1, 1, 2))
    assert site.intake.take() == three(1, 3)


def test_out_of_a_buffer_that_is_used_again(site: Site) -> None:
    buffer, data = memoryview(bytearray(200)), add(1, 1, 2) + add(2, 3, 4)[:-1]
    buffer[: len(data)] = data
    whole = len(add(1, 1, 2))
    assert site.intake.run(buffer, 0, 128, 1e9, len(data)) == whole
    assert site.intake.run(buffer, 0, 128, 1e9, whole) == whole
    buffer[:] = bytes(200)
    assert site.intake.take() == three(1, 3) * 2


def test_a_request_in_pieces_waits_for_its_rest(site: Site) -> None:
    whole = add(1, 1, 2)
    for cut in range(len(whole)):
        assert site.intake.run(whole[:cut], 0, 128, 1e9) == 0
        assert site.intake.run(whole + whole[:cut], 0, 128, 1e9) == len(whole)
        assert site.intake.take() == three(1, 3)


@pytest.mark.parametrize(
    "odd",
    [
        netty(3, b"\0", string("add") + long(1) + long(2)),  # two buffers
        netty(3, b"\0\0"),  # a ping
        netty(3, hex_bytes("02 02 78 02 79 00 00")),  # a ping with metadata
        netty(3, HASH + b"\0" + HASH + b"\0" + b"\0" + string("add") + long(1) + long(2)),  # a handshake
        netty(3, b""),
        netty(3, b"\0"),
        netty(3, b"\0\x06ad"),  # a name that is cut off
        netty(3, b"\0\x01"),  # a name of length -1
        netty(3, b"\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),  # the longest of all
        netty(3, b"\0" + string("unknown")),
        netty(3, b"\0" + string("add") + long(1)),  # too few bytes
        netty(3, b"\0" + string("add") + long(1) + long(2) + b"\0"),  # too many
        netty(3, b"\0" + string("echo") + hex_bytes("02 ff")),  # no UTF-8
        netty(3, hex_bytes("02 02") + string("add")),  # metadata that is cut off
        netty(3, hex_bytes("02 02 ff 00 00") + string("add") + long(1) + long(2)),  # and that is no UTF-8
        netty(3, b"\0" + string("echo") + string("x" * HEAVY)),
    ],
)
def test_whatever_is_not_ordinary_is_left_alone(site: Site, odd: bytes) -> None:
    assert site.stops(odd)
    assert not site.odd


def test_a_message_of_34_bytes_is_no_handshake_for_its_length(site: Site) -> None:
    assert site.run(netty(1, b"\0" + string("echo") + string("x" * 100))) == netty(1, b"\0\0" + string("x" * 100))


def test_too_many_entries_of_metadata_are_not_ordinary(make: Any) -> None:
    site = Site(make, Limits(metadata_entries=1))
    assert site.stops(add(3, 1, 2, hex_bytes("04 02 78 00 02 79 00 00")))


def test_a_message_over_the_limit_is_not_ordinary(make: Any) -> None:
    site = Site(make, Limits(message_bytes=60))
    assert site.stops(netty(1, b"\0" + string("echo") + string("x" * 60)))


def test_a_message_without_a_handler_is_asked_for_once(site: Site) -> None:
    del site.functions["echo"]
    assert site.stops(netty(3, b"\0" + string("echo") + string("x")))
    assert site.stops(netty(3, b"\0" + string("echo") + string("x")))
    assert site.asked.count("echo") == 1


def test_metadata_goes_to_the_call_and_cannot_be_changed(site: Site) -> None:
    seen: list[Mapping[str, bytes]] = []

    def nothing() -> None:
        metadata = current_call().metadata
        seen.append(metadata)
        with pytest.raises(TypeError):
            metadata["y"] = b""  # type: ignore[index]  # it is read-only

    site.functions["nothing"] = nothing
    one, two = hex_bytes("02 02 78 02 31 00"), hex_bytes("02 02 78 02 32 00")
    name = string("nothing")
    site.run(*(netty(1, each + name) for each in (one, one, two, b"\0", one, two)))
    assert [dict(each) for each in seen] == [{"x": b"1"}, {"x": b"1"}, {"x": b"2"}, {}, {"x": b"1"}, {"x": b"2"}]


def test_the_call_is_as_any_other(site: Site) -> None:
    calls: list[tuple[Any, ...]] = []

    def take(a: int, b: int) -> int:
        call = current_call()
        assert call.begun
        assert not call.ended
        assert all(hasattr(call, name) for name in Call.__slots__)
        calls.append((call.contract, call.message, dict(call.params), call.deadline, call.peer, call.checked))
        calls.append((call, a, b, dict(call.answer_metadata)))
        return 0

    site.functions["add"] = take
    site.run(add(1, 5, -6))
    message = CALCULATOR.messages["add"]
    assert calls[0] == (site.contract, message, {"a": 5, "b": -6}, 130.0, site, True)
    call, *rest = calls[1]
    assert type(call) is Call
    assert call.ended
    assert rest == [5, -6, {}]
    assert running.get() is None


def test_parameters_by_the_names_of_the_method(make: Any) -> None:
    site = Site(make)
    site.names["add"] = ("x", "y")
    site.functions["add"] = lambda y, x: x - y
    assert site.run(add(1, 9, 4)) == three(1, 5)
    site.names["echo"] = ("text_",)
    site.functions["echo"] = lambda **all_of_them: str(sorted(all_of_them.items()))
    assert site.run(netty(1, b"\0" + string("echo") + string("t"))) == netty(1, b"\0\0" + string("[('text_', 't')]"))


def test_each_call_has_a_context_of_its_own(site: Site) -> None:
    mark: ContextVar[str] = ContextVar("mark", default="unset")
    site.context.run(mark.set, "of the host")

    def echo(text: str) -> str:
        before = mark.get()
        mark.set(text)
        return before

    site.functions["echo"] = echo
    request = b"\0" + string("echo") + string("mine")
    assert site.run(netty(1, request), netty(2, request)) == b"".join(
        netty(serial, b"\0\0" + string("of the host")) for serial in (1, 2)
    )
    assert mark.get() == "unset"


@pytest.mark.parametrize("kept", ["call", "copy of the context", "token", "nothing"])
def test_what_a_handler_keeps_of_its_call_stays_as_it_was(site: Site, kept: str) -> None:
    mark: ContextVar[str] = ContextVar("mark", default="unset")
    found: list[Callable[[], Call]] = []

    def echo(text: str) -> str:
        call = current_call()
        assert (call.params, call.answer_metadata, call.begun, call.ended) == ({"text": text}, {}, True, False)
        call.route = text  # type: ignore[assignment]  # a mark of this call
        if kept == "call":
            found.append(lambda: call)
        elif kept == "copy of the context":
            context = copy_context()
            found.append(lambda: context.run(current_call))
        elif kept == "token":
            mark.reset(mark.set("set"))
        return mark.get()

    site.functions["echo"] = echo
    for text in ("first", "second", "third"):
        site.run(netty(1, b"\0" + string("echo") + string(text)))
    assert [(find().params["text"], find().route, find().ended) for find in found] == [
        (text, text, True) for text in ("first", "second", "third")[: len(found)]
    ]
    assert len(found) == (0 if kept in ("token", "nothing") else 3)


def test_no_more_than_were_asked_for(site: Site) -> None:
    data = add(1, 1, 2) * 5
    assert site.intake.run(data, 0, 3, 1e9) == len(add(1, 1, 2)) * 3
    assert (site.intake.served, site.intake.over) == (3, False)


def test_the_turn_is_over_after_its_time(site: Site) -> None:
    site.tick = 1.0
    data = add(1, 1, 2) * 5
    assert site.intake.run(data, 0, 128, 2.0) < len(data)
    assert site.intake.over
    assert site.intake.served < 5
    site.tick = 0.0
    site.intake.run(data, 0, 128, 2.0)
    assert (site.intake.served, site.intake.over) == (5, False)


def test_the_turn_is_over_with_enough_to_write(site: Site) -> None:
    site.functions["echo"] = lambda text: text * 1000
    data = netty(1, b"\0" + string("echo") + string("x" * 100)) * 10
    site.intake.run(data, 0, 128, 1e9)
    assert site.intake.over
    assert site.intake.served == 3
    assert len(site.intake.take()) > ENOUGH


def fed(site: Site, data: bytes) -> tuple[int, list[bytes]]:
    """Where a turn of it ended, and what it wrote."""
    written: list[bytes] = []
    site.intake.outlet = written.append
    return site.intake.feed(memoryview(bytearray(data + b"behind")), len(data)), written


def test_what_is_fed_is_answered_with_one_write(site: Site) -> None:
    data = add(1, 1, 2) + add(2, 3, 4)
    assert fed(site, data + add(3, 5, 6)[:-1]) == (len(data), [three(1, 3) + three(2, 7)])
    assert fed(site, b"") == (0, [])
    assert fed(site, netty(1, b"\0" + string("unknown"))) == (0, [])


def test_a_turn_is_fed_no_more_than_there_is_room_for(site: Site) -> None:
    one = len(add(1, 1, 1))
    end, written = fed(site, add(1, 1, 1) * (TURN + 3))
    assert (end, b"".join(written)) == (TURN * one, three(1, 2) * TURN)

    def held() -> None:
        site.intake.room -= 1

    site.functions["nothing"] = held
    site.intake.room = 2
    waits = netty(1, b"\0" + string("nothing"))
    assert fed(site, waits * 5) == (2 * len(waits), [netty(1, b"\0\0") * 2])
    assert site.intake.room == 0
    assert fed(site, add(1, 1, 1)) == (0, [])
    site.intake.room, site.intake.turn = 100, 3
    assert fed(site, add(1, 1, 1) * 5) == (3 * one, [three(1, 2) * 3])


def test_many_answers_go_out_while_more_is_run(site: Site) -> None:
    data = add(1, 1, 1) * (2 * MANY + 3)
    assert fed(site, data) == (len(data), [three(1, 2) * MANY, three(1, 2) * MANY, three(1, 2) * 3])


def test_answers_that_have_waited_go_out_while_more_is_run(site: Site) -> None:
    def slow() -> None:
        site.now += FRESH * 0.75

    site.functions["nothing"] = slow
    data = b"".join(netty(serial, b"\0" + string("nothing")) for serial in range(5))
    answers = [netty(serial, b"\0\0") for serial in range(5)]
    assert fed(site, data) == (len(data), [answers[0] + answers[1], answers[2] + answers[3], answers[4]])


def test_a_turn_of_long_handlers_ends_with_its_time(site: Site) -> None:
    def slow() -> None:
        site.now += SLICE * 0.75

    site.functions["nothing"] = slow
    one = netty(1, b"\0" + string("nothing"))
    assert fed(site, one * 5) == (2 * len(one), [netty(1, b"\0\0")] * 2)
    site.intake.slice = SLICE / 2
    assert fed(site, one * 5) == (len(one), [netty(1, b"\0\0")])


def test_a_turn_ends_where_it_is_stopped(site: Site) -> None:
    data = add(1, 1, 2) * 3

    def stop() -> None:
        site.intake.stopped = True

    site.functions["nothing"] = stop
    stopping = netty(2, b"\0" + string("nothing"))
    assert fed(site, data + stopping + data) == (len(data + stopping), [three(1, 3) * 3 + netty(2, b"\0\0")])
    assert fed(site, data) == (0, [])


def test_without_an_outlet_the_answers_are_kept(site: Site) -> None:
    site.intake.outlet = None
    assert site.intake.feed(memoryview(add(1, 1, 2)), len(add(1, 1, 2))) == len(add(1, 1, 2))
    assert site.intake.take() == three(1, 3)


def test_what_the_outlet_raises_goes_through(site: Site) -> None:
    site.intake.outlet = lambda _: 1 // 0
    with pytest.raises(ZeroDivisionError):
        site.intake.feed(memoryview(add(1, 1, 2)), len(add(1, 1, 2)))


def test_more_than_the_buffer_has_cannot_be_fed(make: Any) -> None:
    if make is plain.Intake:
        return  # Python's slices end where the data do
    with pytest.raises(ValueError, match="bytes of a buffer of 3"):
        Site(make).intake.feed(memoryview(b"abc"), 4)


def test_a_call_has_the_time_that_is_left(site: Site) -> None:
    seen: list[float] = []
    site.functions["nothing"] = lambda: seen.append(current_call().deadline)
    name = string("nothing")
    site.run(netty(1, b"\0" + name), netty(1, hex_bytes("02 02 74 02 37 00") + name), netty(1, b"\0" + name))
    assert seen == [130.0, 107.0, 130.0]
    assert site.stops(netty(3, hex_bytes("02 02 74 02 30 00") + name))


def test_the_gate_is_entered_once_in_a_run(make: Any) -> None:
    site = Site(make)
    site.gate = gate = Doorkeeper()
    inside: list[int] = []
    site.functions["nothing"] = lambda: inside.append(gate.inside)
    site.run(*[netty(1, b"\0" + string("nothing"))] * 3, add(1, 1, 2))
    assert inside == [1, 1, 1]
    assert (gate.inside, gate.entered) == (0, 1)


def test_nothing_is_run_where_the_gate_is_shut(make: Any) -> None:
    site = Site(make)
    site.gate = Doorkeeper()
    site.gate.open = False
    assert site.intake.run(add(1, 1, 2), 0, 128, 1e9) == 0
    assert site.gate.inside == 0
    site.gate.open = True
    site.run(add(1, 1, 2))


def test_from_one_gate_to_another(make: Any) -> None:
    site = Site(make)
    site.gate = first = Doorkeeper()
    site.run(add(1, 1, 2))
    site.gate = second = Doorkeeper()
    inside: list[tuple[int, int]] = []
    site.functions["nothing"] = lambda: inside.append((first.inside, second.inside))
    nothing = netty(1, b"\0" + string("nothing"))
    site.run(add(1, 1, 2), nothing, add(1, 1, 2), nothing)
    assert inside == [(0, 1), (0, 1)]
    assert (first.inside, second.inside) == (0, 0)


def test_an_error_is_the_holders(site: Site) -> None:
    class Odd(BaseException):
        pass

    def fail(a: int, b: int) -> int:
        raise Odd

    good = site.run(add(1, 1, 2))
    site.functions["add"] = fail
    site.given[0].withdrawn = True
    assert site.run(add(5, 1, 2)) == b""
    ((handler, serial, codec, call, value, error, began),) = site.odd
    assert handler is site.given[-1]
    assert (serial, codec.message.name, call.params, value, began) == (5, "add", {"a": 1, "b": 2}, None, 100.0)
    assert type(error) is Odd
    assert "fail" in [each.name for each in error_frames(error)]
    assert call.ended
    site.functions["add"] = lambda a, b: a + b
    site.given[-1].withdrawn = True
    assert site.run(add(1, 1, 2)) == good


def error_frames(error: BaseException) -> list[Any]:
    import traceback

    return list(traceback.extract_tb(error.__traceback__))


def test_the_holder_is_told_in_the_calls_own_context(site: Site) -> None:
    seen: list[Call | None] = []
    site.intake.close()
    make = type(site.intake)

    class Told(Site):
        def unusual(self, *what: Any) -> None:
            seen.append(running.get())

    told = Told(make)
    told.functions["add"] = lambda a, b: 1 // 0
    told.run(add(1, 1, 2))
    assert seen[0] is not None
    assert seen[0].params == {"a": 1, "b": 2}


async def test_an_awaitable_is_the_holders(site: Site) -> None:
    async def later() -> int:
        return 5

    site.functions["add"] = lambda a, b: later()
    site.functions["nothing"] = lambda: asyncio.get_running_loop().create_future()
    assert site.run(add(5, 1, 2), netty(6, b"\0" + string("nothing"))) == b""
    first, second = site.odd
    assert await first[4] == 5
    assert first[3].begun
    assert not first[3].ended
    assert isinstance(second[4], asyncio.Future)


@pytest.mark.parametrize("value", ["five", None, 2**31, object(), [1]])
def test_a_value_that_does_not_fit_is_the_holders(site: Site, value: object) -> None:
    site.functions["add"] = lambda a, b: value
    assert site.run(add(5, 1, 2), netty(6, b"\0" + string("nothing"))) == netty(6, b"\0\0")
    ((_, serial, _, call, given, error, _),) = site.odd
    assert (serial, given, error) == (5, value, None)
    assert call.ended


def test_an_answer_over_the_limit_is_the_holders(make: Any) -> None:
    site = Site(make, Limits(message_bytes=60))
    site.functions["echo"] = lambda text: text * 2
    fits, over = string("x" * 28), string("x" * 29)
    assert site.run(netty(1, b"\0" + string("echo") + fits)) == netty(1, b"\0\0" + string("x" * 56))
    assert site.run(netty(1, b"\0" + string("echo") + over)) == b""
    assert site.odd[0][4] == "x" * 58


def test_an_answer_with_metadata_is_the_holders(site: Site) -> None:
    def nothing() -> None:
        current_call().answer_metadata = {"x": b"y"}

    site.functions["nothing"] = nothing
    assert site.run(netty(1, b"\0" + string("nothing"))) == b""
    assert site.odd[0][3].answer_metadata == {"x": b"y"}


def test_one_way_is_not_answered(site: Site) -> None:
    heard: list[str] = []
    site.functions["log"] = lambda line: heard.append(line) or "of no use"
    assert site.run(netty(1, b"\0" + string("log") + string("hello"))) == b""
    assert heard == ["hello"]
    assert not site.odd


def test_closed_by_a_handler_it_answers_nothing_more(site: Site) -> None:
    ran: list[int] = []

    def take(a: int, b: int) -> int:
        ran.append(a)
        if a == 2:
            site.intake.close()
        return a

    site.functions["add"] = take
    site.intake.run(add(1, 1, 0) + add(2, 2, 0) + add(3, 3, 0), 0, 128, 1e9)
    assert ran == [1, 2]
    assert site.intake.take() == three(1, 1)
    assert site.intake.run(add(3, 3, 0), 0, 128, 1e9) == 0


def test_what_was_answered_can_be_taken_by_a_handler(site: Site) -> None:
    taken: list[bytes] = []

    def take(a: int, b: int) -> int:
        taken.append(site.intake.take())
        return a

    site.functions["add"] = take
    assert site.run(add(1, 1, 0), add(2, 2, 0)) == three(2, 2)
    assert taken == [b"", three(1, 1)]


def test_a_handler_that_comes_back_runs_nothing(site: Site) -> None:
    ends: list[int] = []

    def take(a: int, b: int) -> int:
        ends.append(site.intake.run(add(9, 9, 9), 0, 128, 1e9))
        return a

    site.functions["add"] = take
    assert site.run(add(1, 1, 0)) == three(1, 1)
    assert ends == [0]


def test_stopped_it_runs_nothing(site: Site) -> None:
    site.intake.stopped = True
    assert site.intake.run(add(1, 1, 1), 0, 128, 1e9) == 0
    site.intake.stopped = False
    site.run(add(1, 1, 1))
    site.functions["nothing"] = lambda: setattr(site.intake, "stopped", True)
    nothing = netty(2, b"\0" + string("nothing"))
    assert site.intake.run(nothing + add(1, 1, 1), 0, 128, 1e9) == len(nothing)


def test_a_handshake_brings_another_pair(site: Site) -> None:
    site.run(add(1, 1, 1))
    other = Contract(OTHER).serving(OTHER)
    other.prepare(b"greet")
    site.functions["greet"] = lambda name: "hello " + name
    site.intake.begin(b"z" * 16, other.calls)
    assert site.intake.run(add(1, 1, 1), 0, 128, 1e9) == 0
    assert site.run(netty(1, b"\0" + string("greet") + string("you"))) == netty(1, b"\0\0" + string("hello you"))


def test_counts_what_was_answered(site: Site) -> None:
    flying: list[int] = []

    def take(a: int, b: int) -> int:
        flying.append(site.counts[IN_FLIGHT])
        site.now += a / 1e6
        return 0

    site.functions["add"] = take
    site.run(add(1, 0, 0), add(1, 2, 0), add(1, 3, 0), add(1, 4, 0), add(1, 2**31 - 1, 0))
    assert flying == [1] * 5
    assert site.counts[CALLS] == 5
    assert site.counts[IN_FLIGHT] == 0
    assert site.counts[NANOSECONDS] == pytest.approx(9e3 + (2**31 - 1) * 1e3, rel=0.001)
    times = site.counts[TIMES:]
    assert sum(times) == 5
    assert times[0] == 1
    site.functions["nothing"] = lambda: 1 // 0
    site.run(netty(1, b"\0" + string("nothing")))
    assert site.counts[CALLS] == 5
    assert site.counts[IN_FLIGHT] == 0


def test_a_clock_or_a_gate_that_fails_ends_the_run_alone(make: Any) -> None:
    site = Site(make)
    site.gate = gate = Doorkeeper()

    def fails(metadata: Mapping[str, bytes]) -> float:
        raise ZeroDivisionError

    site.allowed = fails  # type: ignore[method-assign]  # it is handed in again
    broken = type(site.intake)(
        DEFAULT_LIMITS, call=Call, peer=None, running=running, context=site.context, clock=site.clock,
        allowed=fails, handler=site.handler, unusual=site.unusual,
    )  # fmt: skip
    broken.begin(HASH, site.pair.calls)
    with pytest.raises(ZeroDivisionError):
        broken.run(add(1, 1, 2), 0, 128, 1e9)
    assert gate.inside == 0
    assert site.run(add(1, 1, 2)) == three(1, 3)


LONG = "long " * 20_000


def apart(name: str = "echo", text: str = LONG, metadata: bytes = b"\0") -> tuple[bytes, int, bytes]:
    """A request whose text was received by itself: the rest, where it belongs, the text."""
    rest = metadata + string(name) + long(len(text))
    return rest, len(rest), text.encode()


def test_a_large_parameter_that_was_received_by_itself(site: Site) -> None:
    assert site.intake.run_apart(7, *apart()) is True
    assert site.intake.take() == netty(7, b"\0\0" + string(LONG))
    assert site.counts[CALLS] == 1
    assert site.intake.run_apart(8, *apart("log")) is True
    assert site.intake.take() == b""


def test_what_is_not_ordinary_is_left_alone_if_it_is_large_too(site: Site) -> None:
    rest, at, text = apart()
    for odd in (
        (rest, at, text[1:]),
        (rest, at - 1, text),
        (rest + b"behind", at, text),
        (rest, at + 1, text),
        (rest, -1, text),
        (HASH + bytes(20) + rest, at + len(HASH) + 20, text),
        apart("add"),
        apart("unheard of"),
        apart(metadata=hex_bytes("02 02 74 04 2d 31 00")),  # no time left
    ):
        assert site.intake.run_apart(7, *odd) is False
    site.intake.stopped = True
    assert site.intake.run_apart(7, *apart()) is False
    assert (site.intake.take(), site.odd) == (b"", [])


def test_within_its_gate_and_not_within_another_run(site: Site) -> None:
    site.gate = Doorkeeper()
    inside: list[object] = []

    def echo(text: str) -> str:
        assert site.gate is not None
        inside.append((site.gate.inside, site.intake.run_apart(8, *apart())))
        return "short"

    site.functions["echo"] = echo
    assert site.intake.run_apart(7, *apart()) is True
    assert inside == [(1, False)]
    assert site.gate.inside == 0
    assert site.intake.take() == netty(7, b"\0\0" + string("short"))
    site.gate.open = False
    assert site.intake.run_apart(7, *apart()) is False


def begun(site: Site, frame: bytes, here: int = 20_000) -> Any:
    """What is to receive the rest of a large request of which so much is here."""
    parcel = site.intake.begin_large(b"before" + frame[:here] + b"?", 6, 6 + here)
    if parcel is None:
        return None
    with parcel.space() as space:
        rest = frame[here:]
        space[: len(rest)] = rest
    parcel.add(len(rest))
    assert parcel.missing == 0
    return parcel


def test_a_large_request_is_received_where_it_stays(site: Site) -> None:
    frame = netty(7, b"\0" + string("echo") + string(LONG))
    parcel = begun(site, frame)
    if parcel is None:
        assert isinstance(site.intake, plain.Intake)
        return
    assert parcel.frame() == frame
    assert site.intake.run_large(parcel) is True
    assert site.intake.take() == netty(7, b"\0\0" + string(LONG))
    assert site.intake.served == 0
    site.intake.stopped = True
    again = site.intake.begin_large(frame[:20_000], 0, 20_000)
    assert again is None
    assert site.intake.run_large(parcel) is False
    assert parcel.frame() == frame  # what the session is given then


BLOBS = protocol(
    {
        "protocol": "Blobs",
        "messages": {"swap": {"request": [{"name": "data", "type": "bytes"}], "response": "bytes"}},
    }
)


def test_a_large_answer_is_given_as_it_is_with_those_before_it(make: Any) -> None:
    site = Site(make, called=BLOBS)
    site.functions["swap"] = lambda data: data
    data = bytes(range(256)) * 1000
    small = netty(1, b"\0" + string("swap") + long(5) + b"small")
    parcel = begun(site, netty(7, b"\0" + string("swap") + long(len(data)) + data), here=40_000)
    assert site.intake.run(small, 0, 128, 1e9) == len(small)
    if parcel is None:
        assert isinstance(site.intake, plain.Intake)
        return
    parts = site.intake.run_large(parcel)
    assert isinstance(parts, list)
    assert b"".join(parts) == netty(1, b"\0\0" + long(5) + b"small") + netty(7, b"\0\0" + long(len(data)) + data)
    assert (len(parts), parts[1]) == (2, data)
    assert site.intake.take() == b""
    assert site.counts[CALLS] == 2


def test_what_is_not_ordinary_is_not_begun(site: Site) -> None:
    echo = string("echo") + string(LONG)
    for odd in (
        netty(7, b"\0" + echo, b""),
        netty(7, b"\0" + echo + b"behind"),
        netty(7, HASH + bytes(20) + echo),
        netty(7, b"\0" + string("unheard of") + string(LONG)),
        netty(7, b"\0" + string("add") + long(1) + bytes(70_000)),
        netty(7, b"\0" + string("echo") + string("x" * 65_000)),
        netty(7, hex_bytes("02 02 74 04 2d 31 00") + b"\x80" * 70_000),
        netty(7, b"\0" + string("echo") + b"\x01" + bytes(70_000)),
        b"\0\0\0\7\0\0\0\1\x7f\xff\xff\xff\0" + echo,
    ):
        assert site.intake.begin_large(odd, 0, 20_000) is None
    frame = netty(7, b"\0" + echo)
    for start, size in ((0, 8_000), (0, len(frame)), (-1, 20_000), (20_000, 20_000), (0, len(frame) + 1)):
        assert site.intake.begin_large(frame, start, size) is None
    assert (site.intake.take(), site.odd) == (b"", [])


def test_nothing_is_kept_of_calls(site: Site) -> None:
    def fails(text: str) -> str:
        raise ValueError(text)

    site.functions["echo"] = fails
    frames = [
        add(1, 1, 2),
        add(1, 1, 2, hex_bytes("02 02 78 02 31 00")),
        add(1, 1, 2, hex_bytes("02 02 78 02 32 00")),
        netty(1, b"\0" + string("echo") + string("a text that is no constant")),
        netty(1, b"\0" + string("log") + string("another")),
    ]

    def work() -> None:
        for _ in range(200):
            site.run(*frames)
            site.stops(netty(1, b"\0" + string("add")))
            site.odd.clear()
            site.allowed_of.clear()
        gc.collect()

    work()
    least = sys.maxsize
    for _ in range(5):  # the interpreter keeps things of its own now and then
        before = sys.getallocatedblocks()
        work()
        least = min(least, sys.getallocatedblocks() - before)
    assert least < 50


def test_a_cycle_through_it_is_collected(make: Any) -> None:
    import weakref

    site = Site(make)
    site.run(add(1, 1, 2))
    gone = weakref.ref(site)
    del site
    gc.collect()
    assert gone() is None


def test_the_native_one_is_used_where_its_codec_is() -> None:
    made = Site(plain.intake).intake
    assert type(made).__module__ == ("splnode.wire.intake" if native_engine() is None else "splnode.wire._native")
