import structlog

from splnode.errors import Code
from splnode.rpc.failure import internal
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
