import structlog

from splnode.errors import CallError, Code
from splnode.rpc.failure import again, internal
from tests.rpc.test_call import a_call


def test_the_log_has_the_story_the_caller_its_number() -> None:
    with structlog.testing.capture_logs() as logs:
        error = internal(a_call(1), ValueError("s3cret"))
    (line,) = logs
    assert error.code is Code.INTERNAL
    assert line["incident"] in error.message
    assert "s3cret" not in error.message
    assert line["call"] == "com.acme.Inventory.add"
    assert str(line["exc_info"]) == "s3cret"


def test_the_same_error_again_is_another_object() -> None:
    first = CallError(Code.UNAVAILABLE, "x", remote=True, attempts=["a"], retry_after=1.5, started=False)
    second = again(first, started=True)
    assert second is not first
    assert (second.code, second.message, second.remote, second.attempts, second.retry_after, second.started) == (
        Code.UNAVAILABLE, "x", True, ("a",), 1.5, True,
    )  # fmt: skip
