"""splnode.avro.plain_json: whole values there and back, and the JSON of Records."""

import base64
import json
import math
import random
from typing import Any

import pytest
from hypothesis import given

from splnode.avro.codec import decoder, encoder
from splnode.avro.fingerprint import crc64_avro
from splnode.avro.json_value import json_to_record, make_record, open_record
from splnode.avro.plain_json import from_json, record_to_json, to_json, wrap_record
from splnode.avro.schema import Schema
from splnode.errors import DataError, DecodeError, LimitExceeded, SchemaError
from splnode.limits import Limits
from tests.avro.codec.arbitrary import Schemas, value_of
from tests.avro.test_json_text import ANY_JSON
from tests.avro.test_plain_read import RECORD, SPL, schema_of

USER = schema_of({"type": "record", "name": "acme.User", "fields": [{"name": "photo", "type": ["null", "bytes"]}]})
BOX = schema_of({"type": "record", "name": "acme.Box", "fields": [{"name": "in", "type": RECORD}]})
KNOWN = {crc64_avro(schema): schema for schema in (USER, BOX)}


def through_the_codec(schema: Schema, value: Any) -> Any:
    return decoder(schema).decode(encoder(schema).encode(value))[0]


def alike(one: Any, two: Any) -> bool:
    if isinstance(one, float) and isinstance(two, float):
        return one == two or (math.isnan(one) and math.isnan(two))
    if isinstance(one, dict) and isinstance(two, dict):
        return list(one) == list(two) and all(alike(one[key], two[key]) for key in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(alike, one, two))
    return bool(one == two)


@pytest.mark.parametrize("bytes_as", ["base64", "utf8", "hex"])
@pytest.mark.parametrize("seed", range(300))
def test_any_value_comes_back(seed: int, bytes_as: Any) -> None:
    rng = random.Random(seed)
    try:
        schema = schema_of(Schemas(rng).any())
        value = through_the_codec(schema, value_of(rng, schema))
    except (DataError, SchemaError):
        return  # one in a few is not to be encoded, on purpose
    text = json.dumps(to_json(schema, value, bytes_as=bytes_as), allow_nan=False)
    assert alike(through_the_codec(schema, from_json(schema, json.loads(text), bytes_as=bytes_as)), value)


ODD: list[Any] = [
    None, True, 0, 2**63, 2**70, 1.5, 1e300, math.inf, math.nan, "", "x", "AAAA", "NaN", "2024-05-01", "\ud800", "S0",
    [], {}, [1], {"a": 1}, {"base64": "AA=="}, {"hex": "zz"}, {"map": {}}, {"bytes": "x"}, {"N1": {}}, {"f0": 1},
    {"months": 1, "days": 1, "millis": 1}, 10**5000, "1e99999999",
]  # fmt: skip


def spoiled(rng: random.Random, json: Any) -> Any:
    if rng.random() < 0.15:
        return rng.choice(ODD)
    if isinstance(json, list):
        return [spoiled(rng, each) for each in json]
    return {key: spoiled(rng, each) for key, each in json.items()} if isinstance(json, dict) else json


@pytest.mark.parametrize("style", ["plain", "avro"])
@pytest.mark.parametrize("seed", range(200))
def test_what_does_not_fit_is_refused_in_no_other_way(seed: int, style: Any) -> None:
    rng = random.Random(seed)
    try:
        schema = schema_of(Schemas(rng).any())
        written = to_json(schema, through_the_codec(schema, value_of(rng, schema)), style=style)
    except (DataError, SchemaError):
        return  # one in a few is not to be encoded, on purpose
    for _ in range(5):
        try:
            encoder(schema).encode(from_json(schema, spoiled(rng, written), style=style))
        except DataError as error:
            assert len(str(error)) < 3000


@given(ANY_JSON)
def test_any_json_comes_back_through_a_request(value: Any) -> None:
    """As the shell does it: JSON to a request, over the wire, and the answer as JSON."""
    schema = schema_of(RECORD)
    answer = through_the_codec(schema, from_json(schema, value))
    assert json.dumps(to_json(schema, answer)) == json.dumps(value)


@given(ANY_JSON)
def test_any_object_comes_back_through_a_union(value: Any) -> None:
    schema, value = schema_of(SPL), {"data": value}
    answer = through_the_codec(schema, from_json(schema, value))
    assert json.dumps(to_json(schema, answer)) == json.dumps(value)


class TestRecords:
    def test_of_a_known_schema_are_their_datum(self) -> None:
        record = make_record(USER, {"photo": b"a"})
        assert record_to_json(record, KNOWN.get) == {"photo": "YQ=="}
        assert record_to_json(record, KNOWN.get, bytes_as="hex") == {"photo": "61"}

    def test_of_an_unknown_schema_are_shown_as_they_are_and_come_back(self) -> None:
        record = make_record(USER, {"photo": b"a"})
        shown = {"schema": "acme.User", "data": {"base64": base64.b64encode(record["data"]).decode()}}
        assert record_to_json(record) == shown
        assert to_json(schema_of(RECORD), record) == shown
        assert to_json(schema_of(SPL), record) == shown
        assert from_json(schema_of(RECORD), shown) == record
        assert through_the_codec(schema_of(SPL), from_json(schema_of(SPL), shown)) == record

    @pytest.mark.parametrize(
        "value",
        [
            {"schema": "acme.User", "data": {"a": 1}},
            {"schema": "acme.User", "data": "text"},
            {"schema": "acme.User", "data": {"base64": "AAAA"}},
            {"schema": "acme.User", "data": {"base64": "no base64"}},
            {"schema": 5, "data": {"hex": "c301" + "00" * 9}},
            {"schema": "x", "data": {"base64": base64.b64encode(json_to_record(1)["data"]).decode()}},
        ],
    )
    def test_what_only_looks_like_a_record_is_json(self, value: Any) -> None:
        assert open_record(wrap_record(value), lambda _: None)[1] == value

    def test_within_records(self) -> None:
        record = make_record(BOX, {"in": make_record(USER, {"photo": None})})
        assert record_to_json(record, KNOWN.get) == {"in": {"photo": None}}

    def test_within_records_without_end(self) -> None:
        record = json_to_record(1)
        for _ in range(100):
            record = make_record(BOX, {"in": record})
        with pytest.raises(LimitExceeded, match="depth"):
            record_to_json(record, KNOWN.get)

    def test_a_hook_unwraps_and_another_wraps(self) -> None:
        record = make_record(USER, {"photo": None})
        assert to_json(schema_of(SPL), record, unwrap=lambda each: record_to_json(each, KNOWN.get)) == {"photo": None}
        wrapped = from_json(schema_of(RECORD), {"photo": None}, wrap=lambda each: make_record(USER, each))
        assert wrapped == record

    @pytest.mark.parametrize("data", [b"", b"no message at all", json_to_record(1)["data"] + b"x"])
    def test_with_bad_bytes_are_an_error(self, data: bytes) -> None:
        with pytest.raises(DecodeError):
            record_to_json({"schema": "splnode.Json", "data": data})

    def test_in_avro_json_are_records_like_any(self) -> None:
        record = json_to_record({"a": 1})
        written = to_json(schema_of(SPL), record, style="avro")
        assert written == {"splnode.Record": {"schema": "splnode.Json", "data": record["data"].decode("latin-1")}}
        assert through_the_codec(schema_of(SPL), from_json(schema_of(SPL), written, style="avro")) == record


def test_the_limits_hold() -> None:
    with pytest.raises(LimitExceeded):
        from_json(schema_of(RECORD), "x" * 100, limits=Limits(message_bytes=50))
    with pytest.raises(LimitExceeded):
        to_json(schema_of(RECORD), json_to_record("x" * 100), limits=Limits(message_bytes=50))
