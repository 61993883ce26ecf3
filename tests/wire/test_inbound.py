"""Messages out of bytes, a turn at a time; what they mean is `test_server`'s."""

from typing import Any

from splnode.limits import DEFAULT_LIMITS, Limits
from splnode.wire.events import Event
from splnode.wire.framing import Body
from splnode.wire.inbound import TURN, Inbound
from tests.wire.conftest import netty


class Heard(Inbound):
    """Keeps what it takes."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS, *, halts: bytes = b"halt") -> None:
        super().__init__("netty", limits, cooperative=True)
        self.heard: list[Body] = []
        self.halts = halts
        self._known = True

    def _message(self, serial: int, body: Body, events: list[Event]) -> None:
        self.heard.append(body)
        self._halted = body == self.halts

    def _may_pass(self, body: Body) -> bool:
        return body == b"ping"

    def _locate(self, serial: int, data: bytes) -> None:
        return None

    def feed(self, *bodies: bytes) -> list[Body]:
        """What is heard of them."""
        self.heard.clear()
        self.receive_data(b"".join(netty(serial, body) for serial, body in enumerate(bodies)))
        return list(self.heard)


def test_a_turn_has_so_many() -> None:
    inbound = Heard()
    assert len(inbound.feed(*[b"m"] * (TURN + 3))) == TURN
    assert inbound.pending
    assert not inbound.full
    assert inbound.unread
    assert len(inbound.feed()) == 3
    assert not inbound.pending
    assert not inbound.unread


def test_behind_one_that_halts_the_others_wait_until_the_next_turn() -> None:
    inbound = Heard()
    assert inbound.feed(b"a", b"halt", b"b", b"c")[:2] == [b"a", b"halt"]
    assert inbound.heard == [b"a", b"halt", b"b", b"c"]


def test_without_room_only_what_may_pass_goes_on() -> None:
    inbound = Heard(Limits(calls_per_connection=2))
    inbound._open.count = 2
    assert inbound.feed(b"ping", b"ping", b"call", b"ping") == [b"ping", b"ping"]
    assert inbound.full
    inbound._open.count = 1
    assert inbound.feed() == [b"call", b"ping"]
    assert not inbound.full


class Eager:
    """An intake that runs all there is."""

    over, room = False, 0

    def __init__(self) -> None:
        self.served = self.all = 0

    def run(self, data: bytes, start: int, most: int, seconds: float) -> int:
        self.served = 0
        while self.served < most and len(data) - start >= 12:
            length = int.from_bytes(data[start + 8 : start + 12])
            if len(data) - start - 12 < length:
                break
            start += 12 + length
            self.served += 1
        self.all += self.served
        return start


def test_of_a_message_that_was_cut_only_itself_goes_past_the_intake() -> None:
    """Those behind it are as ordinary as those before; an intake takes them a few times faster."""
    inbound = Heard()
    inbound._intake = eager = Eager()  # type: ignore[assignment]  # as much of an intake as is asked here
    data = b"".join(netty(serial, b"message") for serial in range(20))
    inbound.receive_data(data[:-5])
    assert (inbound.heard, eager.all, inbound.clear) == ([], 19, False)
    inbound.receive_data(data[-5:] + data)
    assert (inbound.heard, eager.all, inbound.clear) == ([b"message"], 39, True)


def test_what_was_dropped_is_not_kept() -> None:
    inbound = Heard()
    inbound.receive_data(netty(1, bytes(1_000_000))[:900_000])
    assert inbound.unread
    inbound.drop()
    reader: Any = inbound._reader
    assert not any((inbound._stalled, reader._chunks, reader._parts, reader._data, reader._room))


def test_nothing_is_clear_without_an_intake() -> None:
    assert not Heard().clear
