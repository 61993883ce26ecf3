"""splnode.avro.json_text: strict reading, one-line writing, short descriptions."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splnode.avro.json_text import MAX_DEPTH, brief, check_depth, dumps, loads, loads_all
from splnode.errors import DecodeError

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(ANY_JSON)
def test_what_is_written_is_read(value: object) -> None:
    assert loads(dumps(value)) == value
    assert loads(dumps(value, indent=2).encode()) == value


def test_whole_numbers_keep_their_digits() -> None:
    assert loads("123456789012345678901234567890") == 123456789012345678901234567890
    assert loads("9007199254740993") == 9007199254740993


def test_a_lone_surrogate_is_escaped() -> None:
    assert dumps("é\ud800") == '"\\u00e9\\ud800"'
    assert dumps("é") == '"é"'


def test_several_values() -> None:
    assert list(loads_all('{"a": 1}\n{"a": 2} [3]4 "x"\n')) == [{"a": 1}, {"a": 2}, [3], 4, "x"]
    assert list(loads_all("  ")) == []
    assert list(loads_all(b"\xef\xbb\xbf1")) == [1]


def test_the_values_before_a_fault_are_given() -> None:
    values = loads_all("1 2 x")
    assert [next(values), next(values)] == [1, 2]
    with pytest.raises(DecodeError, match="line 1 column 5"):
        next(values)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the text is empty"),
        ("1 2", "2 JSON values instead of one"),
        ('{"a": 1,\n "b": }', "line 2 column 7"),
        ("{'a': 1}", "line 1 column 2"),
        ("NaN", 'NaN is not JSON; where a number may be that, write "NaN"'),
        ("[-Infinity]", "-Infinity is not JSON"),
        ("1e400", "the number 1e400 is too large for a double"),
        ('{"a": 1, "a": 2}', 'the key "a" stands twice'),
        ("9" * 5000, "not JSON that can be read"),
        (b'"\xff"', "byte 1 is not UTF-8"),
        ("[" * 300 + "]" * 300, f"deeper than {MAX_DEPTH} levels at line 1 column 257"),
        ("[" * 1_000_000, f"deeper than {MAX_DEPTH} levels"),
        ('{"a":' * 1_000_000, f"deeper than {MAX_DEPTH} levels"),
    ],
)
def test_refuses(text: str, words: str) -> None:
    with pytest.raises(DecodeError) as caught:
        loads(text)
    assert words in str(caught.value)


def test_the_deepest() -> None:
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert json.dumps(loads(text)) == text


def test_brackets_in_strings_are_no_depth() -> None:
    check_depth(json.dumps("[" * 1000 + '"' + "{" * 1000))
    with pytest.raises(DecodeError):
        check_depth("[" * (MAX_DEPTH + 1))


def test_what_json_has_not_is_not_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumps(float("nan"))
    with pytest.raises(TypeError):
        dumps(b"x")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        ("é", '"é"'),
        ("x" * 100, '"' + "x" * 56 + "..."),
        ([1, 2], "a list of 2"),
        ([], "[]"),
        ({}, "{}"),
        ({"a": 1, "b": 2}, 'an object with "a", "b"'),
        (dict.fromkeys("abcdef"), 'an object with "a", "b", "c", "d", ...'),
        pytest.param(10**5000, "a huge number", id="huge"),
        (b"x", "b'x'"),
    ],
)
def test_brief(value: object, text: str) -> None:
    assert brief(value) == text
