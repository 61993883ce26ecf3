import sys

import pytest

from splnode.avro.codec import plain
from splnode.avro.codec.plain import Conformer, Decoder, Encoder
from splnode.avro.codec.source import AFTER
from splnode.avro.codec.source_read import quick_read
from splnode.avro.resolution import read_plan, write_plan
from splnode.avro.schema import parse_schema
from splnode.errors import DecodeError, EncodeError, LimitExceeded
from splnode.limits import DEFAULT_LIMITS, Limits
from tests.wire.conftest import long

LIST = parse_schema(
    '{"type": "record", "name": "L", "fields": [{"name": "next", "type": ["null", "L"], "default": null}]}'
)


def test_the_three_faces() -> None:
    data = Encoder(write_plan(LIST), DEFAULT_LIMITS).encode({"next": {}})
    assert data == b"\x02\x00"
    assert Decoder(read_plan(LIST), DEFAULT_LIMITS).decode(data) == ({"next": {"next": None}}, 2)
    assert Conformer(write_plan(LIST), read_plan(LIST), DEFAULT_LIMITS).conform({}) == {"next": None}


def test_a_stack_that_is_nearly_full_is_a_limit_too() -> None:
    decoder = Decoder(read_plan(LIST), Limits(depth=512))
    was = sys.getrecursionlimit()
    frame, used = sys._getframe(), 0
    while frame is not None:
        frame, used = frame.f_back, used + 1  # type: ignore[assignment]  # the outermost has none
    sys.setrecursionlimit(used + 100)
    try:
        with pytest.raises(LimitExceeded) as caught:
            decoder.decode(b"\x02" * 300)
    finally:
        sys.setrecursionlimit(was)
    assert caught.value.limit == "depth"


def test_generated_code_goes_first_once_a_plan_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, decoder = Encoder(write_plan(LIST), DEFAULT_LIMITS), Decoder(read_plan(LIST), DEFAULT_LIMITS)
    for _ in range(AFTER + 1):
        assert encoder.encode({"next": {}}) == b"\x02\x00"
        assert decoder.decode(b"\x02\x00")[0] == {"next": {"next": None}}
    monkeypatch.setattr(encoder, "_write", None)
    monkeypatch.setattr(decoder, "_read", None)
    assert encoder.encode({"next": {}}) == b"\x02\x00"
    assert decoder.decode(b"\x02\x00")[0] == {"next": {"next": None}}
    with pytest.raises(TypeError):  # what it cannot do goes to the functions, which are gone
        encoder.encode({"next": 5})


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(DecodeError, match="start 5 lies outside of 2 bytes"):
        Decoder(read_plan(LIST), DEFAULT_LIMITS).decode(b"\x00\x00", 5)
    with pytest.raises(EncodeError, match=r"next: dict expected|next: a value of one of the union's"):
        Encoder(write_plan(LIST), DEFAULT_LIMITS).encode({"next": 5})


def test_a_very_large_datum_has_code_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    monkeypatch.setattr(plain, "quick_read", lambda *given: made.append(given) or quick_read(*given))
    nulls = parse_schema('{"type": "array", "items": "null"}')
    read = Decoder(read_plan(nulls), DEFAULT_LIMITS)
    assert read.decode(long(9_000) + b"\0")[0] == [None] * 9_000
    assert not made
    assert read.decode(long(90_000) + b"\0")[0] == [None] * 90_000
    assert len(made) == 1
    with pytest.raises(LimitExceeded, match="nodes = 1000000"):
        read.decode(long(1_000_000) + b"\0")
    with pytest.raises(LimitExceeded, match="message_bytes"):
        Decoder(read_plan(parse_schema('"bytes"')), DEFAULT_LIMITS).decode(long(2**40))
