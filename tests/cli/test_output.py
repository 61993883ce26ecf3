import io
import sys

import pytest

from splnode.cli import output
from splnode.cli.failure import UsageError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_one_value_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit({"a": [1, None, "ä"]})
    output.emit("line\nbreak")
    assert capsys.readouterr().out == '{"a": [1, null, "ä"]}\n"line\\nbreak"\n'


def test_utf8_whatever_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    output.emit("ä")
    output.emit_text("ö\ud800")
    assert raw.getvalue().decode() == '"ä"\nö\\ud800\n'


def test_a_closed_stdout_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(UsageError, match="stdout is closed"):
        output.emit(1)
    output.forget_stdout()


def test_text_is_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not output.wants_text(False)
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert output.wants_text(False)
    assert not output.wants_text(True)


def test_styles_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert output.paint("x", output.BOLD, io.StringIO()) == "x"
    assert output.paint("x", output.BOLD, Terminal()) == "\x1b[1mx\x1b[0m"
    monkeypatch.setenv("TERM", "dumb")
    assert output.paint("x", output.BOLD, Terminal()) == "x"
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert output.paint("x", output.BOLD, Terminal()) == "x"


def test_columns_align_whatever_their_style() -> None:
    rows = [("a", "bb", "c"), (f"\x1b[1maaa\x1b[0m", "b", "")]  # noqa: F541 - the escape reads better so
    assert output.table(rows) == "a    bb  c\n\x1b[1maaa\x1b[0m  b"
