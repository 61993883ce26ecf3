import json

import pytest

from splnode.avro.text import place, read_json, read_text
from splnode.errors import SchemaError
from splnode.limits import Limits


def test_text_is_utf8_within_its_limit() -> None:
    assert read_text("é") == read_text("é".encode()) == "é"
    assert read_text("é" * 4, limits=Limits(protocol_bytes=8)) == "éééé"
    with pytest.raises(SchemaError, match="protocol_bytes = 7"):
        read_text("é" * 4, limits=Limits(protocol_bytes=7))
    with pytest.raises(SchemaError, match="not UTF-8"):
        read_text(b"\xff")
    with pytest.raises(SchemaError, match="not UTF-8"):
        read_text("\ud800")


def test_a_byte_order_mark_is_passed_over() -> None:
    assert read_json('\ufeff"int"') == "int"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a":\n  oops}', "line 2 column 3"),
        ("", "line 1 column 1"),
        ('{"a": 1, "a": 2}', "'a' stands twice"),
        ('["\\ud800"]', "half a character"),
        ('["\\UD800"]', "not JSON"),
        ("[" * 65 + "]" * 65, "schema_depth = 64"),
        ('[1,\n{"a":' * 40, "line 33 column 6"),
        ("1" * 5000, "not JSON"),
    ],
)
def test_a_fault_is_named_with_its_place(text: str, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        read_json(text)


def test_brackets_in_strings_are_no_levels() -> None:
    text = '["' + "[{" * 1000 + '\\"[", {"]": 1}]'
    assert len(read_json(text)) == 2
    assert read_json("[" * 64 + "]" * 64)


@pytest.mark.parametrize(
    "text", ['"' + '\\"' * 130_000, '"\\', '"a', '["' * 60_000, "]" * 250_000, '"\\' + '"' * 250_000]
)
def test_a_text_made_to_be_slow_is_read_once(text: str) -> None:
    with pytest.raises(SchemaError):
        read_json(text)


def test_half_a_pair_is_refused_and_a_whole_one_is_not() -> None:
    assert read_json('"\\ud83d\\ude00"') == "😀"


def test_a_place_is_a_line_and_a_column() -> None:
    assert place("ab\ncd", 0) == "line 1 column 1"
    assert place("ab\ncd", 4) == "line 2 column 2"


@pytest.mark.parametrize("text", ['{"a\\"[[[[": "]]]][[[["}', '["[[[[", {}, [], {"[{": [1]}]', '"[[[[\\\\"'])
def test_brackets_within_strings_do_not_nest(text: str) -> None:
    limits = Limits(schema_depth=3)
    assert read_json(text, limits=limits) == json.loads(text)
    with pytest.raises(SchemaError, match="nests deeper than 3 levels at line 1"):
        read_json(f"[[[{text}, [[]]]]]", limits=limits)
