import pytest

from splnode.cli.bench import Bar
from tests.cli.conftest import Shell
from tests.cli.test_output import Terminal


def test_closed_loop(shell: Shell, node: list[str]) -> None:
    done = shell("bench", "Echo.add", "-d", '{"a": 1}', "-n", "50", "-c", "2", "--in-flight", "4", to=node[0])
    [found] = done.results
    assert done.code == 0
    assert (found["message"], found["loop"], found["connections"]) == ("test.Echo.add", "closed", 2)
    assert (found["calls"], found["ok"], found["errors"], found["in_flight"]) == (50, 50, {}, 4)
    assert {"p50", "p90", "p99", "p99.9"} <= set(found["latency_ms"])


def test_open_loop(shell: Shell, node: list[str]) -> None:
    [found] = shell("bench", "Echo.add", "-d", '{"a": 1}', "--rate", "500", "--time", "0.1", to=node[0]).results
    assert (found["loop"], found["intended_rate"], found["calls"]) == ("open", 500.0, 50)
    assert found["latency_ms"]["min"] > 0


def test_errors_by_code(shell: Shell, node: list[str]) -> None:
    done = shell("bench", "Echo.fail", "-d", '{"code": "NOT_FOUND"}', "-n", "3", to=node[0])
    assert (done.code, done.results[0]["errors"]) == (69, {"NOT_FOUND": 3})
    assert "3 x NOT_FOUND: as asked" in done.err
    done = shell("bench", "Echo.fail", "-d", '{"code": "declared"}', "-n", "3", to=node[0])
    assert (done.code, done.results[0]["errors"]) == (66, {"test.Missing": 3})


def test_usage(shell: Shell, node: list[str]) -> None:
    assert shell("bench", "Echo.add", "-n", "1", "--rate", "5", to=node[0]).code == 2
    assert shell("bench", "Echo.add", "-d", "{} {}", to=node[0]).code == 2
    assert shell("bench", "Echo.add", "-d", '{"a": "x"}', to=node[0]).code == 2
    assert shell("bench", "Echo.add").code == 3


def test_text_on_a_terminal(shell: Shell, node: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splnode.cli.output.wants_text", lambda as_json: not as_json)
    out = shell("bench", "Echo.add", "-d", '{"a": 1}', "-n", "5", to=node[0]).out
    assert "5 calls in" in out
    assert "p99.9" in out


def test_the_bar_is_for_terminals(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with Bar(10) as bar:
        bar.show(5)
    assert capsys.readouterr().err == ""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with Bar(10) as bar:
        bar.show(5)
        bar.show(6)  # too soon to draw again
    assert terminal.getvalue() == f"\r[{'#' * 15:30}] 5/10\r\x1b[K"
