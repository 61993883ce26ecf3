"""What an error means for the one who typed the command: a text on stderr and an exit code."""

import errno
import sys
from typing import Final

from splnode.errors import (
    CallError,
    Code,
    ConfigError,
    DataError,
    DeclaredError,
    SchemaError,
    SplnodeError,
    WireError,
)

OTHER: Final = 1
USAGE: Final = 2
NO_ENDPOINT: Final = 3
INCOMPATIBLE: Final = 4
FAILED_CALL: Final = 64
DECLARED: Final = Code.UNKNOWN
"""gRPC has no code for an error of the application's own; a server that raises one answers UNKNOWN."""


class UsageError(SplnodeError):
    """A word, flag or value on the command line that cannot be used."""


class NoEndpointError(SplnodeError):
    """Nobody could be called: nothing answers, or who answers lacks the service."""


def exit_code(error: BaseException) -> int:
    """The exit code that stands for `error`."""
    if isinstance(error, NoEndpointError):
        return NO_ENDPOINT
    if isinstance(error, SchemaError):
        return INCOMPATIBLE
    if isinstance(error, DeclaredError):
        return FAILED_CALL + DECLARED
    if isinstance(error, CallError):
        # What this end raises before anything is sent: the two protocols do not fit.
        if error.code is Code.FAILED_PRECONDITION and not error.started:
            return INCOMPATIBLE
        return FAILED_CALL + error.code
    if isinstance(error, (UsageError, ConfigError, DataError)):
        return USAGE
    if isinstance(error, WireError):
        return FAILED_CALL + Code.UNAVAILABLE
    return OTHER


def describe(error: BaseException) -> str:
    """The sentence for stderr."""
    if isinstance(error, OSError):
        if error.errno == errno.EPIPE:
            return "nobody reads the output any more"
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
    if isinstance(error, SplnodeError):
        return str(error)
    return f"a bug in splnode: {type(error).__name__}: {error}"


def report(error: BaseException) -> int:
    """Says on stderr what went wrong and gives the exit code. A bug brings its traceback."""
    code = exit_code(error)
    if code == OTHER and not isinstance(error, (OSError, SplnodeError)):
        import traceback

        traceback.print_exception(error)
    say(describe(error))
    return code


def say(text: str) -> None:
    """One message on stderr; silence where there is no stderr."""
    if sys.stderr is not None:
        print(f"splnode: {text}", file=sys.stderr, flush=True)
