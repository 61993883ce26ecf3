"""splnode.net.reasons: the words for what is not there."""

import pytest

from splnode.endpoint import Endpoint
from splnode.errors import Code
from splnode.net.reasons import lost, reason_of, unreachable

HERE = Endpoint("tcp", "127.0.0.1", 9)


def test_unreachable() -> None:
    error = unreachable(HERE, "why")
    assert str(error) == "UNAVAILABLE: cannot connect to tcp://127.0.0.1:9: why"
    assert not error.started


@pytest.mark.parametrize(("started", "tail"), [(True, "; the call may have run"), (False, "")])
def test_lost(started: bool, tail: str) -> None:
    error = lost(HERE, "why", started=started)
    assert (error.code, error.message, error.started) == (Code.UNAVAILABLE, f"tcp://127.0.0.1:9: why{tail}", started)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (FileNotFoundError(2, "No such file"), "no such socket file; is the node running?"),
        (ConnectionRefusedError(111, "refused"), "connection refused; is the node running?"),
        (OSError(113, "No route to host"), "No route to host"),
        (OSError("multiple exceptions"), "multiple exceptions"),
        (ValueError("embedded null byte"), "embedded null byte"),
    ],
)
def test_reasons(error: OSError | ValueError, reason: str) -> None:
    assert reason_of(error) == reason
