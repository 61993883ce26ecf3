"""Calls that failed, as the wire tells it."""

import pytest

from splnode.errors import CallError, Code, RemoteWireError
from splnode.wire.failure import failure_metadata, read_failure


def test_failures_on_the_wire():
    error = CallError(Code.RESOURCE_EXHAUSTED, "full", retry_after=0.25, started=False)
    metadata = failure_metadata(error)
    assert metadata == {"spl-code": b"RESOURCE_EXHAUSTED", "spl-retry-after-ms": b"250", "spl-started": b"0"}
    found, end = read_failure(b"\x08full", 0, metadata)
    assert end == 5
    assert (found.code, found.message, found.retry_after, found.started, found.remote) == (
        Code.RESOURCE_EXHAUSTED, "full", 0.25, False, True,
    )  # fmt: skip


def test_a_circle_says_how_long_it_was():
    metadata = failure_metadata(CallError(Code.FAILED_PRECONDITION, "", hops=16))
    assert metadata == {"spl-code": b"FAILED_PRECONDITION", "spl-hops": b"16"}
    assert read_failure(b"\0", 0, metadata)[0].hops == 16
    for other in ({"spl-hops": b"16"}, {**metadata, "spl-hops": b"-1"}, {**metadata, "spl-hops": b"9" * 5000}):
        assert read_failure(b"\0", 0, other)[0].hops == 0


@pytest.mark.parametrize("code", [b"", b"NO_SUCH", b"3", b"not_found", b"\xff"])
def test_a_foreign_failure_is_unknown(code):
    metadata = {"spl-code": code, "spl-retry-after-ms": b"soon", "spl-started": b"1"}
    found, _ = read_failure(b"\x04no", 0, metadata)
    assert (found.code, found.message, found.retry_after, found.started) == (Code.UNKNOWN, "no", None, True)
    with pytest.raises(RemoteWireError):
        read_failure(b"\x04n", 0, {})


def test_absurd_delays_are_cut():
    assert failure_metadata(CallError(Code.UNAVAILABLE, "", retry_after=-1))["spl-retry-after-ms"] == b"0"
    delay = failure_metadata(CallError(Code.UNAVAILABLE, "", retry_after=1e300))["spl-retry-after-ms"]
    assert len(delay) <= 16
    assert read_failure(b"\0", 0, {"spl-retry-after-ms": b"9" * 5000})[0].retry_after is None
