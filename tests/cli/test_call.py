"""The command as it is typed; its parts have tests of their own."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Shell
from tests.cli.echo import TEXT

OLDER = {
    "protocol": "Echo", "namespace": "test",
    "messages": {"add": {"request": [{"name": "a", "type": "int"}], "response": "long"}},
}  # fmt: skip


@pytest.mark.parametrize("place", [0, 1, 2], ids=["unix", "tcp", "http"])
def test_a_call(shell: Shell, node: list[str], place: int) -> None:
    done = shell("call", "Echo.add", "-d", '{"a": 40}', to=node[place])
    assert (done.code, done.out, done.err) == (0, "42\n", "")


def test_without_data_it_is_an_empty_object(shell: Shell, node: list[str]) -> None:
    assert shell("call", "Echo.headers", to=node[0]).results == [{}]


def test_void_is_null_and_so_is_one_way(shell: Shell, node: list[str]) -> None:
    assert shell("call", "test.Echo.note", "-d", '{"text": "x"}', to=node[0]).out == "null\n"


def test_a_bare_record(shell: Shell, node: list[str]) -> None:
    bare = shell("call", "Echo.thing", "-d", '{"text": "x", "data": "aGk="}', to=node[0])
    whole = shell("call", "Echo.thing", "-d", '{"request": {"text": "x", "data": "aGk="}}', to=node[0])
    assert bare.results == whole.results == [{"text": "x", "data": "aGk=", "color": "RED", "tags": [], "maybe": None}]


def test_two_readings_are_a_usage_error(shell: Shell, node: list[str]) -> None:
    done = shell("call", "Echo.tree", "-d", '{"node": {"value": 1}}', to=node[0])
    assert (done.code, done.out) == (2, "")
    assert "two ways" in done.err
    done = shell("call", "Echo.tree", "--named", "-d", '{"node": {"value": 1}}', to=node[0])
    assert done.results == [{"value": 1, "node": None}]


def test_forms(shell: Shell, node: list[str]) -> None:
    thing = '{"text": "x", "data": "hi", "maybe": 3}'
    [found] = shell("call", "Echo.thing", "-d", thing, "--bytes", "utf8", to=node[0]).results
    assert (found["data"], found["maybe"]) == ("hi", 3)
    avro = '{"text": "x", "data": "\\u00ff", "maybe": {"long": 3}, "color": "RED", "tags": []}'
    [found] = shell("call", "Echo.thing", "-d", avro, "--json", "avro", to=node[0]).results
    assert (found["data"], found["maybe"]) == ("\u00ff", {"long": 3})


def test_metadata_goes_out_and_comes_back(shell: Shell, node: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "t")
    done = shell("call", "Echo.headers", "-H", "a: ${TOKEN}", "-H", "b:c", "--bytes", "utf8", "-v", to=node[0])
    assert done.results == [{"a": "t", "b": "c"}]
    assert "* > a: t\n" in done.err
    assert "* < answer: 42\n" in done.err


def test_vv_shows_the_phases(shell: Shell, node: list[str]) -> None:
    done = shell("call", "Echo.wait", "--max-time", "0.05", "-vv", to=node[0])
    assert done.code == 68
    for phase in ("discover", "dial", "handshake", "call"):
        assert f"* {phase}" in done.err
    assert done.out == ""


def test_several_values_are_several_calls_in_order(shell: Shell, node: list[str], tmp_path: Path) -> None:
    assert shell("call", "Echo.add", "-d", '{"a": 1}{"a": 2}', to=node[0]).out == "3\n4\n"
    (tmp_path / "f").write_text('{"a": 3}\n{"a": 4}\n')
    assert shell("call", "Echo.add", "-d", f"@{tmp_path}/f", to=node[0]).out == "5\n6\n"
    assert shell("call", "Echo.add", "-d", "@-", to=node[0], given=b'{"a": 5} {"a": 6}').out == "7\n8\n"
    assert shell("call", "Echo.add", "-d", "@-", to=node[0], given=b"").out == ""


def test_a_failure_ends_a_stream_unless_it_is_to_go_on(shell: Shell, node: list[str]) -> None:
    stream = b'{"a": 1} {"a": "x"} {"a": 2}'
    done = shell("call", "Echo.add", "-d", "@-", to=node[0], given=stream)
    assert (done.code, done.out) == (2, "3\n")
    done = shell("call", "Echo.add", "-d", "@-", "--keep-going", to=node[0], given=stream)
    assert (done.code, done.out) == (2, "3\n4\n")
    codes = b'{"code": "NOT_FOUND"} {"code": "ABORTED"}'
    done = shell("call", "Echo.fail", "-d", "@-", "--keep-going", to=node[0], given=codes)
    assert done.code == 69
    assert done.err.count("as asked") == 2


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("Echo.fail", "-d", '{"code": "NOT_FOUND"}'), 69, "splnode: NOT_FOUND: as asked"),
        (("Echo.fail", "-d", '{"code": "FAILED_PRECONDITION"}'), 73, "FAILED_PRECONDITION"),
        (("Echo.fail", "-d", '{"code": "UNAVAILABLE"}'), 78, "UNAVAILABLE"),
        (("Echo.fail", "-d", '{"code": "declared"}'), 66, 'splnode: test.Missing {"what": "it", "near": "AP8="}'),
        (("Echo.ad",), 76, "has no message 'ad'; did you mean add?"),
        (("Echo.xyzzy",), 76, "it has thing, tree, add"),
        (("Nope.add",), 3, "does not serve Nope"),
        (("Echo.add", "-d", '{"a": 1.5}'), 2, "a: expected int"),
        (("Echo.add", "-d", "{"), 2, "not JSON"),
        (("Echo.add", "-d", ""), 2, "there is no JSON value"),
        (("add",), 2, "SERVICE.MESSAGE"),
        ((), 2, "which message"),
        (("Echo.add", "-H", "x"), 2, "a header is"),
        (("Echo.add", "--profile", "none"), 2, "none"),
    ],
)
def test_failures(shell: Shell, node: list[str], words: tuple[str, ...], code: int, said: str) -> None:
    done = shell("call", *words, to=node[0])
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert "Traceback" not in done.err


def test_nobody_there(shell: Shell, home: Path) -> None:
    done = shell("call", "Echo.add", to=f"unix://{home}/none")
    assert done.code == 3
    assert "no such socket file" in done.err


def test_another_version_of_the_protocol(shell: Shell, node: list[str], tmp_path: Path) -> None:
    older = tmp_path / "older.avpr"
    older.write_text(json.dumps(OLDER))
    assert shell("call", "Echo.add", "--protocol", str(older), "-d", '{"a": 1}', to=node[0]).results == [3]
    done = shell("call", "Other.add", "--protocol", str(older), to=node[0])
    assert (done.code, "it is the protocol test.Echo" in done.err) == (2, True)
    assert shell("call", "Echo.add", "--protocol", str(tmp_path / "none"), to=node[0]).code == 2


@pytest.mark.parametrize("change", [{"response": "string"}, {"request": [{"name": "z", "type": "int"}]}])
def test_schemas_that_do_not_fit_are_4(shell: Shell, node: list[str], tmp_path: Path, change: dict[str, Any]) -> None:
    document = OLDER | {"messages": {"add": {**OLDER["messages"]["add"], **change}}}  # type: ignore[index]  # a dict
    file = tmp_path / "p.avpr"
    file.write_text(json.dumps(document))
    data = '{"z": 1}' if "request" in change else '{"a": 1}'
    done = shell("call", "Echo.add", "--protocol", str(file), "-d", data, to=node[0])
    assert (done.code, done.out) == (4, "")
    assert "add" in done.err
    file.write_text(TEXT.replace('"int"', '"itn"'))
    assert shell("call", "Echo.add", "--protocol", str(file), to=node[0]).code == 4


def test_a_stock_server_is_called_too(shell: Shell, stock: str) -> None:
    assert shell("call", "Echo.add", "-d", '{"a": 1}', to=stock).results == [3]


def test_help_of_a_message(shell: Shell, node: list[str]) -> None:
    done = shell("call", "Echo.thing", "--help", to=node[0])
    assert done.code == 0
    assert "A thing, unchanged." in done.out
    assert "text: string\n      Any text." in done.out
    assert "The fields of request may be given bare" in done.out
    assert "bare" not in shell("call", "Echo.add", "-h", to=node[0]).out
    assert shell("call", "Echo.nope", "--help", to=node[0]).code == 76
    general = shell("call", "--help")
    assert (general.code, "--max-time" in general.out) == (0, True)
