"""Both framings: whole, byte by byte, in several buffers, with junk behind, and with lengths that lie."""

import random
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splnode.errors import RemoteWireError
from splnode.limits import DEFAULT_LIMITS, Limits
from splnode.wire.framing import Apart
from splnode.wire.netty import NettyReader, netty_frame
from splnode.wire.room import LEAST
from splnode.wire.spec import SpecReader
from tests.wire.conftest import netty, pieces, read, spec

LIMITS = Limits(message_bytes=1000, message_buffers=8)


MESSAGES = st.lists(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=8), max_size=8)
CUTS = st.lists(st.integers(0, 4000), max_size=12)


def cut(data, places):
    edges = sorted({0, len(data), *(place for place in places if place < len(data))})
    return [data[a:b] for a, b in pairwise(edges)]


@given(MESSAGES, CUTS, st.booleans())
def test_netty_in_any_pieces(messages, places, empty_buffers):
    frames = [netty(i, *(buffers + [b""] * empty_buffers)[:8]) for i, buffers in enumerate(messages)]
    wanted = [(i, b"".join(buffers)) for i, buffers in enumerate(messages)]
    data = b"".join(frames)
    for chunks in ([data], pieces(data), cut(data, places)):
        reader = NettyReader(LIMITS)
        assert read(reader, chunks) == wanted
        assert reader.idle


@given(MESSAGES, CUTS)
def test_spec_in_any_pieces(messages, places):
    data = b"".join(spec(*buffers) for buffers in messages)
    wanted = [(i, b"".join(buffers)) for i, buffers in enumerate(messages)]
    for chunks in ([data], pieces(data), cut(data, places)):
        reader = SpecReader(LIMITS)
        assert read(reader, chunks) == wanted
        assert reader.idle


def test_large_messages_in_every_chunk_size():
    dice = random.Random(1)
    body = dice.randbytes(300_000)
    data = netty_frame(5, body) + netty_frame(6, b"") + netty_frame(7, body[:5000])
    for size in (1, 4095, 4096, 65_536):
        reader = NettyReader(DEFAULT_LIMITS)
        found = read(reader, (data[i : i + size] for i in range(0, len(data), size)))
        assert found == [(5, body), (6, b""), (7, body[:5000])]


def test_take_gives_no_more_than_asked():
    reader = NettyReader(LIMITS)
    reader.feed(b"".join(netty_frame(i, b"x") for i in range(5)))
    assert [serial for serial, _ in reader.take(2)] == [0, 1]
    assert [serial for serial, _ in reader.take(1)] == [2]
    assert reader.held == 2 * 13
    reader.feed(netty_frame(9, b"y"))
    assert [serial for serial, _ in reader.take(9)] == [3, 4, 9]
    assert reader.take(9) == []


def test_messages_before_a_fault_come_first():
    reader = NettyReader(LIMITS)
    reader.feed(netty(1, b"a") + netty(2, b"b") + netty(3) + b"junk")
    assert reader.take(9) == [(1, b"a"), (2, b"b")]
    for _ in range(2):
        with pytest.raises(RemoteWireError, match="0 buffers"):
            reader.take(9)


@pytest.mark.parametrize(
    ("reader", "data", "told"),
    [
        (NettyReader, "00000001 00000000 00000000", "0 buffers"),
        (NettyReader, "00000001 00000009 00000000", "9 buffers .limit message_buffers = 8"),
        (NettyReader, "00000001 ffffffff 00000000", "4294967295 buffers"),
        (NettyReader, "00000001 00000001 7fffffff", "2147483647 bytes .limit message_bytes = 1000"),
        (NettyReader, "00000001 00000001 000003e9", "1001 bytes"),
        (NettyReader, "00000001 00000002 00000001 00 000003e8", "1001 bytes"),
        (SpecReader, "7fffffff", "2147483647 bytes"),
        (SpecReader, "ffffffff", "4294967295 bytes"),
        (SpecReader, "00000001 00 000003e8", "1001 bytes"),
        (SpecReader, "0000000100" * 9, "more buffers than message_buffers = 8"),
    ],
)
def test_limits(reader, data, told):
    for chunks in (pieces, lambda data: [data]):
        with pytest.raises(RemoteWireError, match=told):
            read(reader(LIMITS), chunks(bytes.fromhex(data)))


@pytest.mark.parametrize("make", [NettyReader, SpecReader])
def test_a_length_word_reserves_nothing(make):
    reader = make(DEFAULT_LIMITS)
    head = (b"\0\0\0\x01" * 2 if make is NettyReader else b"") + DEFAULT_LIMITS.message_bytes.to_bytes(4)
    reader.feed(head)
    assert reader.take(1) == []
    held = sum(sys.getsizeof(getattr(reader, name)) for name in ("_data", "_chunks", "_parts"))
    assert held < 1000
    assert not reader.idle


def test_slow_trickle_keeps_few_objects():
    reader = NettyReader(DEFAULT_LIMITS)
    reader.feed(bytes.fromhex("00000001 00000001 00100000"))
    for _ in range(1000):
        reader.feed(b"xy")
        assert reader.take(1) == []
    assert len(reader._chunks) == 1


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_what_is_fed_may_be_used_again_by_its_owner(kind):
    owned = bytearray(netty_frame(1, b"first"))
    reader = NettyReader(LIMITS)
    reader.feed(kind(owned))
    owned[:] = bytes(len(owned))
    assert reader.take(1) == [(1, b"first")]


def test_a_long_message_alone_is_not_copied_again():
    body = bytes(100_000)
    reader = NettyReader(DEFAULT_LIMITS)
    for chunk in (netty_frame(1, body)[:12], body[:50_000], body[50_000:]):
        reader.feed(chunk)
        messages = reader.take(1)
    assert messages == [(1, body)]
    assert reader.idle


# -- large buffers, received where they stay


def receive(reader, data, sizes, locate=None):
    """Everything, as a connection does it: into the space where there is one."""
    out, place = [], 0
    for size in sizes:
        chunk = data[place : place + size]
        space = reader.space
        if space is None:
            reader.feed(chunk)
        else:
            chunk = chunk[: len(space)]
            space[: len(chunk)] = chunk
            space.release()
            reader.received(len(chunk))
        place += len(chunk)
        while messages := reader.take(2):
            out += messages
        if reader.large:
            reader.make_room(locate)
        assert reader.held + reader.total <= place
        if place == len(data):
            return out
    raise AssertionError("too few sizes")


def sizes(seed, most):
    dice = random.Random(seed)
    while True:
        yield dice.randrange(1, most)


def whole(messages):
    return [(serial, body.whole() if isinstance(body, Apart) else body) for serial, body in messages]


LONG = random.Random(3).randbytes(300_000)


@pytest.mark.parametrize("most", [2, 1000, 70_000, 1_000_000])
@pytest.mark.parametrize("framing", ["netty", "spec"])
def test_large_buffers_stay_where_they_are_received(framing, most):
    parts = [[LONG], [b"short"], [LONG[:LEAST]], [b"a", LONG, b"b"], [LONG[: LEAST - 1]], [LONG, LONG[1:]], [b"end"]]
    if most == 2:
        parts = parts[1:4]
    if framing == "netty":
        reader, data = NettyReader(DEFAULT_LIMITS), b"".join(netty(i, *each) for i, each in enumerate(parts))
    else:
        reader, data = SpecReader(DEFAULT_LIMITS), b"".join(spec(*each) for each in parts)
    assert receive(reader, data, sizes(most, most)) == [(i, b"".join(each)) for i, each in enumerate(parts)]
    assert reader.idle
    assert (reader.held, reader.total) == (0, 0)


def test_no_room_is_made_before_an_eighth_of_it_has_come():
    reader = NettyReader(DEFAULT_LIMITS)
    reader.feed(netty_frame(1, LONG)[:8_000])
    assert reader.take(1) == []
    assert not reader.large
    reader.make_room()
    assert reader.space is None
    reader.feed(LONG[7_988:9_000])
    assert reader.take(1) == []
    assert reader.large
    reader.make_room()
    assert 9_000 + len(reader.space) <= 8 * 9_000
    assert reader.held == 9_000


def test_what_is_fed_goes_to_the_room_too():
    reader = NettyReader(DEFAULT_LIMITS)
    data = netty_frame(1, LONG) + netty_frame(2, b"next")
    reader.feed(data[:20_000])
    assert reader.take(1) == []
    reader.make_room()
    reader.feed(data[20_000:])
    assert reader.space is None  # all of it is here
    assert reader.take(1) == [(1, LONG)]
    assert reader.take(1) == [(2, b"next")]
    assert reader.idle


@pytest.mark.parametrize("most", [1000, 20_000, 70_000, 1_000_000])
@pytest.mark.parametrize("tail", [b"", b"behind it", bytes(50_000)])
def test_a_large_value_is_received_by_itself(most, tail):
    def locate(serial, data):
        asked.append(serial)
        return data.index(b"HERE") + 4, len(LONG)

    asked = []
    body = b"in front of it HERE" + LONG + tail
    data = b"".join((netty_frame(1, b"x"), netty_frame(2, body), netty_frame(3, body), netty_frame(4, b"y")))
    reader = NettyReader(DEFAULT_LIMITS)
    found = receive(reader, data, sizes(most, most), locate)
    assert whole(found) == [(1, b"x"), (2, body), (3, body), (4, b"y")]
    assert reader.idle
    apart = [each for _, each in found if isinstance(each, Apart)]
    assert len(apart) == len(asked)
    assert all((each.at, each.part, each.rest) == (19, LONG, b"in front of it HERE" + tail) for each in apart)
    assert all(len(each) == len(body) for each in apart)
    if most <= 70_000:
        assert asked == [2, 3]


@pytest.mark.parametrize(
    "found", [None, (5, 1000), (5, 300_001 - 5), (5, 2**40), (8_192, 291_808 // 2), (100, LEAST + 100)]
)
def test_a_place_that_does_not_fit_is_not_taken(found):
    reader = NettyReader(DEFAULT_LIMITS)
    assert receive(reader, netty_frame(1, LONG), sizes(1, 30_000), lambda *_: found) == [(1, LONG)]


def test_a_message_of_several_buffers_is_never_apart():
    def locate(*_):
        raise AssertionError("asked")

    data = netty(1, b"a", LONG) + netty(2, LONG, b"b")
    expected = [(1, b"a" + LONG), (2, LONG + b"b")]
    assert receive(NettyReader(DEFAULT_LIMITS), data, sizes(5, 30_000), locate) == expected
