import pytest

from splnode.cli.failure import NoEndpointError, UsageError, describe, exit_code, report, say
from splnode.errors import (
    CallError,
    Code,
    ConfigError,
    DeclaredError,
    EncodeError,
    RemoteWireError,
    SchemaError,
)


class Boom(DeclaredError):
    pass


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (ConfigError("x"), 2),
        (EncodeError("x"), 2),
        (NoEndpointError("x"), 3),
        (SchemaError("x"), 4),
        (CallError(Code.FAILED_PRECONDITION, "the protocols do not fit", started=False), 4),
        (CallError(Code.FAILED_PRECONDITION, "a handler says so"), 73),
        (Boom(a=1), 66),
        (RemoteWireError("x"), 78),
        (OSError(28, "No space left on device"), 1),
        (ZeroDivisionError(), 1),
        *((CallError(code, "x"), 64 + code) for code in Code if code is not Code.FAILED_PRECONDITION),
    ],
)
def test_exit_codes(error: Exception, code: int) -> None:
    assert exit_code(error) == code


def test_what_is_said() -> None:
    assert describe(CallError(Code.NOT_FOUND, "no such thing")) == "NOT_FOUND: no such thing"
    assert describe(OSError(28, "No space left on device")) == "No space left on device"
    assert describe(FileNotFoundError(2, "No such file", "x")) == "x: No such file"
    assert describe(BrokenPipeError(32, "Broken pipe")) == "nobody reads the output any more"
    assert describe(KeyError("k")) == "a bug in splnode: KeyError: 'k'"


def test_report_says_and_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(NoEndpointError("nobody is there")) == 3
    assert capsys.readouterr() == ("", "splnode: nobody is there\n")


def test_a_closed_stderr_is_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    say("nobody hears it")
