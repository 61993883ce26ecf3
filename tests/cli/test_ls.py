import io
import sys

import pytest

from splnode.cli.main import main
from tests.cli.conftest import Shell


def test_services(shell: Shell, node: list[str]) -> None:
    done = shell("ls", to=node[0])
    assert [row["service"] for row in done.results] == ["splnode.Health", "splnode.Reflection", "test.Echo"]
    assert done.results[2] == {"service": "test.Echo", "messages": 9, "doc": "Gives back what it gets."}


def test_messages(shell: Shell, node: list[str]) -> None:
    rows = shell("ls", "Echo", to=node[0]).results
    assert rows[2] == {
        "message": "test.Echo.add", "signature": "add(a: int, b: int = 2) -> int", "doc": "The sum.",
    }  # fmt: skip
    assert shell("ls", "Nope", to=node[0]).code == 3


def test_a_stock_server(shell: Shell, stock: str) -> None:
    assert [row["service"] for row in shell("ls", to=stock).results] == ["test.Echo"]


def test_text_on_a_terminal(home: object, node: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("NO_COLOR", "1")
    for words, line in ((("ls",), "test.Echo           9 messages  Gives back"), (("ls", "Echo"), "add(a: int,")):
        monkeypatch.setattr(sys, "stdout", Terminal())
        assert main([*words, "--to", node[0]]) == 0
        assert line in sys.stdout.getvalue()
        monkeypatch.setattr(sys, "stdout", Terminal())
        assert main([*words, "--to", node[0], "--json"]) == 0
        assert sys.stdout.getvalue().startswith("{")
