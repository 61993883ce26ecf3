"""What is asked of a node that passes a call on, and what its answers mean: no network."""

import argparse
from typing import Any

import pytest

from splnode.cli.failure import NoEndpointError, UsageError
from splnode.cli.passed import Passed
from splnode.cli.phases import Phases
from splnode.cli.target import Target
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code, DeclaredError
from splnode.wire.message import Contract
from tests.cli.echo import PROTOCOL

ANSWER = {"node": "one", "metadata": {}, "result": None, "error": None, "failure": None}
FAILURE = {"code": "UNAVAILABLE", "message": "no", "started": False, "retryAfterMs": None, "attempts": []}


def passed(message: str, *, first: bool = False) -> Passed:
    args = argparse.Namespace(
        message=f"Echo.{message}", first=first, json="plain", bytes="base64", named=False, balance=None, pin=None
    )
    where = Target([Endpoint.parse("unix:///nowhere")], 5.0, 5.0, {})
    return Passed(args, where, PROTOCOL, Phases())


def failure(**said: Any) -> dict[str, Any]:
    return ANSWER | {"failure": FAILURE | said}


def test_a_request_has_the_parameters_as_the_protocol_writes_them() -> None:
    asked = passed("add").request({"a": 1, "b": 2}, {"k": b"v"}, "two")
    assert asked["params"] == b"\x02\x04"
    assert (asked["protocol"], asked["message"], asked["metadata"]) == (PROTOCOL.text, "add", {"k": b"v"})
    assert asked["wishes"]["to"] == "two"


def test_a_result_is_json() -> None:
    outcome = passed("add").outcome(ANSWER | {"result": b"\x06"}, None)
    assert (outcome.node, outcome.result, outcome.error, outcome.answered) == ("one", 3, None, True)
    assert passed("note").outcome(ANSWER | {"node": ""}, "two") == ("two", None, None)


def test_a_declared_error_is_an_answer() -> None:
    missing = Contract(PROTOCOL).error_writer(PROTOCOL.messages["fail"])
    written = missing.encode(
        Contract(PROTOCOL).error_class(PROTOCOL.messages["fail"].errors.branches[1])(what="it", near=b"")
    )
    outcome = passed("fail").outcome(ANSWER | {"error": written}, None)
    assert isinstance(outcome.error, DeclaredError) and outcome.error.value == {"what": "it", "near": ""}
    assert outcome.answered


def test_a_failure_says_whether_it_may_have_run() -> None:
    error = passed("add").outcome(failure(started=True, retryAfterMs=500, attempts=["one: gone"]), None).error
    assert isinstance(error, CallError)
    assert (error.code, error.started, error.retry_after) == (Code.UNAVAILABLE, True, 0.5)
    assert list(error.attempts) == ["one: gone"]


def test_where_nobody_serves_it_an_endpoint_is_missing() -> None:
    assert isinstance(passed("add").outcome(failure(), None).error, NoEndpointError)
    unfit = passed("add").outcome(failure(attempts=["one: does not fit: it lacks add"]), None).error
    assert isinstance(unfit, CallError) and unfit.code is Code.FAILED_PRECONDITION


def test_a_code_from_the_future_is_unknown() -> None:
    error = passed("add").outcome(failure(code="TIRED"), None).error
    assert isinstance(error, CallError) and error.code is Code.UNKNOWN


def test_the_deadline_is_told_as_that_of_the_call() -> None:
    outcome = passed("add").failed(CallError(Code.DEADLINE_EXCEEDED, "callRemote: late"), "two")
    assert outcome.node == "two" and "test.Echo.add: no answer within 5 s" in str(outcome.error)


def test_what_may_not_run_twice_is_not_raced() -> None:
    passed("add", first=True)
    with pytest.raises(UsageError, match="thing may run twice only if"):
        passed("thing", first=True)
    with pytest.raises(CallError, match="did you mean headers"):
        passed("header")
