"""What is spec framing's own; what both framings must do is in test_framing.py."""

from splnode.limits import Limits
from splnode.wire.spec import SpecReader, spec_frame
from tests.wire.conftest import pieces, read, spec

LIMITS = Limits(message_bytes=1000, message_buffers=8)


def test_rest_is_all_that_was_not_taken():
    reader = SpecReader(LIMITS)
    reader.feed(spec(b"abc") + b"junk")
    reader.feed(b"more")
    assert reader.take(1) == [(0, b"abc")]
    assert reader.rest() == b"junkmore"
    assert reader.idle


def test_spec_skips_empty_messages():
    data = bytes(8) + spec(b"a") + bytes(12) + spec(b"b") + bytes(4)
    assert read(SpecReader(LIMITS), pieces(data)) == [(0, b"a"), (1, b"b")]


def test_spec_early_completion_swallows_one_terminator():
    wanted = [(0, b"PINGx"), (1, b"next")]
    for middle in (b"", bytes(4)):
        for chunks in (pieces, lambda data: [data]):
            reader = SpecReader(LIMITS, lambda data: data == b"PINGx")
            data = spec(b"PING", b"x")[:-4] + middle + spec(b"next")
            assert read(reader, chunks(data)) == wanted


def test_early_is_not_asked_for_ever():
    asked = []
    limits = Limits(message_buffers=1024)
    reader = SpecReader(limits, lambda data: bool(asked.append(data)))
    reader.feed(spec(*[b"x"] * 1024))
    assert len(reader.take(1)) == 1
    assert len(asked) == 16


def test_writing():
    assert spec_frame(b"ab", b"", b"c") == bytes.fromhex("00000002 6162 00000001 63 00000000")
    assert spec_frame() == bytes(4)
