"""What Avro's JSON and the plain one share: the walk, the path of an error, the depth."""

import json

import pytest

from splnode.avro.avro_json import AvroWriter
from splnode.avro.json_write import JsonWriter
from splnode.avro.plain_write import PlainWriter
from splnode.avro.schema import parse_schema
from splnode.errors import EncodeError, LimitExceeded
from splnode.limits import DEFAULT_LIMITS, Limits

ROW = {"type": "record", "name": "Row", "fields": [{"name": "x", "type": {"type": "map", "values": "int"}}]}
ROWS = parse_schema(json.dumps({"type": "array", "items": ROW}))


@pytest.fixture(params=["avro", "plain"])
def make(request: pytest.FixtureRequest):
    def made(limits: Limits = DEFAULT_LIMITS) -> JsonWriter:
        return AvroWriter(limits) if request.param == "avro" else PlainWriter("base64", dict, limits)

    return made


def test_parts_are_written_in_their_places(make):
    assert make().write(ROWS, [{"x": {"a": 1}}, {"x": {}}]) == [{"x": {"a": 1}}, {"x": {}}]


@pytest.mark.parametrize(
    ("value", "path", "told"),
    [
        ([{"x": {"a": "1"}}], '[0].x["a"]', "expected int"),
        ([{"x": {}}, {}], "[1]", "Row has no value for the field 'x' in"),
        ([{"x": {}, "y": 1}], "[0]", "Row has no field 'y'"),
        ([{"x": [1]}], "[0].x", "expected an object"),
        ([7], "[0]", "expected an object"),
        ({"x": {}}, "", "expected a list"),
    ],
)
def test_an_error_says_where_it_is(make, value, path, told):
    with pytest.raises(EncodeError, match=told) as caught:
        make().write(ROWS, value)
    assert caught.value.path == path


def test_what_nests_deeper_than_the_limit_is_refused(make):
    value = [{"x": {"a": 1}}]
    assert make(Limits(depth=3)).write(ROWS, value) == value
    with pytest.raises(LimitExceeded, match="depth"):
        make(Limits(depth=2)).write(ROWS, value)
