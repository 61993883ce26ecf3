import json
from pathlib import Path

from tests.cli.conftest import Shell
from tests.cli.echo import TEXT


def test_a_service(shell: Shell, node: list[str]) -> None:
    done = shell("describe", "Echo", to=node[0])
    assert done.code == 0
    assert done.out.startswith("test.Echo\n")
    assert json.loads(shell("describe", "test.Echo", "--json", to=node[0]).out) == json.loads(TEXT)


def test_a_message(shell: Shell, node: list[str]) -> None:
    for name in ("Echo.add", "test.Echo.add"):
        assert shell("describe", name, to=node[0]).out.startswith("test.Echo.add(a: int, b: int = 2) -> int\n")
    assert shell("describe", "Echo.add", "--json", to=node[0]).results[0]["signature"].startswith("add(")


def test_a_template_can_be_passed_back(shell: Shell, node: list[str]) -> None:
    made = shell("describe", "Echo.thing", "--template", to=node[0])
    assert json.loads(made.out)["request"]["text"] == ""
    done = shell("call", "Echo.thing", "-d", made.out, to=node[0])
    assert done.results == [json.loads(made.out)["request"]]


def test_failures(shell: Shell, node: list[str]) -> None:
    assert shell("describe", "Nope", to=node[0]).code == 3
    assert shell("describe", "Nope.nope", to=node[0]).code == 3
    assert shell("describe", "Echo.nope", to=node[0]).code == 76
    done = shell("describe", "Echo", "--template", to=node[0])
    assert (done.code, "--template is for a message: test.Echo.thing" in done.err) == (2, True)
    assert shell("describe", "Echo", "--template", "--json", to=node[0]).code == 2


def test_a_file_needs_no_node(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "p.avpr"
    file.write_text(TEXT)
    assert shell("describe", "Echo", "--protocol", str(file)).out.startswith("test.Echo\n")
    assert shell("describe", "Echo.add", "--protocol", str(file)).out.startswith("test.Echo.add(")
    assert shell("describe", "Other.add", "--protocol", str(file)).code == 2
    endless = {
        "protocol": "P", "types": [{"type": "record", "name": "N", "fields": [{"name": "n", "type": "N"}]}],
        "messages": {"m": {"request": [{"name": "n", "type": "N"}], "response": "null"}},
    }  # fmt: skip
    file.write_text(json.dumps(endless))
    done = shell("describe", "P.m", "--template", "--protocol", str(file))
    assert (done.code, "holds itself without end" in done.err) == (2, True)
