import pytest

from splnode.errors import CallError, Code, RemoteWireError
from splnode.limits import DEFAULT_LIMITS
from splnode.wire.answer import AnswerReader
from splnode.wire.message import Contract
from tests.wire.conftest import CALCULATOR, string

READER = AnswerReader(DEFAULT_LIMITS)
ADD = Contract(CALCULATOR).calling(CALCULATOR).prepare("add")


def test_values_errors_and_metadata() -> None:
    value = READER.read(7, ADD, b"\0\0\x54")
    assert (value.serial, value.value, value.error, dict(value.metadata)) == (7, 42, None, {})
    known = READER.read(7, ADD, b"\x02" + string("k") + string("v") + b"\0\0\x54")
    assert (known.value, known.metadata) == (42, {"k": b"v"})
    declared = READER.read(7, ADD, b"\0\x01\x02\x0e").error
    assert (type(declared).__name__, declared.limit) == ("Overflow", 7)  # type: ignore[union-attr]  # a DeclaredError
    behind = READER.read(7, ADD, b"handshake\0\0\x54", len(b"handshake"))
    assert behind.value == 42


def test_what_cannot_be_read_is_that_calls_own_failure() -> None:
    for body, text in ((b"\0\0", "response of add"), (b"\0\0\x54\0", "1 bytes too many"), (b"\0\x01\x06", "index 3")):
        error = READER.read(1, ADD, body).error
        assert isinstance(error, CallError)
        assert error.code is Code.INTERNAL
        assert text in error.message
    with pytest.raises(RemoteWireError, match="flag of a response"):
        READER.read(1, ADD, b"\0\x02")


def test_pongs_may_be_errors() -> None:
    assert READER.pong(1, b"\0\0").error is None
    assert str(READER.pong(1, b"\0\x01\0\x04no").error) == "UNKNOWN: no"
    assert "cannot be read" in str(READER.pong(1, b"\0\x01\x02").error)


def test_a_call_that_did_not_fit() -> None:
    """What the server says of it, if it says more than we know."""
    local = CallError(Code.UNIMPLEMENTED, "we see it", started=False)
    assert READER.unfit(1, local, b"", 0).error is local
    assert READER.unfit(1, local, b"\0\0", 0).error is local
    remote = READER.unfit(1, local, b"\0\x01\0\x04no", 0).error
    assert isinstance(remote, CallError)
    assert (remote.code, remote.message, remote.remote, remote.started) == (Code.UNIMPLEMENTED, "no", True, False)
    coded = b"\x02" + string("spl-code") + string("NOT_FOUND") + b"\0\x01\0\x04no"
    named = READER.unfit(1, local, coded, 0).error
    assert isinstance(named, CallError)
    assert named.code is Code.NOT_FOUND
