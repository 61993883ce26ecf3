"""splnode.avro.single_object: the frame of a message, both ways, and what is refused."""

import io
import threading

import fastavro
import msgspec
import pytest

from splnode.avro import single_object
from splnode.avro.fingerprint import crc64_avro
from splnode.avro.schema import Schema, parse_schema
from splnode.errors import DecodeError, EncodeError, LimitExceeded, SchemaError
from splnode.limits import Limits

POINT = parse_schema('{"type": "record", "name": "Point", "fields": [{"name": "x", "type": "int"}]}')
WIDER = parse_schema(
    '{"type": "record", "name": "Point", "fields": ['
    '{"name": "x", "type": "long"}, {"name": "y", "type": "int", "default": 7}]}'
)


def known(number: int) -> Schema | None:
    return {crc64_avro(POINT): POINT}.get(number)


def test_the_bytes_of_a_message() -> None:
    data = single_object.encode(POINT, {"x": -3})
    assert data == b"\xc3\x01" + crc64_avro(POINT).to_bytes(8, "little") + b"\x05"
    assert single_object.header(POINT) == data[:10]
    assert single_object.fingerprint_of(data) == crc64_avro(POINT)


def test_a_message_of_fastavro_is_read() -> None:
    source = {"type": "record", "name": "Point", "fields": [{"name": "x", "type": "int"}]}
    out = io.BytesIO()
    fastavro.schemaless_writer(out, source, {"x": 41})
    number = fastavro.schema.fingerprint(fastavro.schema.to_parsing_canonical_form(source), "CRC-64-AVRO")
    data = b"\xc3\x01" + bytes.fromhex(number) + out.getvalue()
    assert single_object.decode(data, known) == {"x": 41}


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_comes_back(kind: type) -> None:
    assert single_object.decode(kind(single_object.encode(POINT, {"x": 5})), known) == {"x": 5}


def test_is_resolved_to_a_reader() -> None:
    data = single_object.encode(POINT, {"x": 5})
    assert single_object.decode(data, known, reader=WIDER) == {"x": 5, "y": 7}


def test_is_read_into_a_struct() -> None:
    class Point(msgspec.Struct):
        x: int

    class Holder(msgspec.Struct):
        x: int

    data = single_object.encode(POINT, {"x": 5})
    assert single_object.decode(data, known, into=Point) == Point(5)
    assert single_object.decode(data, known, into=Holder) == Holder(5)
    assert single_object.decode(data, known, into={"x": int}) == {"x": 5}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "at least 10 bytes, this has 0"),
        (b"\xc3\x01" + b"\0" * 7, "at least 10 bytes, this has 9"),
        (b"\xc3\x02" + b"\0" * 8, "begins with c301, this with c302"),
        (b"Obj\x01" + b"\0" * 8, "this with 4f62"),
        (b"\xc3\x01" + bytes(range(8)) + b"\0", "no schema is known for the fingerprint 0706050403020100"),
    ],
)
def test_what_is_no_message_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(DecodeError, match=words):
        single_object.decode(data, known)


def test_bytes_behind_the_datum_are_refused() -> None:
    with pytest.raises(DecodeError, match="2 bytes follow the datum of Point"):
        single_object.decode(single_object.encode(POINT, {"x": 5}) + b"ab", known)


def test_half_a_datum_is_refused() -> None:
    with pytest.raises(DecodeError):
        single_object.decode(single_object.header(POINT), known)


def test_a_reader_that_does_not_fit() -> None:
    with pytest.raises(SchemaError):
        single_object.decode(single_object.encode(POINT, {"x": 5}), known, reader=Schema("string"))


def test_a_value_that_does_not_fit() -> None:
    with pytest.raises(EncodeError):
        single_object.encode(POINT, {"x": "no"})


def test_limits_hold() -> None:
    text = Schema("string")
    with pytest.raises(LimitExceeded):
        single_object.encode(text, "x" * 11, limits=Limits(message_bytes=10))
    with pytest.raises(LimitExceeded):
        single_object.decode(single_object.encode(text, "x" * 11), lambda _: text, limits=Limits(message_bytes=10))


def test_threads_have_codecs_of_their_own() -> None:
    schema = parse_schema('{"type": "array", "items": "string"}')
    wrong: list[object] = []

    def work(word: str) -> None:
        for _ in range(200):
            value = [word] * 50
            if single_object.decode(single_object.encode(schema, value), lambda _: schema) != value:
                wrong.append(word)

    threads = [threading.Thread(target=work, args=(word,)) for word in ("a", "bb", "ccc", "dddd")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_fingerprint_is_shown_as_hex() -> None:
    assert single_object.show(255) == "00000000000000ff"
