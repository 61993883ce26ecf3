"""Mouth and Outlet of either engine."""

import gc
import time
import weakref
from collections.abc import Iterator

import pytest

from splnode.net.mouth import LIGHT, STEADY, Mouth, make_mouth, make_outlet
from tests.engines import ENGINES, engine_for_a_test


@pytest.fixture(params=ENGINES, autouse=True)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    yield from engine_for_a_test(request.param, monkeypatch)


class Connection:
    """Says what it is told; its engine takes `takes` bytes at a time."""

    def __init__(self) -> None:
        self.said: list[object] = []
        self.own = memoryview(bytearray(8))
        self.takes = 0
        self.mouth: Mouth = make_mouth(memoryview(bytearray(16)), self.space, self.came, self.left)

    def space(self, hint: int) -> memoryview:
        self.said.append(("space", hint))
        return self.own

    def came(self, count: int) -> None:
        self.said.append(("came", count))

    def left(self, taken: int, count: int) -> None:
        self.said.append(("left", taken, count, self.mouth.busy))

    def feed(self, buffer: memoryview, count: int) -> int:
        self.said.append((bytes(buffer[:count]), self.mouth.busy))
        return self.takes

    def receive(self, data: bytes) -> None:
        buffer = self.mouth.get_buffer(-1)
        buffer[: len(data)] = data
        self.mouth.buffer_updated(len(data))


def test_without_an_engine_the_connection_finds_the_space() -> None:
    connection = Connection()
    before = time.monotonic()
    connection.receive(b"abc")
    assert connection.said == [("space", -1), ("came", 3)]
    assert bytes(connection.own[:3]) == b"abc"
    assert connection.mouth.received == 3
    assert before <= connection.mouth.heard <= time.monotonic()  # clock: it is of this clock


def test_an_engine_is_fed_and_what_it_leaves_is_told() -> None:
    connection = Connection()
    connection.mouth.feed = connection.feed
    connection.takes = 3
    connection.receive(b"abc")
    assert connection.said == [(b"abc", True)]
    connection.takes = 1
    connection.receive(b"defg")
    assert connection.said[1:] == [(b"defg", True), ("left", 1, 4, False)]
    assert (connection.mouth.received, connection.mouth.busy) == (7, False)
    connection.mouth.feed = None
    connection.receive(b"h")
    assert connection.said[3:] == [("space", -1), ("came", 1)]


def test_another_buffer() -> None:
    connection = Connection()
    connection.mouth.feed = connection.feed
    other = connection.mouth.buffer = memoryview(bytearray(4))
    assert connection.mouth.get_buffer(-1) is other


def test_what_an_engine_raises_goes_through() -> None:
    connection = Connection()
    connection.mouth.feed = lambda *_: 1 // 0
    with pytest.raises(ZeroDivisionError):
        connection.receive(b"abc")
    assert not connection.mouth.busy


def test_one_that_is_closed_while_it_is_fed_tells_nobody() -> None:
    connection = Connection()

    def closes(_buffer: memoryview, _count: int) -> int:
        connection.mouth.close()
        return 0

    connection.mouth.feed = closes
    connection.receive(b"abc")
    assert connection.said == []
    for use in (connection.mouth.get_buffer, connection.mouth.buffer_updated):
        with pytest.raises(RuntimeError, match="this connection was closed"):
            use(1)


class Watch:
    """Turns that say what they are asked."""

    def __init__(self) -> None:
        self.light: object = None
        self.asked: list[object] = []
        self.answer = True

    def polite(self, who: object) -> bool:
        self.asked.append(who)
        return self.answer


def test_who_sends_a_little_again_and_again_is_known() -> None:
    connection, watch = Connection(), Watch()
    connection.mouth.turns = watch
    connection.mouth.feed, connection.takes = connection.feed, 99
    for _ in range(STEADY):
        connection.mouth.buffer_updated(LIGHT)
    assert watch.light is None
    connection.mouth.buffer_updated(1)
    assert watch.light is connection.mouth
    watch.light, watch.answer = None, False
    connection.mouth.buffer_updated(LIGHT + 1)
    for _ in range(STEADY):
        connection.mouth.buffer_updated(1)
    assert watch.light is None
    connection.mouth.light = STEADY
    connection.mouth.buffer_updated(1)
    assert watch.light is connection.mouth


def test_who_is_polite_is_not_fed_much() -> None:
    connection, watch = Connection(), Watch()
    connection.mouth.turns = watch
    connection.mouth.buffer_updated(LIGHT + 1)  # nothing is fed anyhow
    assert watch.asked == []
    connection.mouth.feed, connection.takes = connection.feed, LIGHT + 1
    connection.mouth.buffer_updated(LIGHT + 1)
    connection.mouth.buffer_updated(LIGHT)
    assert watch.asked == [connection.mouth]
    assert connection.said == [("came", LIGHT + 1), ("came", LIGHT + 1), (bytes(16), True)]
    watch.answer = False
    connection.mouth.buffer_updated(LIGHT + 1)
    assert connection.said[3:] == [(bytes(16), True)]


def test_what_the_turns_raise_goes_through() -> None:
    connection, watch = Connection(), Watch()
    connection.mouth.turns, connection.mouth.feed = watch, connection.feed
    watch.polite = lambda _: 1 // 0  # type: ignore[method-assign,assignment,return-value]  # the mistake itself
    with pytest.raises(ZeroDivisionError):
        connection.mouth.buffer_updated(LIGHT + 1)


def test_what_is_no_count() -> None:
    with pytest.raises(TypeError):
        Connection().mouth.buffer_updated("many")  # type: ignore[arg-type]  # the mistake itself


def test_a_connection_that_nobody_has_is_collected() -> None:
    connection = Connection()
    connection.mouth.feed = connection.feed
    known = weakref.ref(connection)
    del connection
    gc.collect()
    assert known() is None


def test_an_outlet_counts_what_it_sends() -> None:
    outlet = make_outlet()
    sent: list[bytes] = []
    outlet(b"dropped")
    outlet.write = sent.append
    outlet(b"abc")
    outlet(b"d")
    assert (sent, outlet.written) == ([b"abc", b"d"], 4)
    outlet.written += 6
    assert outlet.written == 10
    outlet.write = None
    outlet(b"dropped")
    assert (sent, outlet.written) == ([b"abc", b"d"], 10)


def test_what_the_transport_raises_goes_through() -> None:
    outlet = make_outlet()
    outlet.write = lambda _: 1 // 0
    with pytest.raises(ZeroDivisionError):
        outlet(b"abc")
    with pytest.raises(TypeError):
        outlet(5)  # type: ignore[arg-type]  # the mistake itself
