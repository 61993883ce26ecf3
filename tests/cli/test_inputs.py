import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from splnode.cli import inputs
from splnode.cli.failure import UsageError
from splnode.cli.inputs import Splitter


def read(data: str | None) -> list[Any]:
    return list(inputs.values(data))


def test_nothing_is_an_empty_object() -> None:
    assert read(None) == [{}]


def test_values_of_an_argument_and_of_a_file(tmp_path: Path) -> None:
    assert read('{"a": 1} [2]\n"x"') == [{"a": 1}, [2], "x"]
    file = tmp_path / "f.json"
    file.write_text('{"a": 1}{"a": 2}', "utf-8")
    assert read(f"@{file}") == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("data", ["", "  ", "{", '{"a" 1}', "nope"])
def test_what_is_no_json_is_refused(data: str) -> None:
    with pytest.raises(UsageError, match="-d"):
        read(data)


def test_a_missing_file_and_a_bad_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read(f"@{tmp_path}/none")
    (tmp_path / "latin").write_bytes(b'"\xe4"')
    with pytest.raises(UsageError, match="byte 1 is not UTF-8"):
        read(f"@{tmp_path}/latin")


def test_stdin(stdin: Callable[..., int]) -> None:
    stdin('{"a": "ä"}\n{"a": 2} 3'.encode())
    assert read("@-") == [{"a": "ä"}, {"a": 2}, 3]
    stdin(b"")
    assert read("@-") == []


def test_a_value_of_a_stream_is_given_before_the_next_is_written(stdin: Callable[..., int]) -> None:
    writer = stdin(b'{"a": 1}\n', more=True)
    stream = inputs.values("@-")
    assert next(stream) == {"a": 1}
    os.write(writer, b"2")
    os.close(writer)
    assert next(stream) == 2
    with pytest.raises(StopIteration):
        next(stream)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'1 {"a": }', "stdin: value 2: not JSON"),
        (b'{"a": 1', "stdin: value 1: not JSON"),
        (b'1 "\xff"', "not UTF-8"),
        (b"] 1", "value 1"),
    ],
)
def test_faults_of_a_stream(stdin: Callable[..., int], content: bytes, said: str) -> None:
    stdin(content)
    with pytest.raises(UsageError, match=said):
        read("@-")


def test_no_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="stdin is closed"):
        read("@-")


def test_one(stdin: Callable[..., int]) -> None:
    assert inputs.one(None) == {}
    assert inputs.one("[1]") == [1]
    stdin(b"2")
    assert inputs.one("@-") == 2
    with pytest.raises(UsageError, match="one JSON value is needed, there are 2"):
        inputs.one("1 2")


STREAMS = [
    ('{"a": "}{]\\"", "b": [1, {"c": "\\\\"}]}[[]]"x"1 true\nnull -2.5e+3{}',
     ['{"a": "}{]\\"", "b": [1, {"c": "\\\\"}]}', "[[]]", '"x"', "1", "true", "null", "-2.5e+3", "{}"]),
    ("  \ufeff \n", []),
    ("12", ["12"]),
    ('"\\u00e4\\\\"', ['"\\u00e4\\\\"']),
]  # fmt: skip


@pytest.mark.parametrize(("text", "values"), STREAMS)
def test_a_stream_is_cut_alike_in_any_pieces(text: str, values: list[str]) -> None:
    chance = random.Random(7)
    cuts = [[text], list(text)]
    for _ in range(50):
        places = sorted(chance.sample(range(len(text) + 1), min(3, len(text))))
        cuts.append([text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)])
    for pieces in cuts:
        splitter = Splitter()
        found = [value for piece in pieces for value in splitter.feed(piece)]
        rest = splitter.finish()
        assert [*found, *([rest] if rest else [])] == values


def test_an_endless_value_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "LARGEST", 100)
    with pytest.raises(UsageError, match="more than 100 characters"):
        list(Splitter().feed('"' + "x" * 200))
